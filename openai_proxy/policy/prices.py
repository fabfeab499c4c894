"""What a model costs: the package's price table, and an operator's own prices over it.

The table (``prices.json``, made by ``make prices``) and an operator's file have one form::

    {"providers": {"openai": {"models": [
        {"id": "gpt-4o", "match": ["gpt-4o", "gpt-4o-2024-*"],
         "price": {"input": 2500000, "cached_input": 1250000, "output": 10000000},
         "tiers": {"batch": {"input": 1250000, "output": 5000000}}}]}}}

Rates are whole micro-dollars per million tokens (see ``cost.Rates``): 2500000 is $2.50.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from openai_proxy.config.content import content_of
from openai_proxy.policy.cost import Price

TABLE = Path(__file__).with_name("prices.json")
MAX_OWN_BYTES = 16 * 1024 * 1024

_LONGEST_NAME = 256
_REMEMBERED = 1024
_DAY_SECONDS = 86400
_UNIX_EPOCH = date(1970, 1, 1).toordinal()
_COMPACT_DATE = re.compile(r"(-20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")
_SNAPSHOT = re.compile(r"[-@]20\d\d(-?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])$")


class Period(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Prices from a day on, or for some hours of each day, or both. UTC."""

    start: date | None = field(name="from", default=None)
    daily: tuple[time, time] | None = None
    """From the first until before the second; over midnight if the second is the earlier."""
    price: Price
    tiers: dict[str, Price] = {}

    def holds(self, at: float) -> bool:
        """Whether it is on at ``at``, in seconds since 1970."""
        if self.start is not None and at // _DAY_SECONDS < self.start.toordinal() - _UNIX_EPOCH:
            return False
        if self.daily is None:
            return True
        start, end = (part.hour * 3600 + part.minute * 60 + part.second for part in self.daily)
        now = at % _DAY_SECONDS
        return start <= now < end if start <= end else now >= start or now < end


