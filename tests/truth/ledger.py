"""What must be counted, added up by a test from what its clients asked for and saw."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any

from genai_prices import Usage as TheirUsage
from genai_prices.data import providers as genai_providers
from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemon import ROOT

Key = tuple[str, tuple[tuple[str, str], ...]]

_PICO = 10**12
_OPENAI = next(provider for provider in genai_providers if provider.id == "openai")


def _documented(label: str) -> frozenset[str]:
    """The values of a label of errors, as docs/metrics.md lists them."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    (row,) = re.findall(rf"^\| `{label}` \| `openai_proxy_errors_total` \| (.*) \|$", page, re.MULTILINE)
    return frozenset(re.findall(r"`([^`]+)`", row))


TYPES, CODES = _documented("type"), _documented("code")


@dataclass(frozen=True)
class Tokens:
    """Usage in one form: totals include their parts."""

    input: int | None = None
    cached: int = 0
    written: int = 0
    output: int | None = None
    reasoning: int = 0
    seconds: float | None = None
    audio: int = 0
    """Of the input."""


def tokens_of(usage: dict[str, Any]) -> Tokens:
    """Of a usage object in either of OpenAI's forms."""
    names = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
    into: dict[str, Any] = next((usage[name] for name in names if usage.get(name)), {})
    out = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    output = usage.get("completion_tokens", usage.get("output_tokens"))
    if output is None and "prompt_tokens" in usage:
        output = 0
    return Tokens(
        input=usage.get("prompt_tokens", usage.get("input_tokens")),
        cached=into.get("cached_tokens", 0),
        written=into.get("cache_write_tokens", 0),
        output=output,
        reasoning=out.get("reasoning_tokens", 0),
        seconds=usage.get("seconds"),
        audio=into.get("audio_tokens", 0),
    )


@cache
def picodollars(model: str, tier: str | None, tokens: Tokens) -> int | None:
    """What the oracle says that it costs; None: it knows no price for it."""
    found = _OPENAI.find_model(model, all_providers=genai_providers)
    if found is None:
        return None
    context = {"service_tier": tier} if tier in ("flex", "priority") else None
    seconds = None if tokens.seconds is None else Decimal(str(tokens.seconds))
    price = found.calc_price(
        TheirUsage(
            input_tokens=tokens.input,
            cache_read_tokens=tokens.cached or None,
            cache_write_tokens=tokens.written or None,
            output_tokens=tokens.output,
            output_reasoning_tokens=tokens.reasoning or None,
            input_audio_tokens=tokens.audio or None,
            input_audio_seconds=seconds,
            audio_seconds=seconds,
        ),
        _OPENAI,
        price_context=context,
    )
    exact = price.total_price * _PICO
    assert exact == int(exact)
    return int(exact)


@dataclass
class Ended:
    """One request, as the test knows it."""

    provider: str
    endpoint: str
    model: str
    status: int
    outcome: str
    received: int = 0
    sent: int = 0
    result: str | None = None
    """Of its attempt; None: there was none."""
    error: tuple[str, str | None, str | None] | None = None
    """Source, type, code: as they were written."""
    phase: str | None = None
    answer_model: str = ""
    """Label of what was generated, where that is not ``model``."""
    priced_as: str = ""
    """The name that its price is looked up by."""
    tier: str | None = None
    usage: Tokens | None = None
    missing: str | None = None
    token_events: int = 0
    """Of a stream."""


def label(value: str | None, known: frozenset[str]) -> str:
    """As errors are labelled."""
    if not value:
        return "none"
    return value if value in known else "other"


