"""Agents and upstreams that are gone when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from openai_proxy.config.settings import PoolLimits, Timeouts
from openai_proxy.wire.agent import Agent
from tests.support.upstream import Script, ScriptedUpstream

MakeAgent = Callable[..., Agent]
MakeUpstream = Callable[..., ScriptedUpstream]


@pytest.fixture
def upstream(nothing_left: list[Any]) -> Iterator[MakeUpstream]:
    """Make upstreams: ``upstream(script)``."""
    made: list[ScriptedUpstream] = []

    def make(script: Script | None = None, tls: Any = None, interface: str = "127.0.0.1") -> ScriptedUpstream:
        made.append(ScriptedUpstream(reactor, script, tls).start(interface))
        return made[-1]

    yield make
    for one in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(one.stop()).addTimeout(5, reactor))


@pytest.fixture
def agent(nothing_left: list[Any]) -> Iterator[MakeAgent]:
    """Make agents: ``agent(head_seconds=..., connections=..., trust_root=...)``."""
    made: list[Agent] = []

    def make(trust_root: Any = None, clock: Any = None, **options: Any) -> Agent:
        limits = {name: options.pop(name) for name in ("connections", "waiting") if name in options}
        made.append(Agent(clock or reactor, Timeouts(**options), PoolLimits(**limits), trust_root))
        return made[-1]

    yield make
    for one in made:
        pytest_twisted.blockon(one.close().addTimeout(5, reactor))
