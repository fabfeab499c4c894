"""Members of a decoded request, each of the type that it should have, or refused."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from openai_proxy.providers.translate.untranslatable import Untranslatable

Json = dict[str, Any]

_KIND: Final = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def wrong_type(value: object, expected: str, param: str) -> Untranslatable:
    """``expected`` has its article."""
    kind = _KIND.get(type(value), "something else")
    return Untranslatable(f"Invalid type for '{param}': expected {expected}, but got {kind} instead.", param)


def as_object(value: object, param: str) -> Json:
    """Raises :class:`Untranslatable`, as all functions here do."""
    if not isinstance(value, dict):
        raise wrong_type(value, "an object", param)
    return value


def as_list(value: object, param: str) -> list[Any]:
    """An array."""
    if not isinstance(value, list):
        raise wrong_type(value, "an array", param)
    return value


def as_text(value: object, param: str) -> str:
    """A string, which may be empty."""
    if not isinstance(value, str):
        raise wrong_type(value, "a string", param)
    return value


def as_name(value: object, param: str) -> str:
    """A string that is not empty."""
    if not as_text(value, param):
        raise Untranslatable(f"Invalid '{param}': it must not be empty.", param)
    return str(value)


def as_count(value: object, param: str) -> int:
    """An integer above 0."""
    if type(value) is not int:
        raise wrong_type(value, "an integer", param)
    if value < 1:
        message = f"Invalid '{param}': integer below minimum value. Expected a value >= 1."
        raise Untranslatable(message, param)
    return value


def optional_list(body: Json, name: str, at: str = "") -> list[Any]:
    """An array, empty where it is absent or null; ``at`` is the path of ``body``."""
    value = body.get(name)
    return [] if value is None else as_list(value, at + name)


def parsed_object(text: str) -> Json | None:
    """The object that a string of JSON is; None if it is none. Empty or blank: the empty object."""
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_text(value: object) -> str:
    """``value`` as JSON."""
    return msgspec.json.encode(value).decode()
