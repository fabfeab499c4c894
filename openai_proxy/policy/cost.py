"""What one answer costs: its usage times the rates of its model, in whole numbers.

A micro-dollar per million tokens is a pico-dollar per token, so tokens times rates are exact in
pico-dollars, and can be added up; only the last step, to micro-dollars, rounds.
"""

from typing import Annotated

from msgspec import Meta, Struct

from openai_proxy.observe.usage import Usage

PICO_PER_MICRO = 10**6

Rate = Annotated[int, Meta(ge=0, le=10**13)]
"""At most ten million dollars per million tokens: beyond it, a slip of the pen."""


class Rates(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """Micro-dollars per million tokens, unless a field says another unit.

    A part without a rate of its own is paid as what it is part of; a total without one is free.
    """

    input: Rate | None = None
    cached_input: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    output: Rate | None = None
    reasoning: Rate | None = None
    input_audio: Rate | None = None
    input_image: Rate | None = None
    cached_input_audio: Rate | None = None
    cached_input_image: Rate | None = None
    """Without these two, cached audio and images are paid as all that is cached."""
    output_audio: Rate | None = None
    output_image: Rate | None = None
    audio_hour: Rate | None = None
    """Micro-dollars per hour of audio: some prices are no whole number per minute."""
    audio_least_seconds: Rate | None = None
    """Shorter audio is paid as if it were this long."""
    request: Rate | None = None
    """Micro-dollars per request."""


class Above(Rates, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """The rates of every token of a request whose input is longer than ``input_tokens``."""

    input_tokens: Annotated[int, Meta(gt=0)]


class Price(Rates, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, kw_only=True):
    """The rates of one model, in one service tier, at one time."""

    above: tuple[Above, ...] = ()
    """By rising ``input_tokens``; the last that the input is longer than holds, for all tokens."""

    def __post_init__(self) -> None:
        """Refuse what would make something free that nobody called free."""
        if self.input is None and self.output is None and self.audio_hour is None and self.request is None:
            raise ValueError("no rate at all: a free model has `input` and `output` of 0")
        last = 0
        for row in self.above:
            if row.input_tokens <= last:
                raise ValueError(f"`above` is not by rising `input_tokens` at {row.input_tokens}")
            last = row.input_tokens
            if odd := _rated(self) ^ _rated(row):
                raise ValueError(
                    f"above {last} input tokens other rates are given than below: {', '.join(sorted(odd))}"
                )


def cost_picodollars(usage: Usage, price: Price) -> int | None:
    """The cost in pico-dollars: exact for tokens and requests, to the nearest for audio's time.

    None: the usage tells nothing that the price is for (a price per hour, and no seconds).
    A part that exceeds its total, which no upstream should send, is cut to it; never below 0.
    """
    input_tokens, output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    rates: Rates = price
    for above in price.above:
        if input_tokens > above.input_tokens:
            rates = above
    if (rates.input is None or usage.input_tokens is None) and not _told(usage, rates):
        return None
    cost = _input(input_tokens, usage, rates) + _output(output_tokens, usage, rates)
    if rates.request is not None:
        cost += rates.request * PICO_PER_MICRO
    if rates.audio_hour is not None and usage.seconds is not None:
        cost += _audio(usage.seconds, rates.audio_hour, rates.audio_least_seconds or 0)
    return cost


def cost_microdollars(usage: Usage, price: Price) -> int | None:
    """``cost_picodollars`` to the nearest micro-dollar, half of one up; None as there."""
    cost = cost_picodollars(usage, price)
    return None if cost is None else _nearest(cost, PICO_PER_MICRO)


def _rated(rates: Rates) -> set[str]:
    return {name for name in Rates.__struct_fields__ if getattr(rates, name) is not None}


def _told(usage: Usage, rates: Rates) -> bool:
    by_token = rates.input is not None or rates.output is not None
    by_time = rates.audio_hour is not None
    return (
        (by_token and (usage.input_tokens is not None or usage.output_tokens is not None))
        or (by_time and usage.seconds is not None)
        or not (by_token or by_time)
    )


def _input(tokens: int, usage: Usage, rates: Rates) -> int:
    cached, writes = usage.cached_input_tokens, usage.cache_write_tokens
    audio, image = usage.input_audio_tokens, usage.input_image_tokens
    if not (cached or writes or audio or image):
        return max(0, tokens) * (rates.input or 0)
    # Cached audio is in two parts: paid in one, it must not be paid in the other again.
    audio_rate = rates.cached_input if rates.cached_input_audio is None else rates.cached_input_audio
    image_rate = rates.cached_input if rates.cached_input_image is None else rates.cached_input_image
    cached_audio = 0 if audio_rate is None else usage.cached_input_audio_tokens
    cached_image = 0 if image_rate is None else usage.cached_input_image_tokens
    hour = 0 if rates.cache_write_1h is None else usage.cache_write_1h_tokens
    return _total(
        tokens,
        rates.input,
        (
            (cached_audio, audio_rate),
            (cached_image, image_rate),
            (cached - cached_audio - cached_image, rates.cached_input),
            (hour, rates.cache_write_1h),
            (writes - hour, rates.cache_write),
            (audio - cached_audio, rates.input_audio),
            (image - cached_image, rates.input_image),
        ),
    )


def _output(tokens: int, usage: Usage, rates: Rates) -> int:
    thought = 0 if rates.reasoning is None else usage.reasoning_tokens
    if not (thought or usage.output_audio_tokens or usage.output_image_tokens):
        return max(0, tokens) * (rates.output or 0)
    return _total(
        tokens,
        rates.output,
        (
            (thought, rates.reasoning),
            (usage.output_audio_tokens, rates.output_audio),
            (usage.output_image_tokens, rates.output_image),
        ),
    )


def _total(tokens: int, rate: int | None, parts: tuple[tuple[int, int | None], ...]) -> int:
    """The parts that have a rate of their own, and what is left of the total at its rate."""
    left = max(0, tokens)
    cost = 0
    for part, own in parts:
        if part > 0 and own is not None:
            taken = min(part, left)
            left -= taken
            cost += taken * own
    return cost + left * (rate or 0)


def _audio(seconds: float, hour: int, least_seconds: int) -> int:
    milliseconds = round(seconds * 1000)
    if milliseconds <= 0:
        return 0
    return _nearest(hour * PICO_PER_MICRO * max(milliseconds, least_seconds * 1000), 3_600_000)


def _nearest(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
