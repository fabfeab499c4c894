"""The upper bounds of the histograms, in seconds; +Inf comes on top.

They are a contract: a target of a service level should be one of them.
"""

from typing import Final

DUR: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
"""Whole requests. To 600 s, the SDKs' own time limit: a reasoning call of minutes must not fall in +Inf."""

TTFT: Final = (
    0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
"""To the first byte or token."""

ITL: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Between tokens."""

OVER: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Our own share."""

CONN: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""To a connection."""

LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The reactor's lateness."""

ALL: Final = {"DUR": DUR, "TTFT": TTFT, "ITL": ITL, "OVER": OVER, "CONN": CONN, "LAG": LAG}
"""By the names that docs/metrics.md gives them."""
