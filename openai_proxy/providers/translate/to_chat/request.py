"""A chat completion's request out of a Messages request."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from msgspec import Struct

from openai_proxy.providers.translate.dropped import Dropped
from openai_proxy.providers.translate.member import (
    Json,
    as_count,
    as_name,
    as_object,
    as_text,
    optional_list,
    wrong_type,
)
from openai_proxy.providers.translate.to_chat.tool import tools
from openai_proxy.providers.translate.to_chat.turn import turns
from openai_proxy.providers.translate.traits import ChatTraits
from openai_proxy.providers.translate.untranslatable import Untranslatable, too_deep

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Least first."""

_BUDGETS: Final = ((4096, "low"), (16384, "medium"))
_TIERS: Final = {"auto": "auto", "standard_only": "default"}
_READ: Final = frozenset(
    {
        *("model", "messages", "system", "max_tokens", "stop_sequences", "stream", "temperature", "top_p"),
        *("top_k", "tools", "tool_choice", "thinking", "output_config", "metadata", "service_tier"),
        # A server of OpenAI's dialect finds what it may cache by itself.
        "cache_control",
    }
)


class CompletionRequest(Struct, frozen=True):
    """What ``completion_request`` makes."""

    body: Json
    dropped: tuple[str, ...] = ()
    """What the client asked for and the model is not asked (``dropped.NAMES``)."""


def completion_request(body: Json, traits: ChatTraits) -> CompletionRequest:
    """Raises :class:`Untranslatable`. ``body`` is not changed, but parts of it are in what is made."""
    try:
        return _translated(body, traits)
    except RecursionError:
        raise too_deep() from None


def _translated(body: Json, traits: ChatTraits) -> CompletionRequest:
    dropped = Dropped()
    made: Json = {"model": as_name(body.get("model"), "model")}
    made["messages"] = turns(body, traits, dropped)
    if body.get("max_tokens") is None:
        raise Untranslatable("Missing required parameter: 'max_tokens'.", "max_tokens")
    made[traits.max_tokens_name] = as_count(body["max_tokens"], "max_tokens")
    made |= tools(body, dropped)
    _sample(made, body, traits, dropped)
    _stop(made, body, traits, dropped)
    _think(made, body, traits, dropped)
    _format(made, body)
    _rest(made, body, traits, dropped)
    for name, value in body.items():
        if name not in _READ and value:
            dropped.add(name)
    return CompletionRequest(made, dropped.names())


def _sample(made: Json, body: Json, traits: ChatTraits, dropped: Dropped) -> None:
    for name, takes in (
        ("temperature", traits.takes_sampling),
        ("top_p", traits.takes_sampling),
        ("top_k", traits.takes_top_k),
    ):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, "a decimal number", name)
        if takes:
            made[name] = value
        else:
            dropped.add(name)


def _stop(made: Json, body: Json, traits: ChatTraits, dropped: Dropped) -> None:
    stops = [as_text(one, "stop_sequences") for one in optional_list(body, "stop_sequences")]
    if len(stops) > traits.max_stops:
        dropped.add("stop")
    if stops[: traits.max_stops]:
        made["stop"] = stops[: traits.max_stops]


def _think(made: Json, body: Json, traits: ChatTraits, dropped: Dropped) -> None:
    """The effort that is asked for, or the nearest that the model takes; nothing if none is."""
    thinking = body.get("thinking")
    asked = {} if thinking is None else as_object(thinking, "thinking")
    effort = _config(body).get("effort")
    if asked.get("type") == "disabled":
        effort = "none"
    elif effort is None:
        effort = _by_budget(asked.get("budget_tokens"))
    if effort is None:
        return
    if effort not in EFFORTS:
        raise Untranslatable(
            "Invalid 'output_config.effort': no such effort is known.", "output_config.effort"
        )
    if traits.efforts:
        made["reasoning_effort"] = nearest(effort, traits.efforts)
    elif effort != "none":
        dropped.add("reasoning_effort")


def _by_budget(budget: Any) -> str | None:
    """What a number of tokens comes to; clients may leave it out."""
    if type(budget) is not int:
        return None
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")


def nearest(effort: str, efforts: tuple[str, ...]) -> str:
    """The most of ``efforts`` that is not above ``effort``, or else the least."""
    bound = EFFORTS.index(effort)
    below = [one for one in efforts if EFFORTS.index(one) <= bound]
    return below[-1] if below else efforts[0]


def _config(body: Json) -> Json:
    config = body.get("output_config")
    return {} if config is None else as_object(config, "output_config")


def _format(made: Json, body: Json) -> None:
    asked = _config(body).get("format")
    if asked is None:
        return
    at = "output_config.format"
    if as_object(asked, at).get("type") != "json_schema":
        raise Untranslatable(f"Invalid '{at}.type': no such format is known.", f"{at}.type")
    schema = as_object(asked.get("schema"), f"{at}.schema")
    made["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": is_strict(schema)},
    }


def is_strict(schema: Any) -> bool:
    """Whether OpenAI can hold the answer to it: no object has members that are optional or open."""
    if isinstance(schema, list):
        return all(is_strict(one) for one in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        required = schema.get("required")
        names = set(properties) if isinstance(properties, dict) else set()
        listed = {str(one) for one in required} if isinstance(required, list) else set()
        if schema.get("additionalProperties") is not False or names != listed:
            return False
    return all(is_strict(one) for one in schema.values() if isinstance(one, dict | list))


def _rest(made: Json, body: Json, traits: ChatTraits, dropped: Dropped) -> None:
    metadata = body.get("metadata")
    user = None if metadata is None else as_object(metadata, "metadata").get("user_id")
    if user:
        # Clients put much into it, and more than OpenAI takes: what counts is who is who.
        text = as_text(user, "metadata.user_id")
        made["user"] = blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
    tier = body.get("service_tier")
    if tier is not None:
        if tier in ("auto", "standard_only"):
            made["service_tier"] = _TIERS[tier]
        else:
            dropped.add("service_tier")
    if body.get("stream") is True:
        made["stream"] = True
        if traits.takes_stream_options:
            # Messages clients are told what was used in any case.
            made["stream_options"] = {"include_usage": True}
