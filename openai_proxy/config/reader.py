"""From nodes to frozen structs by their annotations: every problem is told, each with its place."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from openai_proxy.config.document import is_null, line_of
from openai_proxy.config.problems import Place, Problem, did_you_mean
from openai_proxy.config.secret import Secret
from openai_proxy.config.section import Section

BAD: Final = object()
"""In place of a value that could not be made; what is wrong with it is told."""
WANTED: Final = object()
"""The default of a field that has none."""


class Field(NamedTuple):
    """One key of a section."""

    name: str
    """In the class."""
    key: str
    """In the file."""
    type: Any
    """As it is annotated, with its bounds."""
    default: Any
    """``WANTED`` if it must be given."""


@cache
def fields_of(section: type) -> tuple[Field, ...]:
    """The keys of a section, which is a struct of msgspec or a dataclass, in their order."""
    hints = get_type_hints(section, include_extras=True)
    if dataclasses.is_dataclass(section):
        return tuple(
            Field(one.name, one.name, hints[one.name], _default(one, dataclasses.MISSING))
            for one in dataclasses.fields(section)
        )
    return tuple(
        Field(one.name, one.encode_name, hints[one.name], _default(one, msgspec.NODEFAULT))
        for one in msgspec.structs.fields(section)
    )


def is_section(kind: Any) -> bool:
    """Whether a type is a mapping with keys of its own."""
    return isinstance(kind, type) and (issubclass(kind, Section) or dataclasses.is_dataclass(kind))


def plain(annotation: Any) -> Any:
    """A type without its bounds, and without the None that an optional one may be."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        (some,) = (one for one in get_args(annotation) if one is not type(None))
        return plain(some)
    return annotation


def wanted(annotation: Any) -> str:
    """What a value has to be, in words."""
    kind = plain(annotation)
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list (of {wanted(get_args(kind)[0])})"
    if get_origin(kind) is dict or is_section(kind):
        return "a mapping of keys to values"
    words = _WORDS[kind]
    return " ".join([words, *_bounds(annotation)])


class Reader:
    """Makes values of nodes. One reader reads one file."""

    def __init__(self, problems: list[Problem], secret: Callable[[str], Secret]) -> None:
        """``secret`` reads a reference, or raises ValueError."""
        self._problems = problems
        self._secret = secret
        self.lines: dict[Place, int | None] = {}
        """Every place that was given, and its line."""

    def tell(self, place: Place, message: str) -> None:
        """Something is wrong at a place."""
        self._problems.append(self.problem(place, message))

    def problem(self, place: Place, message: str) -> Problem:
        """In the line of its place, or of the nearest above it that was given; the whole file has none."""
        near = place
        while near and near not in self.lines:
            near = near[:-1]
        return Problem(place, self.lines[near] if near else None, message)

    def is_clean(self, place: Place) -> bool:
        """Whether nothing is wrong at a place and below it, as far as it is known."""
        return not any(problem.place[: len(place)] == place for problem in self._problems)

    def keys_at(self, place: Place) -> tuple[str, ...]:
        """The keys that were given there, whatever became of their values."""
        below = (here for here in self.lines if len(here) == len(place) + 1 and here[:-1] == place)
        return tuple(str(here[-1]) for here in below)

    def read(self, node: Node, annotation: Any, place: Place = (), base: Any = None) -> Any:
        """The value of a node, or ``BAD``. ``base``: a section whose fields stand where none are given."""
        self.lines.setdefault(place, line_of(node))
        kind = plain(annotation)
        if is_null(node) and (_may_be_none(annotation) or is_section(kind)):
            return None if _may_be_none(annotation) else self._section(_EMPTY, kind, place, base)
        if is_section(kind):
            return self._section(node, kind, place, base)
        if get_origin(kind) is tuple:
            return self._tuple(node, annotation, get_args(kind)[0], place)
        if get_origin(kind) is dict:
            key, value = get_args(kind)
            return self._dict(node, key, value, place)
        return self._scalar(node, annotation, kind, place)

    def _section(self, node: Node, kind: type, place: Place, base: Any) -> Any:
        if not isinstance(node, MappingNode):
            self.tell(place, f"{wanted(kind)} is wanted")
            return BAD
        known = {field.key: field for field in fields_of(kind)}
        given = self._known_keys(node, known, place)
        values: dict[str, Any] = {}
        whole = True
        for key, field in known.items():
            inherited = getattr(base, field.name) if base is not None else field.default
            value = inherited
            if key in given:
                value = self.read(given[key], field.type, (*place, key), inherited if base else None)
            elif value is WANTED:
                self.tell((*place, key), "is wanted")
            if value is BAD or value is WANTED:
                whole, value = False, inherited
            values[field.name] = value
        return self._made(kind, values, place, whole)

    def _known_keys(self, node: MappingNode, known: Iterable[str], place: Place) -> dict[str, Node]:
        given: dict[str, Node] = {}
        for key, value in _pairs(node):
            self.lines.setdefault((*place, key.value), line_of(key))
            if key.value in known:
                given.setdefault(key.value, value)
                continue
            self.tell((*place, key.value), f"there is no such key{did_you_mean(key.value, known)}")
        return given

    def _made(self, kind: type, values: dict[str, Any], place: Place, whole: bool) -> Any:
        if any(value is WANTED for value in values.values()):
            return BAD
        made = kind(**values)
        # Of a section with a wrong value, what its values are together is not known.
        if whole and isinstance(made, Section):
            for key, message in made.rules():
                self.tell((*place, key) if key else place, message)
        return made

    def _tuple(self, node: Node, annotation: Any, item: Any, place: Place) -> Any:
        if not isinstance(node, SequenceNode):
            self.tell(place, f"{wanted(annotation)} is wanted")
            return BAD
        made = [self.read(value, item, (*place, number)) for number, value in enumerate(node.value)]
        values = tuple(value for value in made if value is not BAD)
        if len(made) < _least_length(annotation):
            self.tell(place, "at least one is wanted")
            return BAD
        return values

    def _dict(self, node: Node, key_type: Any, value_type: Any, place: Place) -> Any:
        if not isinstance(node, MappingNode):
            self.tell(place, f"{wanted(dict[str, str])} is wanted")
            return BAD
        made: dict[str, Any] = {}
        for key, value in _pairs(node):
            here = (*place, key.value)
            if key.value in made:
                continue
            self.lines.setdefault(here, line_of(key))
            if not _fits(key.value, key_type):
                self.tell(here, f"not a name for this: {wanted(key_type)} is wanted")
            base = self.base_of(here, value)
            made[key.value] = self.read(value, value_type, here, base)
        return {key: value for key, value in made.items() if value is not BAD}

    def base_of(self, place: Place, node: Node) -> Any:
        """What an entry of a mapping is laid over: nothing, unless a subclass knows better."""
        return None

    def _scalar(self, node: Node, annotation: Any, kind: Any, place: Place) -> Any:
        if not isinstance(node, ScalarNode) or is_null(node):
            self.tell(place, f"{wanted(annotation)} is wanted")
            return BAD
        if kind is Secret:
            return self._read_secret(node, place)
        try:
            value = _READ[str if get_origin(kind) is Literal else kind](node)
        except ValueError:
            self.tell(place, f"{wanted(annotation)} is wanted")
            return BAD
        if _fits(value, annotation):
            return value
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        self.tell(place, f"{wanted(annotation)} is wanted{did_you_mean(str(value), choices)}")
        return BAD

    def _read_secret(self, node: ScalarNode, place: Place) -> Secret:
        try:
            return self._secret(node.value)
        except ValueError as error:
            self.tell(place, str(error))
            # There is one, whatever it is: what else is wrong can be told.
            return Secret("", "unread")


