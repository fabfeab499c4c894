"""Real servers of a model, and daemons over them: for ``make test-real`` alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.llama import FOLDER, SERVERS, Server
from tests.real.ways import WAYS, Through

# They take minutes to build, so nobody needs them to run the other tests.
collect_ignore_glob = [] if FOLDER in os.environ else ["test_*.py"]


@pytest.fixture(scope="session", params=SERVERS, ids=lambda kind: kind.__name__)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One that serves."""
    with request.param(Path(os.environ[FOLDER])) as server:
        yield server


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def through(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Through]:
    """A daemon of its own for each test, so that its numbers are this test's."""
    with Through(request.param, server, tmp_path) as through:
        yield through
        assert through.daemon.stop() == 0
    assert "Traceback" not in through.daemon.output
