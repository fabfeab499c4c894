"""A daemon that is changed while it serves: all of it or nothing, and nobody notices who was there before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater

from openai_proxy.config.configuration import load
from openai_proxy.config.secret import SecretReader
from openai_proxy.config.settings import Settings
from openai_proxy.config.setup import Setup
from openai_proxy.graph import Graph
from openai_proxy.policy.routing import Candidate
from openai_proxy.process.operations import Reloaded
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.service import ProxyService

LOOPBACK = "tcp:0:interface=127.0.0.1"
FILE = """
listeners: [{address: "tcp:0:interface=127.0.0.1"}]
providers:
  one: {base_url: http://127.0.0.1:1/v1, api_key: "file:%s"}
  two: {base_url: http://127.0.0.1:2/v1}
default_provider: one
"""


class Rig:
    """A daemon over the real reactor, and the file that it reads."""

    def __init__(self, folder: Path) -> None:
        from twisted.internet import reactor

        self.folder = folder
        self.path = folder / "proxy.yaml"
        self.key = folder / "key"
        self.key.write_text("sk-first")
        self.write("")
        self.service = ProxyService(self.read(), reactor, reread=self.read)
        self.service.privilegedStartService()
        self.service.startService()

    def write(self, more: str) -> None:
        self.path.write_text(FILE % self.key + more)

    def read(self) -> Setup:
        try:
            configuration = load(self.path, read_catalogue(), SecretReader({}))
        except Exception as error:
            raise SystemExit(f"openai_proxy: {error}") from None
        settings = configuration.settings()
        places = [f"listeners[{number}]" for number in range(len(settings.listen))]
        return Setup(settings, configuration, places)

    def reload(self) -> Reloaded:
        came: list[Reloaded] = []
        self.service.reload().addCallback(came.append)
        (reloaded,) = came
        return reloaded

    def breaker(self, provider: str) -> Any:
        wiring: Any = self.service.graph._wiring
        return wiring.gateway.breaker_of(Candidate(provider, ""))

    def number(self, name: str) -> float | None:
        return self.service.metrics.registry.get_sample_value(name)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    import pytest_twisted

    rig = Rig(tmp_path)
    yield rig
    pytest_twisted.blockon(rig.service.stopService())


def test_nothing_different_is_nothing_said(rig: Rig) -> None:
    """It is a success, and counted as one."""
    assert rig.reload() == Reloaded(True, [])
    assert rig.number("openai_proxy_config_last_reload_successful") == 1
    assert (
        rig.service.metrics.registry.get_sample_value(
            "openai_proxy_config_reloads_total", {"result": "success"}
        )
        == 1
    )


def test_a_bad_file_changes_nothing_and_says_every_problem(rig: Rig, nothing_left: list[Any]) -> None:
    """The daemon goes on with what it had."""
    before, port = rig.service.graph, rig.service.ports[0]
    rig.write("nonsense: 1\nworse: 2\n")
    reloaded = rig.reload()
    assert not reloaded.is_done
    assert len(reloaded.lines) == 2
    assert "nonsense" in reloaded.lines[0] and "worse" in reloaded.lines[1]
    assert rig.service.graph is before
    assert rig.service.ports == [port]
    assert rig.number("openai_proxy_config_last_reload_successful") == 0
    nothing_left.clear()


def test_a_port_that_cannot_be_had_changes_nothing(rig: Rig, nothing_left: list[Any]) -> None:
    """Nor does one that could be had, beside it: it is closed again."""
    before, (port,) = rig.service.graph, rig.service.ports
    taken = port.getHost().port  # type: ignore[attr-defined]
    text = rig.path.read_text().replace(
        "listeners: [",
        f'listeners: [{{address: "tcp:0:interface=127.0.0.1:backlog=9"}}, '
        f'{{address: "tcp:{taken}:interface=127.0.0.1"}}, ',
    )
    rig.path.write_text(text)
    reloaded = rig.reload()
    assert not reloaded.is_done
    assert reloaded.lines[0].startswith("listeners[1]")
    assert "in use" in reloaded.lines[0]
    assert rig.service.graph is before
    assert rig.service.ports == [port]
    nothing_left.clear()


def test_a_key_that_was_rotated_is_used(rig: Rig) -> None:
    """The file's name is what it was; the lines say that it changed, and no more."""
    rig.key.write_text("sk-second")
    assert rig.reload() == Reloaded(True, ["providers.one.api_key: changed"])
    wiring: Any = rig.service.graph._wiring
    assert wiring.targets["one"].keys.current().reveal() == "sk-second"


def test_what_did_not_change_is_kept(rig: Rig) -> None:
    """Connections, breakers, whose objects are whose: of a provider that is what it was."""
    before: Any = rig.service.graph
    stickiness = before._wiring.gateway.stickiness
    one, two = rig.breaker("one"), rig.breaker("two")
    rig.write("mock: false\n")
    rig.key.write_text("sk-second")
    assert rig.reload().is_done
    after: Any = rig.service.graph
    assert after is not before
    assert after.agent is before.agent
    assert after._wiring.gateway.stickiness is stickiness
    assert rig.breaker("two") is two
    assert rig.breaker("one") is not one
    assert b"mock" not in rig.service.site.root.children


def test_other_limits_of_connections_want_other_connections(rig: Rig) -> None:
    """The old ones are let go of, behind the last exchange that has one."""
    before = rig.service.graph
    exchange: Any = object()
    before.context.in_flight.began(exchange)
    rig.write("timeouts: {connect_seconds: 3}\n")
    assert rig.reload().is_done
    assert rig.service.graph.agent is not before.agent
    assert [before.agent._closed] == [False]
    before.context.in_flight.ended(exchange)
    assert before.agent._closed
    assert not rig.service.graph.agent._closed
    assert len(rig.service.graphs) == 1


def test_many_reloads_beside_a_long_exchange(rig: Rig) -> None:
    """What the first and the last share outlives all between them."""
    first = rig.service.graph
    exchange: Any = object()
    first.context.in_flight.began(exchange)
    for seconds in range(1, 20):
        rig.write(f"hedge: {{min_seconds: {seconds}}}\n")
        assert rig.reload().is_done
    assert rig.service.graph.agent is first.agent
    assert len(rig.service.graphs) == 2
    first.context.in_flight.ended(exchange)
    assert len(rig.service.graphs) == 1
    assert not first.agent._closed


async def test_a_port_that_is_new_is_opened_and_one_that_is_gone_is_closed(rig: Rig) -> None:
    """Those that are named still are left alone."""
    from twisted.internet import reactor

    (port,) = rig.service.ports
    text = rig.path.read_text()
    rig.path.write_text(
        text.replace("listeners: [", 'listeners: [{address: "unix:%s"}, ' % (rig.folder / "s"))
    )
    assert rig.reload().is_done
    assert len(rig.service.ports) == 2
    assert port in rig.service.ports
    rig.path.write_text(text)
    assert rig.reload().is_done
    await deferLater(reactor, 0)
    await deferLater(reactor, 0)
    assert rig.service.ports == [port]


def test_another_log_is_written_from_the_next_exchange_on(rig: Rig) -> None:
    """The old one is closed behind its last line."""
    rig.write(f"access_log: {{file: {rig.folder / 'one.log'}}}\n")
    assert rig.reload().is_done
    one = rig.service.graph.access_log
    assert one is not None
    assert [one.is_open] == [True]
    assert rig.reload().is_done
    assert rig.service.graph.access_log is one
    rig.write(f"access_log: {{file: {rig.folder / 'two.log'}}}\n")
    assert rig.reload().is_done
    assert not one.is_open
    assert rig.service.graph.access_log is not one


def test_a_log_that_cannot_be_opened_changes_nothing(rig: Rig, nothing_left: list[Any]) -> None:
    """It is said with its name."""
    before = rig.service.graph
    rig.write(f"access_log: {{file: {rig.folder / 'none' / 'a.log'}}}\n")
    reloaded = rig.reload()
    assert not reloaded.is_done
    assert "a.log" in reloaded.lines[0]
    assert rig.service.graph is before
    nothing_left.clear()


def test_what_was_made_for_nothing_is_let_go_of(
    rig: Rig, nothing_left: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload that fails late has made connections' places, logs and traces by then."""
    made: list[Graph] = []

    def remembered(*arguments: Any) -> Graph:
        made.append(Graph(*arguments))
        return made[-1]

    monkeypatch.setattr("openai_proxy.service.Graph", remembered)
    before = rig.service.graph
    rig.write(f"timeouts: {{connect_seconds: 3}}\naccess_log: {{file: {rig.folder / 'none' / 'a.log'}}}\n")
    assert not rig.reload().is_done
    assert made[0].agent._closed
    assert rig.service.graph is before
    assert not before.agent._closed
    nothing_left.clear()


def test_without_a_file_there_is_nothing_to_read(nothing_left: list[Any]) -> None:
    """That is said, and nothing happens."""
    from twisted.internet import reactor

    service = ProxyService(Setup(Settings(mock=False)), reactor)
    came: list[Reloaded] = []
    service.reload().addCallback(came.append)
    assert came[0].lines == ["there is no configuration file to read again (--config)"]
    registry = service.metrics.registry
    assert registry.get_sample_value("openai_proxy_config_last_reload_successful") == 1
    nothing_left.clear()


async def test_a_daemon_that_ends_does_not_change(rig: Rig, nothing_left: list[Any]) -> None:
    """It has what it will ever have."""
    draining = rig.service.drain()
    assert not rig.reload().is_done
    assert rig.service.is_draining
    await rig.service.drain()
    await draining
    assert rig.service.exit_status == 0
    nothing_left.clear()
