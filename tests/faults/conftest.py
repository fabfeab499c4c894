"""Proxies, upstreams and clients that are gone when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.faults.support import Gateway, check_emitted
from tests.support.upstream import Script, ScriptedUpstream

MakeGateway = Callable[..., Gateway]
MakeUpstream = Callable[..., ScriptedUpstream]


@pytest.fixture
def upstream(nothing_left: list[Any]) -> Iterator[MakeUpstream]:
    """Make upstreams: ``upstream(script)``. What they were sent is judged at the end."""
    made: list[ScriptedUpstream] = []

    def make(script: Script | None = None, tls: Any = None) -> ScriptedUpstream:
        made.append(ScriptedUpstream(reactor, script, tls).start())
        return made[-1]

    yield make
    for one in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(one.stop()))
        check_emitted(one.connections)


@pytest.fixture
def gateway(upstream: MakeUpstream) -> Iterator[MakeGateway]:
    """Make proxies: ``gateway(server, head_seconds=..., body_bytes=...)``.

    At the test's end nothing may be in flight, held or open.
    """
    made: list[Gateway] = []

    def make(server: ScriptedUpstream | str, **options: Any) -> Gateway:
        url = server if isinstance(server, str) else server.url(b"").decode()
        made.append(Gateway(reactor, url, **options))
        return made[-1]

    yield make
    for one in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(one.stop()))
