"""The price table against the package whose facts it holds."""

from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal

import msgspec
import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import extract_usage, types
from genai_prices.data import providers as genai_providers

from openai_proxy.observe.usage import FORMS, NO_QUIRKS, Usage
from openai_proxy.policy.cost import PICO_PER_MICRO, cost_microdollars, cost_picodollars
from openai_proxy.policy.prices import TABLE, Model, Prices, Section
from tools import prices as tool

PRICES = Prices.load()
THEIRS = {provider.id: provider for provider in genai_providers}
SOLD = [(ours, theirs) for ours, theirs in tool.SECTIONS.items() if ours != "vertex"]
ROUTED = [("huggingface", theirs) for theirs in THEIRS if theirs.startswith(tool.HUGGINGFACE)]

UNPRICED = {
    # Where we say None and the oracle has a price: what the model is paid by is in no usage.
    ("openai", "tts-1"): "characters",
    ("openai", "tts-1-hd"): "characters",
    ("azure", "tts-1"): "characters, as openai",
    ("azure", "tts-1-hd"): "characters, as openai",
    ("groq", "canopylabs/orpheus-arabic-saudi"): "characters",
    ("groq", "canopylabs/orpheus-v1-english"): "characters",
    ("mistral", "mistral-ocr-2503"): "pages",
    ("mistral", "mistral-ocr-2505"): "pages",
    ("mistral", "mistral-ocr-2512"): "pages",
    ("mistral", "mistral-ocr-4-0"): "pages",
    ("mistral", "mistral-ocr-4-1"): "pages",
    ("mistral", "mistral-ocr-latest"): "pages",
}
# Where both have a price and ours is short of it, because the usage does not tell: web and file
# searches (openai, anthropic, gemini, perplexity), citations (perplexity's deep research, paid as
# output), video tokens (gemini, paid as text). The usages here hold none of these.

USAGES = (
    Usage(input_tokens=1, output_tokens=1),
    Usage(input_tokens=1_234, output_tokens=567),
    Usage(input_tokens=10_000, cached_input_tokens=8_000, output_tokens=100),
    Usage(
        input_tokens=10_000,
        cached_input_tokens=2_000,
        cache_write_tokens=5_000,
        cache_write_1h_tokens=1_000,
        output_tokens=300,
    ),
    Usage(input_tokens=100, output_tokens=4_000, reasoning_tokens=3_000),
    Usage(input_tokens=128_000, output_tokens=10),
    Usage(input_tokens=200_000, output_tokens=10),
    Usage(input_tokens=200_001, output_tokens=10),
    Usage(input_tokens=900_000, cached_input_tokens=100_000, cache_write_tokens=7, output_tokens=50_000),
)
OF_AUDIO_AND_IMAGES = (
    Usage(
        input_tokens=1_234,
        input_audio_tokens=300,
        input_image_tokens=200,
        output_tokens=567,
        output_audio_tokens=50,
        output_image_tokens=70,
    ),
    Usage(
        input_tokens=10_000,
        cached_input_tokens=4_000,
        input_audio_tokens=5_000,
        input_image_tokens=3_000,
        cached_input_audio_tokens=2_000,
        cached_input_image_tokens=1_000,
        output_tokens=100,
        output_audio_tokens=100,
    ),
    Usage(input_tokens=50, input_audio_tokens=50, output_tokens=9),
    Usage(input_tokens=50, input_image_tokens=40, output_tokens=1_056, output_image_tokens=1_056),
)
AUDIO = tuple(Usage(seconds=seconds) for seconds in (0.0, 0.5, 12.345, 3600.0))


def moments(model: types.ModelInfo) -> Iterator[datetime]:
    """Hours of the table's day and of each later price's first: a quiet one, and the daily periods' ends."""
    assert PRICES.table.made is not None
    hours, days = [time(20)], [PRICES.table.made]
    for constraint in tool.constraints(model):
        if isinstance(constraint, types.TimeOfDateConstraint):
            hours += [constraint.start_time.replace(tzinfo=None), constraint.end_time.replace(tzinfo=None)]
        elif constraint.start_date > days[0]:
            days.append(constraint.start_date)
    return (datetime.combine(day, hour, UTC) for day in days for hour in hours)


