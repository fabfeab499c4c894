"""Makes openai_proxy/policy/prices.json from the facts in the genai-prices package.

What is carried over: per provider and model the names, the rates, where they change by the length
of the input, by service tier, by date and by time of day. Left out: past prices, and what the usage
of an answer does not tell (characters, pages, messages, searches, video, citations).
"""

import argparse
import importlib.metadata
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import msgspec
from genai_prices import types
from genai_prices.data import providers as genai_providers

from openai_proxy.policy.cost import Above, Price
from openai_proxy.policy.prices import TABLE, Model, Period, Section

SECTIONS = {
    # Our provider's name: theirs.
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex": "google",
    "bedrock": "aws",
    "mistral": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "openrouter": "openrouter",
    "together": "together",
    "fireworks": "fireworks",
    "cerebras": "cerebras",
    "perplexity": "perplexity",
    "cohere": "cohere",
    # Not a provider of ours, but sold by one (azure).
    "moonshotai": "moonshotai",
}
HUGGINGFACE = "huggingface_"

TIERS = {
    # As the answer names the tier: as they name the context of a request.
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "batch": {"processing": "batch"},
}
FAST = {"anthropic": {"fast": {"speed": "fast"}}}

RATES = {
    # Our rate: theirs, and by what theirs is to be multiplied (theirs in dollars per million
    # tokens, per hour, per thousand requests).
    "input": ("input_mtok", 10**6),
    "cached_input": ("cache_read_mtok", 10**6),
    "cache_write": ("cache_write_mtok", 10**6),
    "cache_write_1h": ("cache_write_1h_mtok", 10**6),
    "output": ("output_mtok", 10**6),
    "reasoning": ("output_reasoning_mtok", 10**6),
    "input_audio": ("input_audio_mtok", 10**6),
    "input_image": ("input_image_mtok", 10**6),
    "cached_input_audio": ("cache_audio_read_mtok", 10**6),
    "cached_input_image": ("cache_image_read_mtok", 10**6),
    "output_audio": ("output_audio_mtok", 10**6),
    "output_image": ("output_image_mtok", 10**6),
    "audio_hour": ("audio_hours", 10**6),
    "request": ("requests_kcount", 10**3),
}
# A time of day, and the daily period that it stands for.
Moment = tuple[time, tuple[time, time] | None]

LEAST_SECONDS = {("groq", "whisper-large-v3"): 10, ("groq", "whisper-large-v3-turbo"): 10}


def sections(day: date) -> dict[str, Section]:
    """Every section of the table, as of ``day``. A second name for one of theirs falls back on the first."""
    theirs = {provider.id: provider for provider in genai_providers}
    ours = {their: name for name, their in reversed(SECTIONS.items())}
    made = {}
    for name, their in SECTIONS.items():
        fallback = tuple(ours[other] for other in theirs[their].fallback_model_providers or ())
        if ours[their] == name:
            made[name] = Section(models=tuple(_models(theirs[their], day)), fallback=fallback)
        else:
            made[name] = Section(fallback=(ours[their], *fallback))
    made["huggingface"] = Section(models=tuple(_routed(theirs.values(), day)))
    return dict(sorted(made.items()))


def _models(provider: types.Provider, day: date) -> Iterator[Model]:
    names: dict[str, list[str]] = {}
    for name in sorted({name for model in provider.models for name in exact(model.match)}):
        # The first that matches has the name, whoever else lists it.
        owner = next(model for model in provider.models if model.is_match(name))
        names.setdefault(owner.id, []).append(name)
    for model in provider.models:
        match = (*names.get(model.id, ()), *dict.fromkeys(patterns(model.match)))
        priced = _priced(provider, model, day)
        if priced is not None and match:
            yield msgspec.structs.replace(priced, match=() if match == (model.id.lower(),) else match)


def _routed(providers: Iterable[types.Provider], day: date) -> Iterator[Model]:
    """Hugging Face's router: ``model:provider`` says who serves it, and each has its price."""
    for provider in providers:
        if not provider.id.startswith(HUGGINGFACE):
            continue
        suffix = ":" + provider.id.removeprefix(HUGGINGFACE)
        for model in _models(provider, day):
            names = tuple(name + suffix for name in model.match or (model.id,))
            match = () if names == (model.id + suffix,) else names
            yield msgspec.structs.replace(model, id=model.id + suffix, match=match)


def _priced(provider: types.Provider, model: types.ModelInfo, day: date) -> Model | None:
    quiet, *loud = _moments(model)
    now = _period(provider, model, day, quiet)
    if now is None:
        return None
    periods = [_period(provider, model, day, moment) for moment in loud]
    last = now
    for start in _starts(model, day):
        then = _period(provider, model, start, quiet)
        if then is None or (then.price, then.tiers) == (last.price, last.tiers):
            continue
        last = then
        for moment in (quiet, *loud):
            period = _period(provider, model, start, moment)
            periods.append(None if period is None else msgspec.structs.replace(period, start=start))
    return Model(
        id=model.id,
        price=now.price,
        tiers=now.tiers,
        periods=tuple(period for period in periods if period is not None),
    )


