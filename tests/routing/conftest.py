"""Worlds and upstreams that are gone when a test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.faults.support import check_emitted
from tests.routing.plays import Upstream
from tests.routing.support import ROUTE, World, keys, providers

MakeWorld = Callable[..., World]


class Upstreams(dict[str, Upstream]):
    """By their names: ``upstreams["a"]`` is made when it is asked for."""

    def __missing__(self, name: str) -> Upstream:
        made = self[name] = Upstream(reactor, name)
        return made


@pytest.fixture
def upstreams(nothing_left: list[Any]) -> Iterator[Upstreams]:
    """Upstreams; what they were sent is judged at the end."""
    made = Upstreams()
    yield made
    for one in made.values():
        pytest_twisted.blockon(Deferred.fromCoroutine(one.server.stop()))
        check_emitted(one.server.connections)


@pytest.fixture
def world(upstreams: Upstreams, tmp_path: Path) -> Iterator[MakeWorld]:
    """Make daemons: ``world(["a", "b"], retry={...}, route={...}, urls={"a": ...})``.

    The first of these providers is the default, and all of them are the route's targets.
    """
    made: list[World] = []

    def make(
        names: list[str],
        route: Mapping[str, object] | None = None,
        urls: Mapping[str, str] | None = None,
        **document: Any,
    ) -> World:
        of = {name: (urls or {}).get(name) or upstreams[name] for name in names}
        targets = [{"provider": name} for name in names]
        document = {
            "providers": providers(of),
            "default_provider": names[0],
            "models": {ROUTE: {"targets": targets, **(route or {})}},
            **document,
        }
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(World(reactor, folder, document, keys(*names)))
        return made[-1]

    yield make
    for one in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(one.stop()))
