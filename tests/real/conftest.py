"""A real server of models, and daemons over it: for ``make test-real`` alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.llama import FOLDER, LlamaServer
from tests.real.ways import WAYS, Through, Way

# It takes minutes to build, so nobody needs it to run the other tests.
collect_ignore_glob = [] if FOLDER in os.environ else ["test_*.py"]


@pytest.fixture(scope="session")
def llama() -> Iterator[LlamaServer]:
    """llama.cpp's server, with a small model."""
    with LlamaServer(Path(os.environ[FOLDER])) as server:
        yield server


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def through(llama: LlamaServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Through]:
    """A daemon of its own for each test, so that its numbers are this test's."""
    way: Way = request.param
    with Through(way, llama, tmp_path) as through:
        yield through
        assert through.daemon.stop() == 0
    assert "Traceback" not in through.daemon.output
