"""A daemon for the tests of a module, and the upstream that it forwards to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.sockets import RawUpstream


@pytest.fixture(scope="module")
def listening() -> Iterator[RawUpstream]:
    """The upstream of :func:`daemon`."""
    with RawUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(listening: RawUpstream) -> Iterator[RawUpstream]:
    """The upstream, without connections of the tests before."""
    yield listening
    listening.hang_up()


@pytest.fixture(scope="module")
def daemon(listening: RawUpstream) -> Iterator[Daemon]:
    """A daemon whose provider ``openai`` is :func:`upstream`; it must end with status 0."""
    with Daemon("--upstream", listening.url) as daemon:
        yield daemon
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.output