class Model(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One model of one provider: its names and its prices."""

    id: str
    match: tuple[str, ...] = ()
    """Names: exact, with ``*`` for any text, or ``/a regular expression/`` to be found in the name
    in lower case. Exact ones win, then the first. None given: the id alone."""
    price: Price
    tiers: dict[str, Price] = {}
    """By the service tier that the answer names (``flex``, ``priority``, ``fast``, ``batch``): each
    whole, not a difference."""
    periods: tuple[Period, ...] = ()
    """What holds at other times; the last that is on."""

    def at(self, service_tier: str | None, at: float | None) -> Price:
        """The price in a tier (one that has no price of its own is paid as the standard) at a time
        (None: outside of every period).
        """
        where: Model | Period = self
        if at is not None:
            for period in self.periods:
                if period.holds(at):
                    where = period
        if service_tier is None:
            return where.price
        return where.tiers.get(service_tier, where.price)


class Section(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The models of one provider."""

    models: tuple[Model, ...] = ()
    fallback: tuple[str, ...] = ()
    """Whose models are looked at for a name that is none of these (azure sells openai's)."""


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A file of prices. A provider's section is decoded when it is first asked for."""

    source: str = ""
    """Where the facts are from."""
    made: date | None = field(name="date", default=None)
    """When they were taken from there."""
    providers: dict[str, msgspec.Raw]


class PricesError(ValueError):
    """An operator's file of prices that cannot be used: all that is wrong with it, by entry."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        """``problems``: a line each."""
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.problems = problems


class Prices:
    """Looks models up by the name that an answer gives them. It never raises for a name.

    An operator's entry comes before the package's. It stands for its own names, for their dated
    snapshots, and for every name of the package's entry with the same id.
    """

    def __init__(self, table: Table, own: Mapping[str, Section]) -> None:
        """``table`` is the package's; ``own`` is the operator's, by provider."""
        self.table = table
        self._own = {provider: _Index(section) for provider, section in own.items()}
        self._sections: dict[str, _Index] = {}
        self._found: dict[tuple[str, str], Model | None] = {}

    @classmethod
    def load(cls, path: Path | str | None = None) -> "Prices":
        """The package's table, under the operator's file (``.json`` or ``.toml``) if there is one.

        Raises PricesError, which names each wrong entry, and OSError for a file that cannot be read.
        """
        table = msgspec.json.decode(TABLE.read_bytes(), type=Table)
        return cls(table, {} if path is None else read_own(Path(path)))

    def price_of(
        self, provider: str, model: str, service_tier: str | None = None, at: float | None = None
    ) -> Price | None:
        """The price of ``model``, as the answer names it, in the tier that the answer names.

        ``at`` is in seconds since 1970. None for a model or a provider that is not known: which is
        not a price of 0. A tier without a price of its own is paid as the standard one.
        """
        known = self.find(provider, model)
        return None if known is None else known.at(service_tier, at)

    def known_name(self, provider: str, model: str) -> str | None:
        """The ``id`` of the entry that a name stands for, if there is one."""
        known = self.find(provider, model)
        return None if known is None else known.id

    def find(self, provider: str, model: str) -> Model | None:
        """The entry that a name stands for; its ``id`` is one of a bounded set."""
        if len(model) > _LONGEST_NAME:
            return None
        key = (provider, model)
        if key not in self._found:
            # Clients and upstreams choose the names; what is remembered must not grow with them.
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[key] = self._look_up(provider, model.lower())
        return self._found[key]

    def _look_up(self, provider: str, name: str) -> Model | None:
        own = self._own.get(provider)
        spellings = list(_spellings(name))
        if own is not None:
            for spelling in spellings:
                if (model := own.find(spelling)) is not None:
                    return model
        # One step of fallback only: a ring of them would never end.
        sections = (own, self._section(provider))
        sellers = [provider, *(other for section in sections if section for other in section.fallback)]
        for spelling in spellings:
            for seller in sellers:
                if (model := self._sold_by(seller, spelling)) is not None:
                    return model
        return None

    def _sold_by(self, provider: str, name: str) -> Model | None:
        own, ours = self._own.get(provider), self._section(provider)
        if own is not None and (model := own.find(name)) is not None:
            return model
        if ours is None or (model := ours.find(name)) is None:
            return None
        return model if own is None else own.by_id.get(model.id, model)

    def _section(self, provider: str) -> "_Index | None":
        if provider not in self._sections:
            raw = self.table.providers.get(provider)
            if raw is None:
                return None
            self._sections[provider] = _Index(msgspec.json.decode(raw, type=Section))
        return self._sections[provider]


class _Index:
    """The names of one section."""

    def __init__(self, section: Section) -> None:
        self.fallback = section.fallback
        self.by_id = {model.id: model for model in section.models}
        self._exact: dict[str, Model] = {}
        self._patterns: list[tuple[str, Model]] = []
        for model in section.models:
            for name in model.match or (model.id,):
                if _is_expression(name):
                    self._patterns.append((name, model))
                elif "*" in name:
                    self._patterns.append((name.lower(), model))
                else:
                    self._exact.setdefault(name.lower(), model)

    def find(self, name: str) -> Model | None:
        """By its exact name, else by the first pattern."""
        if (model := self._exact.get(name)) is not None:
            return model
        return next((model for pattern, model in self._patterns if _matches(pattern, name)), None)


def _spellings(name: str) -> Iterator[str]:
    """As it stands, with its date written apart, and, as a snapshot of a model, without its date."""
    yield name
    apart = _COMPACT_DATE.sub(r"\1-\2-\3", name)
    if apart != name:
        yield apart
    base = _SNAPSHOT.sub("", name)
    if base != name:
        yield base


def _is_expression(name: str) -> bool:
    return len(name) > 2 and name[0] == name[-1] == "/"


def _matches(pattern: str, name: str) -> bool:
    if _is_expression(pattern):
        return re.search(pattern[1:-1], name) is not None
    head, *middle, tail = pattern.split("*")
    if not name.startswith(head):
        return False
    at = len(head)
    for part in middle:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(name) - len(tail) >= at and name.endswith(tail)


def read_own(path: Path) -> dict[str, Section]:
    """An operator's prices by provider. Raises PricesError with every problem, OSError."""
    content = content_of(path, MAX_OWN_BYTES)
    try:
        decoded = _from_toml(content) if path.suffix == ".toml" else msgspec.json.decode(content)
        tables = msgspec.convert(decoded, type=_OwnTable)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PricesError(path, [str(error)]) from None
    problems: list[str] = []
    sections = {
        provider: Section(models=tuple(_models(provider, own.models, problems)), fallback=own.fallback)
        for provider, own in tables.providers.items()
    }
    if problems:
        raise PricesError(path, problems)
    return sections


def _from_toml(content: bytes) -> Any:
    # Few have such a file, and nothing else in the daemon needs the module.
    import tomllib

    return tomllib.loads(content.decode())


class _OwnSection(Struct, forbid_unknown_fields=True):
    """A section whose models are still to be checked, one by one."""

    models: tuple[dict[str, Any], ...] = ()
    fallback: tuple[str, ...] = ()


class _OwnTable(Struct, forbid_unknown_fields=True):
    providers: dict[str, _OwnSection]
    source: str = ""
    date: Any = None


def _models(provider: str, entries: tuple[dict[str, Any], ...], problems: list[str]) -> Iterator[Model]:
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        place = f"{provider}: model {entry.get('id', number)!r}"
        try:
            model = msgspec.convert(entry, type=Model)
            for name in filter(_is_expression, model.match):
                re.compile(name[1:-1])
        except (msgspec.ValidationError, re.error) as error:
            problems.append(f"{place}: {error}")
            continue
        if model.id in seen:
            problems.append(f"{place}: given twice")
        seen.add(model.id)
        yield model
