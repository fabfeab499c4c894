"""The families of the daemon itself."""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

import openai_proxy
import twisted
from openai_proxy.observe.families import Families
from openai_proxy.observe.process import ProcessMetrics, revision_of


class Rig:
    """The families and their registry."""

    def __init__(self, **environment: str) -> None:
        self.registry = CollectorRegistry()
        self.process = ProcessMetrics(Families(self.registry), environment)

    def read(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"openai_proxy_{name}", labels)


class Pool:
    """A thread pool as its users see it."""

    working = (None, None, None)
    waiters = (None,)

    class q:  # noqa: N801 (its name)
        @staticmethod
        def qsize() -> int:
            return 5


def test_what_runs() -> None:
    """Versions as labels."""
    labels = {
        "version": openai_proxy.__version__,
        "revision": "1a2b3c",
        "python_version": platform.python_version(),
        "twisted_version": twisted.__version__,
    }
    assert Rig(OPENAI_PROXY_REVISION="1a2b3c").read("build_info", **labels) == 1
    assert Rig().read("build_info", **{**labels, "revision": ""}) == 1


def test_the_revision_is_what_is_known_of_it() -> None:
    """The environment's word, else that of the version, else nothing."""
    said = {"OPENAI_PROXY_REVISION": "abc"}
    assert revision_of("1.2.0+gdef", said) == "abc"
    assert revision_of("1.2.0+gdef", {}) == "gdef"
    assert revision_of("1.2.0", {"OPENAI_PROXY_REVISION": ""}) == ""


def test_delayed_calls_of_the_reactor() -> None:
    """None while there is no reactor."""
    rig, clock = Rig(), Clock()
    assert rig.read("reactor_delayed_calls") == 0
    rig.process.reactor = clock
    clock.callLater(1, str)
    clock.callLater(2, str)
    assert rig.read("reactor_delayed_calls") == 2


def test_threads_of_the_reactor() -> None:
    """None are made by asking for them."""
    rig = Rig()
    assert rig.read("reactor_threadpool_threads", state="working") == 0
    rig.process.reactor = type("Reactor", (), {"threadpool": Pool(), "getDelayedCalls": lambda _: []})()
    assert rig.read("reactor_threadpool_threads", state="working") == 3
    assert rig.read("reactor_threadpool_threads", state="idle") == 1
    assert rig.read("reactor_threadpool_queue_length") == 5


def test_the_real_pool_can_be_read() -> None:
    """Twisted's own has these names."""
    from twisted.internet import reactor

    rig = Rig()
    rig.process.reactor = reactor
    pool = reactor.getThreadPool()  # type: ignore[attr-defined]
    assert rig.read("reactor_threadpool_threads", state="working") == len(pool.working)
    assert rig.read("reactor_threadpool_queue_length") == 0
