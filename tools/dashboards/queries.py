"""PromQL in pieces: selectors that obey the variables, rates, shares, quantiles."""

from __future__ import annotations

from typing import Final

JOB: Final = 'job=~"$job"'
INSTANCE: Final = f'{JOB},instance=~"$instance"'
PROVIDER: Final = f'{JOB},provider=~"$provider"'
MODEL: Final = f'{PROVIDER},model=~"$model"'
"""What a family can be chosen by: each has its own labels."""


def select(name: str, scope: str, more: str = "") -> str:
    """The samples ``name`` of what the variables choose, and of what ``more`` says."""
    return f"{name}{{{scope}{',' if more else ''}{more}}}"


def rate(name: str, scope: str, more: str = "") -> str:
    """Per second, over a range that fits the panel's width and the scrape interval."""
    return f"rate({select(name, scope, more)}[$__rate_interval])"


def increase(name: str, scope: str, more: str = "", over: str = "$__range") -> str:
    """How much over all the time that the dashboard shows."""
    return f"increase({select(name, scope, more)}[{over}])"


def total(expression: str, *by: str) -> str:
    """The sum, or one for each value of the labels ``by``."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def or_zero(expression: str) -> str:
    """0 where there is nothing: a counter that nothing has happened to may not exist."""
    return f"({expression} or vector(0))"


def circuit() -> str:
    """Of each target 0, 1 or 2: its breaker is closed, half-open or open, at the worst of the instances."""
    state = "openai_proxy_circuit_state"
    is_open, on_trial = (select(state, PROVIDER, f'state="{name}"') for name in ("open", "half_open"))
    return f"max by (provider, model) (2 * {is_open} + ignoring (state) {on_trial})"


def share(part: str, whole: str) -> str:
    """``part`` of ``whole``, 0 to 1; nothing where the whole is 0."""
    return f"{part} / ({whole} > 0)"


def quantile(number: float, histogram: str, scope: str, *by: str, more: str = "") -> str:
    """The quantile of a histogram, or one for each value of the labels ``by``."""
    rates = total(rate(f"{histogram}_bucket", scope, more), "le", *by)
    return f"histogram_quantile({number}, {rates})"


def mean(histogram: str, scope: str, *by: str) -> str:
    """The mean of what a histogram observed."""
    return share(total(rate(f"{histogram}_sum", scope), *by), total(rate(f"{histogram}_count", scope), *by))
