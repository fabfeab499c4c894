"""The numbers of how the daemon is operated: reloads of its configuration, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from openai_proxy.observe.families import Families

RESULTS: Final = ("success", "failure")


class OperatingMetrics:
    """The families of reloads and of the drain."""

    def __init__(self, families: Families, unix_seconds: Callable[[], float]) -> None:
        self._unix_seconds = unix_seconds
        self.is_draining = False
        self.left_to_drain: Callable[[], int] = int
        """How many exchanges are waited for, while it drains."""
        self._last_successful = True
        self._succeeded_at: float | None = None
        self._reloads = dict.fromkeys(RESULTS, 0)
        families.gauge(
            "openai_proxy_config_last_reload_successful",
            "Whether the last attempt to read the configuration succeeded: 1, or 0.",
            (),
            lambda: [((), float(self._last_successful))],
        )
        families.gauge(
            "openai_proxy_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read and taken into use, in unix time.",
            (),
            lambda: [] if self._succeeded_at is None else [((), self._succeeded_at)],
        )
        families.counted(
            "openai_proxy_config_reloads",
            "Attempts to read the configuration again.",
            ("result",),
            lambda: [((result,), count) for result, count in list(self._reloads.items())],
        )
        families.gauge(
            "openai_proxy_draining",
            "Whether the daemon is ending, and waits for what is in flight: 1, or 0.",
            (),
            lambda: [((), float(self.is_draining))],
        )
        families.gauge(
            "openai_proxy_drain_exchanges",
            "Exchanges that the daemon waits for before it ends; 0 while it does not end.",
            (),
            lambda: [((), float(self.left_to_drain() if self.is_draining else 0))],
        )

    def begun(self) -> None:
        """The configuration was read for the first time."""
        self._succeeded_at = self._unix_seconds()

    def reloaded(self, is_done: bool, is_counted: bool = True) -> None:
        """An attempt to read the configuration again has come to this.

        :param is_counted: False: another process counts it.
        """
        self._last_successful = is_done
        self._reloads[RESULTS[not is_done]] += is_counted
        if is_done:
            self._succeeded_at = self._unix_seconds()