_AS_GOOD_AS_NONE: Final = 1 << 53
_EMPTY: Final = MappingNode("tag:yaml.org,2002:map", [])


def _default(field: Any, missing: object) -> Any:
    if field.default is not missing:
        return field.default
    return field.default_factory() if field.default_factory is not missing else WANTED


def _may_be_none(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _may_be_none(get_args(annotation)[0])
    return type(None) in get_args(annotation)


def _metas(annotation: Any) -> list[Meta]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [meta for one in get_args(annotation) for meta in _metas(one)]
    if get_origin(annotation) is not Annotated:
        return []
    inner, *extras = get_args(annotation)
    return [*_metas(inner), *(one for one in extras if isinstance(one, Meta))]


def _bounds(annotation: Any) -> Iterable[str]:
    for meta in _metas(annotation):
        if meta.gt is not None:
            yield f"above {meta.gt}"
        if meta.ge is not None:
            yield f"of at least {meta.ge}"
        if meta.lt is not None:
            yield f"and below {meta.lt}"
        if meta.le is not None and meta.le < _AS_GOOD_AS_NONE:
            yield f"{'and ' if meta.gt is not None or meta.ge is not None else ''}not above {meta.le}"
        if meta.description:
            yield f"({meta.description})"


def _least_length(annotation: Any) -> int:
    return max((meta.min_length or 0 for meta in _metas(annotation)), default=0)


def _fits(value: Any, annotation: Any) -> bool:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        return False
    return True


def _pairs(node: MappingNode) -> Iterable[tuple[ScalarNode, Node]]:
    return ((key, value) for key, value in node.value if isinstance(key, ScalarNode))


def _read_bool(node: ScalarNode) -> bool:
    # YAML 1.1 would take yes, no, on and off as well: as a name, `no` is Norway.
    if node.style is not None or node.value not in ("true", "false"):
        raise ValueError
    return bool(node.value == "true")


def _read_int(node: ScalarNode) -> int:
    # YAML 1.1 reads 010 as 8, and 1:30 as 90.
    digits = node.value.replace("_", "").removeprefix("-")
    if node.style is not None or not (digits.isascii() and digits.isdecimal()) or digits != str(int(digits)):
        raise ValueError
    return int(node.value.replace("_", ""))


def _read_float(node: ScalarNode) -> float:
    if node.style is not None:
        raise ValueError
    number = float(node.value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _read_text(node: ScalarNode) -> str:
    # As it is written: 2024-10-21 is no date here, and 1.10 is not 1.1.
    return str(node.value)


_READ: Final[Mapping[Any, Callable[[ScalarNode], Any]]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_text,
}
_WORDS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Secret: "a reference to a secret",
}