def their_usage(usage: Usage) -> TheirUsage:
    """The same in the oracle's words."""
    seconds = None if usage.seconds is None else Decimal(str(usage.seconds))
    return TheirUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_input_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
        cache_write_1h_tokens=usage.cache_write_1h_tokens or None,
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning_tokens or None,
        input_audio_tokens=usage.input_audio_tokens or None,
        input_image_tokens=usage.input_image_tokens or None,
        output_audio_tokens=usage.output_audio_tokens or None,
        output_image_tokens=usage.output_image_tokens or None,
        cache_audio_read_tokens=usage.cached_input_audio_tokens,
        cache_image_read_tokens=usage.cached_input_image_tokens,
        audio_seconds=seconds,
        input_audio_seconds=seconds,
    )


def cases(priced: set[str]) -> Iterator[Usage]:
    """What a model with these of the oracle's prices may be asked to do."""
    if not priced or priced & {"input_mtok", "output_mtok"}:
        yield from USAGES
        if any("audio" in key or "image" in key for key in priced):
            yield from OF_AUDIO_AND_IMAGES
    if "audio_hours" in priced:
        yield from AUDIO


def disagreements(ours: str, provider: types.Provider, model: types.ModelInfo, name: str) -> Iterator[str]:
    """A line for each cost that differs by more than the rounding."""
    tiers: dict[str | None, dict[str, str] | None] = {None: None, "flex": tool.TIERS["flex"]}
    if model.price_variants:
        tiers.update(tool.TIERS | tool.FAST.get(provider.id, {}))
    for at in moments(model):
        for tier, context in tiers.items():
            priced = {key for key, value in vars(model.get_prices(at, context)).items() if value is not None}
            price = PRICES.price_of(ours, name, tier, at.timestamp())
            if price is None:
                yield f"{name}: no price"
                continue
            for usage in cases(priced):
                theirs = (
                    10**12
                    * model.calc_price(
                        their_usage(usage), provider, genai_request_timestamp=at, price_context=context
                    ).total_price
                )
                exact, rounded = cost_picodollars(usage, price), cost_microdollars(usage, price)
                assert type(exact) is int and type(rounded) is int
                # A rate that is no whole micro-dollar per million tokens was rounded to one.
                slack = ((usage.input_tokens or 0) + (usage.output_tokens or 0)) // 2 + 1
                half = PICO_PER_MICRO // 2
                if abs(exact - theirs) > slack or abs(rounded * PICO_PER_MICRO - theirs) > slack + half:
                    yield f"{name} in tier {tier} at {at}: {exact}, not {theirs}, for {usage}"


def names(model: types.ModelInfo) -> Iterator[str]:
    """Exact names, samples of what the patterns match, dated snapshots."""
    yield from tool.exact(model.match)
    yield from (model.id.lower() + date for date in ("", "-20260102", "-2026-01-02", "@20260102"))
    for pattern in tool.patterns(model.match):
        if pattern[0] != "/":
            yield pattern.replace("*", "")
            yield pattern.replace("*", "-x")


def section(ours: str) -> tuple[Model, ...]:
    """Our entries."""
    return msgspec.json.decode(PRICES.table.providers[ours], type=Section).models


def test_the_table_is_what_make_prices_makes() -> None:
    """The table is not edited by hand, nor older than the package that the tests hold it against."""
    assert PRICES.table.made is not None
    assert TABLE.read_text() == tool.text(PRICES.table.made), "run `make prices`"


@pytest.mark.parametrize(("ours", "theirs"), SOLD + ROUTED, ids=lambda name: str(name))
def test_every_model_costs_what_the_oracle_says(ours: str, theirs: str) -> None:
    """Each model, in each tier, at each time, costs the same for each kind of usage."""
    provider = THEIRS[theirs]
    suffix = ":" + theirs.removeprefix(tool.HUGGINGFACE) if ours == "huggingface" else ""
    checked: set[str] = set()
    found: list[str] = []
    for model in provider.models:
        own = next((name for name in names(model) if provider.find_model(name) is model), None)
        if own is not None and (ours, model.id) not in UNPRICED:
            checked.add(model.id + suffix)
            found += disagreements(ours, provider, model, own + suffix)
    assert not found
    assert checked == {model.id for model in section(ours) if model.id.endswith(suffix)}