@dataclass
class Ledger:
    """Sums of requests, in the terms of docs/metrics.md and of docs/access-log.md."""

    samples: Counter[Key] = field(default_factory=Counter)
    picodollars: Counter[tuple[str, str]] = field(default_factory=Counter)
    lines: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    requests: int = 0

    def count(self, name: str, amount: Any = 1, /, **labels: str) -> None:
        """Add a number to a sample."""
        if amount:
            self.samples[name, tuple(sorted(labels.items()))] += amount

    def add(self, ended: Ended) -> None:
        """One request more."""
        self.requests += 1
        if ended.status in (401, 403) and ended.model != "none":
            # Whoever has no key makes no series of models.
            ended = replace(ended, model="other")
        provider, endpoint = ended.provider, ended.endpoint
        status, group = str(ended.status), f"{ended.status // 100}xx"
        of = {"provider": provider, "endpoint": endpoint, "model": ended.model}
        self.count("http_requests_total", **of, status=status, outcome=ended.outcome)
        self.count("http_request_duration_seconds_count", **of, status_class=group)
        self.count("http_request_body_bytes_total", ended.received, endpoint=endpoint)
        self.count("http_response_body_bytes_total", ended.sent, endpoint=endpoint)
        if ended.result is not None:
            self.count(
                "openai_proxy_upstream_attempts_total",
                provider=provider,
                endpoint=endpoint,
                result=ended.result,
            )
            self.count("openai_proxy_upstream_request_duration_seconds_count", **of)
        if ended.phase is not None:
            self.count("openai_proxy_client_disconnects_total", endpoint=endpoint, phase=ended.phase)
        if ended.error is not None:
            source, kind, code = ended.error
            self.count(
                "openai_proxy_errors_total",
                provider=provider,
                source=source,
                type=label(kind, TYPES),
                code=label(code, CODES),
            )
        self._generated(ended)
        self._line(ended)

    def _generated(self, ended: Ended) -> None:
        of = {"provider": ended.provider, "model": ended.answer_model or ended.model}
        if ended.missing is not None:
            self.count(
                "openai_proxy_usage_missing_total",
                provider=ended.provider,
                endpoint=ended.endpoint,
                reason=ended.missing,
            )
        if ended.token_events:
            self.count("openai_proxy_time_to_first_token_seconds_count", **of)
            self.count("openai_proxy_stream_chunk_interval_seconds_count", ended.token_events - 1, **of)
        usage = ended.usage
        if usage is None:
            return
        self.count("openai_proxy_input_tokens_total", usage.input or 0, **of)
        self.count("openai_proxy_input_cached_tokens_total", usage.cached, **of)
        self.count("openai_proxy_input_cache_write_tokens_total", usage.written, **of)
        self.count("openai_proxy_output_tokens_total", usage.output or 0, **of)
        self.count("openai_proxy_output_reasoning_tokens_total", usage.reasoning, **of)
        self.count("openai_proxy_audio_seconds_total", usage.seconds or 0, **of)
        cost = self._cost(ended)
        if cost is None:
            self.count("openai_proxy_unpriced_requests_total", **of)
        else:
            self.picodollars[of["provider"], of["model"]] += cost

    def _cost(self, ended: Ended) -> int | None:
        if ended.usage is None or not ended.priced_as:
            return None
        return picodollars(ended.priced_as, ended.tier, ended.usage)

    def _line(self, ended: Ended) -> None:
        usage = ended.usage or Tokens()
        cost = self._cost(ended)
        error = ended.error or (None, None, None)
        self.lines[
            ended.provider,
            ended.endpoint,
            ended.model,
            ended.status,
            ended.outcome,
            ended.phase,
            (ended.received, ended.sent) if ended.provider != "none" else (None, None),
            (usage.input, usage.cached, usage.written, usage.output, usage.reasoning)
            if ended.usage is not None
            else (None,) * 5,
            ended.missing,
            None if cost is None else (cost + 500_000) // 1_000_000,
            () if ended.result is None else (ended.result,),
            (error[0], label(error[1], TYPES), label(error[2], CODES)),
        ] += 1

    def check_metrics(self, text: str) -> list[str]:
        """Each sample of the families that this ledger has which is not as it must be."""
        names = {name for name, _ in self.samples} | {"openai_proxy_unpriced_requests_total"}
        shown: dict[Key, float] = {}
        dollars: dict[tuple[str, str], int] = {}
        for sample in samples_in(text):
            if sample.name in names and sample.value:
                shown[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
            elif sample.name == "openai_proxy_cost_usd_total":
                # A float of 12 decimals: exact for sums that a run has.
                key = (sample.labels["provider"], sample.labels["model"])
                dollars[key] = round(Decimal(repr(sample.value)) * _PICO)
        wrong = [
            f"{name}{dict(labels)}: {shown.get((name, labels), 0)}, not {self.samples[name, labels]}"
            for name, labels in sorted({*shown, *self.samples})
            if shown.get((name, labels), 0) != self.samples[name, labels]
        ]
        paid = {key: cost for key, cost in self.picodollars.items() if cost}
        earned = {key: cost for key, cost in dollars.items() if cost}
        if paid != earned:
            wrong += [
                f"dollars of {key}: {earned.get(key)}, not {paid.get(key)}"
                for key in sorted({*paid, *earned})
                if paid.get(key) != earned.get(key)
            ]
        return wrong

    def check_lines(self, lines: Iterable[dict[str, Any]]) -> list[str]:
        """Each kind of line of the access log that is there too often or too seldom."""
        found: Counter[tuple[Any, ...]] = Counter(_line_of(line) for line in lines)
        return [
            f"line {key}: {found[key]}, not {self.lines[key]}"
            for key in sorted({*found, *self.lines}, key=repr)
            if found[key] != self.lines[key]
        ]


def _line_of(line: dict[str, Any]) -> tuple[Any, ...]:
    names = ("provider", "endpoint", "model", "status", "outcome", "phase")
    tokens = (
        "input_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
    )
    return (
        *(line[name] for name in names),
        (line["received_bytes"], line["sent_bytes"]),
        tuple(line[name] for name in tokens),
        line["usage_missing"],
        line["cost_microdollars"],
        tuple(line["attempt_results"]),
        (line["error_source"], label(line["error_type"], TYPES), label(line["error_code"], CODES)),
    )


def samples_in(text: str) -> list[Any]:
    """All samples of a page of metrics."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def outcome_of(status: int) -> str:
    """Of a whole answer of an upstream."""
    if status < 400:
        return "ok"
    if status == 429:
        return "upstream_rate_limited"
    if status in (401, 403):
        return "client_auth"
    return "client_error" if status < 500 else "upstream_error"


def result_of(status: int) -> str:
    """The same of its attempt."""
    if status < 400:
        return "ok"
    if status == 429:
        return "http_429"
    return "http_4xx" if status < 500 else "http_5xx"
