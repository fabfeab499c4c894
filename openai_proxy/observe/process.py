"""The numbers of the daemon itself: what it is, how late its reactor is, what it logs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any, Final

from twisted.logger import LogLevel

from openai_proxy import __version__
from openai_proxy.observe.buckets import LAG
from openai_proxy.observe.families import Families, Rows
from twisted import __version__ as twisted_version

TICK_SECONDS: Final = 0.1
LOG_LEVELS: Final = tuple(level.name for level in LogLevel.iterconstants())


def revision_of(version: str, environment: Mapping[str, str]) -> str:
    """What ``OPENAI_PROXY_REVISION`` says, as the image does, or the version behind its ``+`` (PEP 440)."""
    return environment.get("OPENAI_PROXY_REVISION", "") or version.partition("+")[2]


class ProcessMetrics:
    """The families of the daemon; who knows the numbers puts them in."""

    def __init__(self, families: Families, environment: Mapping[str, str] = os.environ) -> None:
        """``environment`` may have the revision, in ``OPENAI_PROXY_REVISION``."""
        self.reactor: Any = None
        """The one that is shown."""
        self.last_tick_seconds: float | None = None
        """In unix time."""
        self.log_messages = dict.fromkeys(LOG_LEVELS, 0)
        self._families = families
        build = (
            __version__,
            revision_of(__version__, environment),
            platform.python_version(),
            twisted_version,
        )
        families.gauge(
            "openai_proxy_build_info",
            "Always 1; the labels say what runs.",
            ("version", "revision", "python_version", "twisted_version"),
            lambda: [(build, 1)],
        )
        families.counted(
            "openai_proxy_log_messages",
            "Messages to the log.",
            ("level",),
            lambda: [((level,), count) for level, count in list(self.log_messages.items())],
        )
        self._add_reactor_families()

    def _add_reactor_families(self) -> None:
        families = self._families
        self._lag = families.histogram(
            "openai_proxy_reactor_lag_seconds",
            f"How much too late a call came that was due {TICK_SECONDS} s later.",
            (),
            LAG,
            cap=1,
        )
        # There from the start: it has no labels that only an observation could tell.
        self.lag = self._lag.child()
        families.gauge(
            "openai_proxy_reactor_last_tick_timestamp_seconds",
            "When the reactor last came round, in unix time; it stands still if the reactor hangs.",
            (),
            lambda: [] if self.last_tick_seconds is None else [((), self.last_tick_seconds)],
        )
        families.gauge(
            "openai_proxy_reactor_delayed_calls",
            "Calls that the reactor has been asked to make later.",
            (),
            lambda: [((), 0 if self.reactor is None else len(self.reactor.getDelayedCalls()))],
        )
        families.gauge(
            "openai_proxy_reactor_threadpool_threads",
            "Threads of the reactor's pool; one of them works on this page.",
            ("state",),
            self._threads,
        )
        families.gauge(
            "openai_proxy_reactor_threadpool_queue_length",
            "Calls that wait for a thread of the reactor's pool.",
            (),
            lambda: [((), 0 if self._pool is None else self._pool.q.qsize())],
        )

    @property
    def _pool(self) -> Any:
        """The reactor's pool, if it has one by now: asking for it would make one."""
        return getattr(self.reactor, "threadpool", None)

    def _threads(self) -> Rows:
        pool = self._pool
        return [
            (("working",), 0 if pool is None else len(pool.working)),
            (("idle",), 0 if pool is None else len(pool.waiters)),
        ]
