"""One colour for one meaning, on every dashboard: the hue says who is to blame."""

from __future__ import annotations

from typing import Final

OUTCOMES: Final = {
    "ok": "green",
    "client_error": "light-blue",
    "client_disconnect": "blue",
    "client_auth": "dark-blue",
    "upstream_error": "orange",
    "upstream_timeout": "dark-orange",
    "upstream_connect_error": "semi-dark-orange",
    "upstream_rate_limited": "yellow",
    "upstream_stream_error": "light-orange",
    "proxy_error": "red",
    "proxy_overload": "dark-red",
    "proxy_throttled": "light-red",
    # Ours, but because of the provider.
    "proxy_circuit_open": "super-light-orange",
}

RESULTS: Final = {
    "ok": "green",
    "http_4xx": "light-blue",
    "http_429": "yellow",
    "http_5xx": "orange",
    "timeout": "dark-orange",
    "connect_error": "semi-dark-orange",
    "tls_error": "light-orange",
    "protocol_error": "purple",
    "stream_error": "dark-yellow",
    "aborted": "blue",
}

CONNECTING: Final = {"dns": "purple", "tcp": "green", "tls": "blue"}

THREADS: Final = {"working": "orange", "idle": "green", "queue": "red"}

WHOSE: Final = {"request": "blue", "provider": "orange", "proxy": "red"}

QUANTILES: Final = {"p50": "green", "p95": "yellow", "p99": "orange"}

STATUSES: Final = {
    "/^1/": "text",
    "/^2/": "green",
    "/^3/": "purple",
    "/^4/": "blue",
    "/^5/": "red",
    "other": "text",
}
"""By the first digit."""

LEVELS: Final = {"debug": "text", "info": "blue", "warn": "yellow", "error": "orange", "critical": "red"}

PHASES: Final = {"before_upstream": "light-blue", "before_first_byte": "blue", "mid_stream": "dark-blue"}

CIRCUITS: Final = {"closed": "green", "half-open": "yellow", "open": "red"}
"""In the order of the numbers that stand for them, from 0."""

CHANGES: Final = {"/ closed$/": "green", "/ half_open$/": "yellow", "/ open$/": "red"}

HEDGES: Final = {"won": "green", "lost": "orange"}

SLOS: Final = {"own": "red", "end_to_end": "orange"}