@pytest.mark.parametrize(("ours", "theirs"), [*SOLD, ("vertex", "google")], ids=lambda name: str(name))
def test_every_name_stands_for_the_model_that_the_oracle_finds(ours: str, theirs: str) -> None:
    """A name means the same model to both, through fallbacks too; we know dated snapshots besides."""
    provider = THEIRS[theirs]
    sources = [provider, *(THEIRS[other] for other in provider.fallback_model_providers or ())]
    found: list[tuple[str, str | None, str | None]] = []
    for name in {name for source in sources for sold in source.models for name in names(sold)}:
        model = PRICES.find(ours, name)
        their = provider.find_model(name, all_providers=genai_providers)
        if their is None and model is not None:
            undated = name.removesuffix("20260102").removesuffix("2026-01-02")[:-1]
            their = provider.find_model(undated, all_providers=genai_providers)
        if their is not None and (ours, their.id) in UNPRICED:
            their = None
        ids = (None if model is None else model.id, None if their is None else their.id)
        if ids[0] != ids[1]:
            found.append((name, *ids))
    assert not found


IMAGE = {
    "input_tokens": 60,
    "input_tokens_details": {"text_tokens": 20, "image_tokens": 40},
    "output_tokens": 1_060,
    "output_tokens_details": {"text_tokens": 4, "image_tokens": 1_056},
}
REALTIME = {
    "input_tokens": 90,
    "input_token_details": {
        "text_tokens": 15,
        "audio_tokens": 70,
        "image_tokens": 5,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 50, "image_tokens": 4},
    },
    "output_tokens": 30,
    "output_token_details": {"text_tokens": 5, "audio_tokens": 25},
}
CHAT = {
    "prompt_tokens": 90,
    "completion_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 70},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 25},
}


@pytest.mark.parametrize(
    ("endpoint", "flavor", "model", "usage"),
    [
        ("chat_completions", "chat", "gpt-4o-audio-preview", CHAT),
        ("chat_completions", "chat", "gpt-audio", CHAT),
        ("chat_completions", "chat", "gpt-audio-mini", CHAT),
        ("images", "images", "gpt-image-1", IMAGE),
        ("images", "images", "gpt-image-1-mini", IMAGE),
        ("images", "images", "gpt-image-1.5", IMAGE),
        ("images", "images", "chatgpt-image-latest", IMAGE),
        # The same forms as in the tunnel, which is not read: details spelt as transcriptions have them.
        ("responses", "realtime", "gpt-realtime", REALTIME),
        ("responses", "realtime", "gpt-realtime-mini", REALTIME),
        ("audio_transcriptions", "realtime", "gpt-4o-transcribe", REALTIME),
        ("embeddings", "embeddings", "text-embedding-3-large", {"prompt_tokens": 7, "total_tokens": 7}),
    ],
)
def test_an_answer_costs_what_the_oracle_reads_in_it(
    endpoint: str, flavor: str, model: str, usage: dict[str, object]
) -> None:
    """From the usage as it is sent to the dollars: both read the same parts."""
    answer = {"model": model, "usage": usage}
    event = {"response": answer} if flavor == "realtime" else answer
    theirs = extract_usage(event, provider_id="openai", api_flavor=flavor)
    ours = FORMS[endpoint](msgspec.Raw(msgspec.json.encode(usage))).normal(NO_QUIRKS)
    price = PRICES.price_of("openai", model)
    assert ours is not None and price is not None
    provider = THEIRS["openai"]
    found = provider.find_model(model)
    assert found is not None and PRICES.table.made is not None
    at = datetime.combine(PRICES.table.made, time(20), UTC)
    paid = found.calc_price(theirs.usage, provider, genai_request_timestamp=at, price_context=None)
    assert cost_picodollars(ours, price) == 10**12 * paid.total_price