def _period(provider: types.Provider, model: types.ModelInfo, day: date, moment: Moment) -> Period | None:
    at, daily = moment
    price = _price(provider, model, day, at)
    if price is None:
        return None
    tiers = {}
    for tier, context in (TIERS | FAST.get(provider.id, {})).items():
        special = _price(provider, model, day, at, context)
        if special is not None and special != price:
            tiers[tier] = special
    return Period(daily=daily, price=price, tiers=tiers)


def constraints(model: types.ModelInfo) -> Iterator[types.StartDateConstraint | types.TimeOfDateConstraint]:
    conditional = model.prices if isinstance(model.prices, list) else []
    for priced in (*conditional, *(model.price_variants or ())):
        if priced.constraint is not None:
            yield priced.constraint


def _starts(model: types.ModelInfo, day: date) -> list[date]:
    starts = (c.start_date for c in constraints(model) if isinstance(c, types.StartDateConstraint))
    return sorted({start for start in starts if start > day})


def _moments(model: types.ModelInfo) -> list[Moment]:
    """A moment outside of every daily period, then one in each with the period."""
    daily = [
        (c.start_time.replace(tzinfo=None), c.end_time.replace(tzinfo=None))
        for c in constraints(model)
        if isinstance(c, types.TimeOfDateConstraint)
    ]
    minutes = [(datetime.min + timedelta(minutes=minute)).time() for minute in range(0, 24 * 60, 15)]
    inside = [any(start <= minute < end for start, end in daily) for minute in minutes]
    if not all(start < end for start, end in daily):
        raise NotImplementedError(f"{model.id}: a daily period over midnight")
    return [(minutes[inside.index(False)], None), *((start, (start, end)) for start, end in daily)]


def _price(
    provider: types.Provider,
    model: types.ModelInfo,
    day: date,
    moment: time,
    context: dict[str, str] | None = None,
) -> Price | None:
    """None: it is paid by what no usage tells."""
    prices = vars(model.get_prices(datetime.combine(day, moment, UTC), context))
    prices = {key: price for key, price in prices.items() if price is not None}
    if not prices:
        return Price(input=0, output=0)
    rates = _rates(prices, 0)
    if LEAST_SECONDS.get((provider.id, model.id)):
        rates["audio_least_seconds"] = LEAST_SECONDS[provider.id, model.id]
    if not rates.keys() & {"input", "output", "audio_hour", "request"}:
        return None
    starts = {
        tier.start
        for price in prices.values()
        if isinstance(price, types.TieredPrices)
        for tier in price.tiers
    }
    above = tuple(Above(input_tokens=start, **_rates(prices, start + 1)) for start in sorted(starts))
    return Price(above=above, **rates)


def _rates(prices: dict[str, Decimal | types.TieredPrices], input_tokens: int) -> dict[str, int]:
    rates = {}
    for ours, (theirs, factor) in RATES.items():
        price = prices.get(theirs)
        if isinstance(price, types.TieredPrices):
            held = [tier.price for tier in price.tiers if input_tokens > tier.start]
            price = held[-1] if held else price.base
        if price is not None:
            rates[ours] = int((price * factor).to_integral_value(ROUND_HALF_EVEN))
    return rates


def exact(match: types.MatchLogic) -> Iterator[str]:
    if isinstance(match, types.ClauseEquals):
        yield match.equals.lower()
    elif isinstance(match, types.ClauseOr):
        for clause in match.or_:
            yield from exact(clause)


def patterns(match: types.MatchLogic) -> Iterator[str]:
    match match:
        case types.ClauseEquals():
            pass
        case types.ClauseOr(clauses):
            for clause in clauses:
                yield from patterns(clause)
        case types.ClauseRegex(expression):
            yield f"/{expression}/"
        case types.ClauseAnd([types.ClauseStartsWith(text), types.ClauseRegex(expression)]):
            if not expression.startswith("^"):
                raise NotImplementedError(f"an expression without a beginning: {expression}")
            yield f"/^(?={re.escape(text.lower())}){expression[1:]}/"
        case _:
            yield _glob(match)


def _glob(match: types.MatchLogic) -> str:
    match match:
        case types.ClauseStartsWith(text):
            return f"{text.lower()}*"
        case types.ClauseEndsWith(text):
            return f"*{text.lower()}"
        case types.ClauseContains(text):
            return f"*{text.lower()}*"
    raise NotImplementedError(f"a form that the table has no pattern for: {match}")


def write(day: date, path: Path) -> None:
    """The table as JSON, a model a line, so that a change can be read in a diff."""
    path.write_text(text(day))


def text(day: date) -> str:
    """What ``write`` writes."""
    version = importlib.metadata.version("genai-prices")
    lines = [
        "{",
        f'"source": "the package genai-prices {version} (MIT licence), read by tools/prices.py",',
        f'"date": "{day}",',
        '"providers": {',
    ]
    ends = [
        f'"{name}": {{"fallback": {_json(section.fallback)}, "models": [\n'
        + ",\n".join(_json(model) for model in section.models)
        + "\n]}"
        for name, section in sections(day).items()
    ]
    return "\n".join(lines) + "\n" + ",\n".join(ends) + "\n}}\n"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def main() -> None:
    """``make prices``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", type=date.fromisoformat, default=datetime.now(UTC).date())
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    write(options.date, options.output)


if __name__ == "__main__":
    main()
