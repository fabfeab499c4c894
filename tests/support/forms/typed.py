"""JSON held against the types in which a provider's own SDK writes its API down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Required, Union, get_args, get_origin

from typing_extensions import get_type_hints, is_typeddict

_LISTS = ("list", "Iterable", "SequenceNotStr", "Sequence")
_PLAIN: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    NoneType: (NoneType,),
}


def problems(value: object, form: Any, at: str = "body", more: Mapping[str, Any] | None = None) -> list[str]:
    """What is wrong with ``value``, each with its place; empty if it has the form.

    Members that a TypedDict does not name are wrong, as they are to a strict API.

    :param form: a TypedDict, or any annotation that is made of them.
    :param more: members that the outermost TypedDict has besides.
    """
    return list(_wrong(value, form, at, more or {}))


def _wrong(value: object, form: Any, at: str, more: Mapping[str, Any]) -> Iterator[str]:
    form = _bare(form)
    origin = get_origin(form)
    if is_typeddict(form):
        yield from _members(value, form, at, more)
    elif origin in (Union, UnionType):
        yield from _nearest(value, get_args(form), at, more)
    elif origin is Literal:
        yield from _choice(value, get_args(form), at)
    elif getattr(origin, "__name__", "") in _LISTS:
        yield from _items(value, get_args(form)[0], at)
    elif origin is dict:
        yield from _values(value, get_args(form)[1], at)
    elif form is not Any and form is not object:
        yield from _plain(value, form, at)


def _choice(value: object, values: tuple[object, ...], at: str) -> Iterator[str]:
    if value not in values:
        yield f"{at}: {value!r} is none of {values}"


def _plain(value: object, form: Any, at: str) -> Iterator[str]:
    kinds = _PLAIN.get(form, ())
    # A form that is left over is an object of the SDK, which it accepts, and sends as one of the others.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{at}: {getattr(form, '__name__', form)} was expected"


def _items(value: object, form: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at}: an array was expected"
        return
    for place, one in enumerate(value):
        yield from _wrong(one, form, f"{at}[{place}]", {})


def _values(value: object, form: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: an object was expected"
        return
    for name, one in value.items():
        yield from _wrong(one, form, f"{at}.{name}", {})


def _members(value: object, form: Any, at: str, more: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: an object was expected"
        return
    hints = {**_hints(form), **more}
    for name, hint in hints.items():
        wanted = get_origin(hint) is Required
        if name in value:
            yield from _wrong(value[name], get_args(hint)[0] if wanted else hint, f"{at}.{name}", {})
        elif wanted:
            yield f"{at}.{name} is missing"
    for name in value.keys() - hints.keys():
        yield f"{at}.{name} is not known"


def _nearest(value: object, forms: tuple[Any, ...], at: str, more: Mapping[str, Any]) -> Iterator[str]:
    """Nothing if one of the forms fits; else what is wrong with the one that fits best."""
    found = [list(_wrong(value, form, at, more)) for form in forms]
    # A wrong `role` or `type` says that another form was meant.
    yield from min(found, key=lambda wrong: (sum("is none of" in one for one in wrong), len(wrong)))


@cache
def _hints(form: Any) -> dict[str, Any]:
    return {name: _bare(hint) for name, hint in get_type_hints(form, include_extras=True).items()}


def _bare(hint: Any) -> Any:
    """Without ``Annotated``, but with ``Required``."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    return hint
