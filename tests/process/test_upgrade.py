"""A successor is started by a process that goes on until then, and by no other."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from openai_proxy.process import upgrade as module
from openai_proxy.process.command_line import CommandLine
from openai_proxy.process.upgrade import Upgrade


def test_a_process_that_ends_starts_no_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be drained a second time, which cuts its streams, and its successor would not end."""
    started: list[Any] = []
    monkeypatch.setattr(module, "spawn", lambda *arguments: started.append(arguments))
    monkeypatch.setattr("os.getpid", lambda: 2)
    command = CommandLine(("twistd",), "/")
    upgrade = Upgrade(Clock(), command, {}, list, lambda *_: None, lambda *_: None)
    upgrade.stop()
    upgrade.begin()
    assert started == []
