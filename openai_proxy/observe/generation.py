"""The numbers of what was generated: tokens, cost, and how fast tokens came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from openai_proxy.observe.buckets import ITL, TTFT
from openai_proxy.observe.families import Counter, Families, Histogram, HistogramFamily
from openai_proxy.observe.model import OTHER
from openai_proxy.observe.record import Generation
from openai_proxy.observe.usage import Usage, UsageMissing

PICODOLLARS_PER_DOLLAR: Final = 10**12

MOST_MODELS: Final = 1000
"""Provider and model pairs that are kept apart here; a guard, for both are of closed sets."""


class Tokens:
    """Children of one provider and model that count tokens."""

    __slots__ = ("_cache_write", "_cached", "_input", "_output", "_reasoning")

    def __init__(self, metrics: GenerationMetrics, provider: str, model: str) -> None:
        self._input = metrics.input_tokens.child(provider, model)
        self._output = metrics.output_tokens.child(provider, model)
        self._cached = metrics.cached_tokens.child(provider, model)
        self._cache_write = metrics.cache_write_tokens.child(provider, model)
        self._reasoning = metrics.reasoning_tokens.child(provider, model)

    def add(self, usage: Usage) -> None:
        """What one answer used."""
        if usage.input_tokens is not None:
            self._input.value += usage.input_tokens
        if usage.output_tokens is not None:
            self._output.value += usage.output_tokens
        # Mostly 0: looking costs less than adding.
        if usage.cached_input_tokens:
            self._cached.value += usage.cached_input_tokens
        if usage.cache_write_tokens:
            self._cache_write.value += usage.cache_write_tokens
        if usage.reasoning_tokens:
            self._reasoning.value += usage.reasoning_tokens


class OfModel:
    """Children of one provider and model, made when they are first needed."""

    __slots__ = (
        "_audio", "_cost", "_histograms", "_metrics", "_model", "_provider", "_tokens", "_unpriced",
    )  # fmt: skip

    def __init__(self, metrics: GenerationMetrics, provider: str, model: str) -> None:
        self._metrics = metrics
        self._provider = provider
        self._model = model
        self._tokens: Tokens | None = None
        self._cost: Counter | None = None
        self._unpriced: Counter | None = None
        self._audio: Counter | None = None
        self._histograms: dict[HistogramFamily, Histogram] = {}

    def ended(self, generation: Generation) -> None:
        """What was read of one answer."""
        if generation.usage is not None:
            self._used(generation.usage, generation.cost_picodollars)
        self._clocked(generation)

    def _used(self, usage: Usage, cost_picodollars: int | None) -> None:
        tokens = self._tokens
        if tokens is None:
            tokens = self._tokens = Tokens(self._metrics, self._provider, self._model)
        tokens.add(usage)
        if cost_picodollars is not None:
            cost = self._cost
            if cost is None:
                cost = self._cost = self._metrics.cost.child(self._provider, self._model)
            cost.value += cost_picodollars
        else:
            unpriced = self._unpriced
            if unpriced is None:
                unpriced = self._unpriced = self._metrics.unpriced.child(self._provider, self._model)
            unpriced.value += 1
        if usage.seconds is not None:
            if self._audio is None:
                self._audio = self._metrics.audio_seconds.child(self._provider, self._model)
            self._audio.value += usage.seconds

    def _clocked(self, generation: Generation) -> None:
        metrics = self._metrics
        if generation.first_token_seconds is not None:
            self._histogram(metrics.first_token_seconds).observe(generation.first_token_seconds)
        if generation.first_visible_seconds is not None:
            self._histogram(metrics.first_visible_seconds).observe(generation.first_visible_seconds)
        if generation.seconds_per_output_token is not None:
            self._histogram(metrics.seconds_per_token).observe(generation.seconds_per_output_token)
        if generation.intervals is not None:
            self._histogram(metrics.intervals).add_counts(generation.intervals)

    def _histogram(self, family: HistogramFamily) -> Histogram:
        histogram = self._histograms.get(family)
        if histogram is None:
            histogram = self._histograms[family] = family.child(self._provider, self._model)
        return histogram


class GenerationMetrics:
    """The families of tokens, cost and token clocks."""

    def __init__(self, families: Families) -> None:
        self._models: dict[tuple[str, str], OfModel] = {}
        self._missing: dict[tuple[str, str, UsageMissing], Counter] = {}
        self._families = families
        of_model = ("provider", "model")
        self._add_token_families(of_model)
        self._add_clock_families(of_model)
        self.missing = families.counter(
            "openai_proxy_usage_missing",
            "Answers whose usage was due and is not known, so that tokens and cost are too low.",
            ("provider", "endpoint", "reason"),
            cap=800,
        )
        self.cost = families.counter(
            "openai_proxy_cost_usd",
            "What answers cost by the price table, in US dollars.",
            of_model,
            per_unit=PICODOLLARS_PER_DOLLAR,
        )
        self.unpriced = families.counter(
            "openai_proxy_unpriced_requests",
            "Answers with usage for which there is no price.",
            of_model,
        )
        self.audio_seconds = families.counter(
            "openai_proxy_audio_seconds", "Seconds of audio that were billed as such.", of_model
        )

    def _add_token_families(self, of_model: tuple[str, ...]) -> None:
        counter = self._families.counter
        self.input_tokens = counter(
            "openai_proxy_input_tokens", "Input tokens, cached ones and cache writes included.", of_model
        )
        self.cached_tokens = counter(
            "openai_proxy_input_cached_tokens", "Input tokens that came from a cache.", of_model
        )
        self.cache_write_tokens = counter(
            "openai_proxy_input_cache_write_tokens", "Input tokens that were written to a cache.", of_model
        )
        self.output_tokens = counter(
            "openai_proxy_output_tokens", "Output tokens, reasoning included.", of_model
        )
        self.reasoning_tokens = counter(
            "openai_proxy_output_reasoning_tokens", "Output tokens that were reasoning.", of_model
        )

    def _add_clock_families(self, of_model: tuple[str, ...]) -> None:
        histogram = self._families.histogram
        self.first_token_seconds = histogram(
            "openai_proxy_time_to_first_token_seconds",
            "Of streams: from a client request's last byte to the first token of any kind.",
            of_model,
            TTFT,
        )
        self.first_visible_seconds = histogram(
            "openai_proxy_time_to_first_visible_token_seconds",
            "Of streams: from a client request's last byte to the first token of the answer itself.",
            of_model,
            TTFT,
        )
        self.intervals = histogram(
            "openai_proxy_stream_chunk_interval_seconds",
            "Of streams: between two events with tokens.",
            of_model,
            ITL,
        )
        self.seconds_per_token = histogram(
            "openai_proxy_time_per_output_token_seconds",
            "Of streams: from the first token to the last, by token after the first.",
            of_model,
            ITL,
        )

    def ended(self, provider: str, endpoint: str, generation: Generation) -> None:
        """What was read of one answer."""
        model = self._models.get((provider, generation.model))
        if model is None:
            model = self._bind(provider, generation.model)
        model.ended(generation)
        if generation.usage_missing is not None:
            self._missing_of(provider, endpoint, generation.usage_missing).value += 1

    def expect(self, provider: str, endpoints: Iterable[str]) -> None:
        """Make the children whose first failure has to be seen."""
        for endpoint in endpoints:
            for reason in UsageMissing:
                self._missing_of(provider, endpoint, reason)

    def _missing_of(self, provider: str, endpoint: str, reason: UsageMissing) -> Counter:
        key = (provider, endpoint, reason)
        counter = self._missing.get(key)
        if counter is None:
            counter = self._missing[key] = self.missing.child(provider, endpoint, reason.value)
        return counter

    def _bind(self, provider: str, model: str) -> OfModel:
        if len(self._models) >= MOST_MODELS:
            model = OTHER
        return self._models.setdefault((provider, model), OfModel(self, provider, model))
