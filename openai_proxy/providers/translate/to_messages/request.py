"""A Messages request out of a chat completion's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from openai_proxy.providers.translate.dropped import Dropped
from openai_proxy.providers.translate.member import Json, as_count, as_name, as_object, as_text, wrong_type
from openai_proxy.providers.translate.to_messages.block import text_block
from openai_proxy.providers.translate.to_messages.tool import tools
from openai_proxy.providers.translate.to_messages.turn import Turns, turns
from openai_proxy.providers.translate.traits import MessagesTraits, Sampling, Thinking
from openai_proxy.providers.translate.untranslatable import Untranslatable, too_deep

MAX_BREAKPOINTS: Final = 4
"""The API refuses a request with more ``cache_control``."""
MIN_BUDGET_TOKENS: Final = 1024
ANSWER_TOOL: Final = "answer_in_json"

_BUDGET_TOKENS: Final = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
    "max": 32000,
}
_EFFORTS: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_TIERS: Final = {"auto": "auto", "default": "standard_only"}
_JSON_ONLY: Final = "Answer with one JSON object, and with nothing before or after it."
_PASSED: Final = (
    *("cache_control", "container", "context_management", "diagnostics", "inference_geo", "mcp_servers"),
    "speed",
)
"""Anthropic's own, as a client sends them in ``extra_body``."""
_READ: Final = frozenset(
    {
        *(
            "model",
            "messages",
            "max_tokens",
            "max_completion_tokens",
            "stop",
            "stream",
            "stream_options",
            "n",
        ),
        *("temperature", "top_p", "top_k", "tools", "tool_choice", "parallel_tool_calls", "functions"),
        *("function_call", "response_format", "reasoning_effort", "user", "safety_identifier"),
        *("service_tier", "thinking", "output_config", "anthropic_beta", *_PASSED),
    }
)


class MessagesRequest(Struct, frozen=True):
    """What ``messages_request`` makes."""

    body: Json
    dropped: tuple[str, ...] = ()
    """What the client asked for and the model is not asked (``dropped.NAMES``)."""
    betas: tuple[str, ...] = ()
    """For the header ``anthropic-beta``, or the member ``anthropic_beta`` where bodies carry it."""
    answer_tool: str | None = None
    """A tool of ours: its input is the answer's text."""
    include_usage: bool = False
    """Whether the client wants usage at its stream's end."""


def messages_request(body: Json, traits: MessagesTraits) -> MessagesRequest:
    """Raises :class:`Untranslatable`. ``body`` is not changed, but parts of it are in what is made."""
    try:
        return _translated(body, traits)
    except RecursionError:
        raise too_deep() from None


def _translated(body: Json, traits: MessagesTraits) -> MessagesRequest:
    _refuse(body)
    dropped = Dropped()
    model = as_name(body.get("model"), "model").removeprefix("anthropic/")
    said = turns(body.get("messages"), traits.takes_system_in_place, dropped)
    made: Json = {"model": model, "max_tokens": _max_tokens(body, traits)}
    _think(made, body, traits, said, dropped)
    manual = made.get("thinking", {}).get("type") == "enabled"
    choice = tools(body, said.tool_names, not manual, dropped)
    if choice.tools:
        made["tools"] = choice.tools
    if choice.choice is not None:
        made["tool_choice"] = choice.choice
    answer_tool = _format(made, body, traits, said, manual, dropped)
    if said.system:
        made["system"] = said.system
    made["messages"] = said.messages
    _sample(made, body, Sampling.NONE if manual else traits.sampling, dropped)
    _rest(made, body, dropped)
    _limit_breakpoints(made, dropped)
    for name, value in body.items():
        # Nothing is lost by what is null, off or empty; a seed of 0 is a seed.
        if name not in _READ and value is not None and (value or name == "seed") and value != ["text"]:
            dropped.add(name)
    return MessagesRequest(made, dropped.names(), _betas(body), answer_tool, _include_usage(body))


def _refuse(body: Json) -> None:
    """What the model cannot do, and the client would not do without."""
    count = body.get("n")
    if count is not None and count != 1:
        raise Untranslatable("Invalid 'n': this model gives one choice; send the request n times.", "n")
    for name in ("functions", "function_call"):
        if body.get(name) is not None:
            raise Untranslatable(f"'{name}' is not taken: use 'tools' and 'tool_choice'.", name)


def _max_tokens(body: Json, traits: MessagesTraits) -> int:
    """Required; 0 would mean something else."""
    for name in ("max_completion_tokens", "max_tokens"):
        if body.get(name) is not None:
            return as_count(body[name], name)
    return traits.max_output_tokens


def _think(made: Json, body: Json, traits: MessagesTraits, said: Turns, dropped: Dropped) -> None:
    effort = body.get("reasoning_effort")
    given, config = body.get("thinking"), body.get("output_config")
    if config is not None:
        made["output_config"] = dict(as_object(config, "output_config"))
    if given is not None:
        made["thinking"] = as_object(given, "thinking")
    elif effort is not None:
        _by_effort(made, as_text(effort, "reasoning_effort"), traits, dropped)
    if made.get("thinking", {}).get("type") == "enabled" and said.lacks_thinking:
        # The API wants the thinking before a call back, and refuses the turn without it.
        del made["thinking"]
        dropped.add("reasoning_effort" if given is None else "thinking")


def _by_effort(made: Json, effort: str, traits: MessagesTraits, dropped: Dropped) -> None:
    if effort == "none":
        if traits.thinking is not Thinking.NONE:
            made["thinking"] = {"type": "disabled"}
        return
    if effort not in _EFFORTS:
        raise Untranslatable("Invalid 'reasoning_effort': no such effort is known.", "reasoning_effort")
    if traits.thinking is Thinking.ADAPTIVE:
        made["thinking"] = {"type": "adaptive"}
        made["output_config"] = {"effort": _EFFORTS[effort]} | made.get("output_config", {})
        return
    # Thinking counts against max_tokens, as OpenAI's does: half is left for the answer.
    budget = min(_BUDGET_TOKENS[effort], made["max_tokens"] // 2)
    if traits.thinking is Thinking.NONE or budget < MIN_BUDGET_TOKENS:
        dropped.add("reasoning_effort")
    else:
        made["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _format(
    made: Json, body: Json, traits: MessagesTraits, said: Turns, manual: bool, dropped: Dropped
) -> str | None:
    """Set the answer's form; the name of the tool of ours that gives it, if it needs one."""
    asked = body.get("response_format")
    if asked is None:
        return None
    kind = as_object(asked, "response_format").get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        said.system.append(text_block(_JSON_ONLY))
        return None
    if kind != "json_schema":
        raise Untranslatable(
            "Invalid 'response_format.type': no such format is known.", "response_format.type"
        )
    at = "response_format.json_schema"
    schema = as_object(as_object(asked.get("json_schema"), at).get("schema"), f"{at}.schema")
    if traits.takes_output_format:
        made["output_config"] = made.get("output_config", {}) | {
            "format": {"type": "json_schema", "schema": schema}
        }
        return None
    if made.get("tools") or manual:
        # A tool of ours among the client's could only be forced at the cost of theirs.
        dropped.add("response_format")
        said.system.append(text_block(_JSON_ONLY))
        return None
    description = "Gives the answer. Always call it."
    made["tools"] = [{"name": ANSWER_TOOL, "description": description, "input_schema": schema}]
    made["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}
    return ANSWER_TOOL


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(value, "a decimal number", name)
    return value


def _sample(made: Json, body: Json, sampling: Sampling, dropped: Dropped) -> None:
    left = {Sampling.NONE: 0, Sampling.ONE: 1, Sampling.ALL: 2}[sampling]
    for name in ("temperature", "top_p"):
        if body.get(name) is None:
            continue
        number = _number(body[name], name)
        if left:
            left -= 1
            # OpenAI's temperature goes to 2.
            made[name] = min(number, 1)
        else:
            dropped.add(name)
    if body.get("top_k") is not None:
        if sampling is Sampling.NONE:
            dropped.add("top_k")
        else:
            made["top_k"] = as_count(body["top_k"], "top_k")


def _stops(body: Json, dropped: Dropped) -> list[str]:
    stop = body.get("stop")
    listed = [stop] if isinstance(stop, str) else stop
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise wrong_type(stop, "a string or an array", "stop")
    stops = [as_text(one, "stop") for one in listed]
    kept = [one for one in stops if one.strip()]
    if len(kept) < len(stops):
        # The API refuses sequences of white space.
        dropped.add("stop")
    return kept


def _rest(made: Json, body: Json, dropped: Dropped) -> None:
    stops = _stops(body, dropped)
    if stops:
        made["stop_sequences"] = stops
    user = body.get("safety_identifier") or body.get("user")
    if user:
        made["metadata"] = {"user_id": as_text(user, "user")}
    tier = body.get("service_tier")
    if tier is not None:
        if tier in ("auto", "default"):
            made["service_tier"] = _TIERS[tier]
        else:
            dropped.add("service_tier")
    if body.get("stream") is True:
        made["stream"] = True
    for name in _PASSED:
        if body.get(name) is not None:
            made[name] = body[name]


def _betas(body: Json) -> tuple[str, ...]:
    given = body.get("anthropic_beta")
    if given is None:
        return ()
    listed = given.split(",") if isinstance(given, str) else given
    if not isinstance(listed, list):
        raise wrong_type(given, "an array", "anthropic_beta")
    return tuple(as_text(one, "anthropic_beta").strip() for one in listed)


def _include_usage(body: Json) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _breakpoints(made: Json) -> Iterator[Callable[[], object]]:
    """What takes each breakpoint out, in the order of the prefix."""
    holders: list[Json] = [*made.get("tools", ()), *made.get("system", ())]
    for message in made["messages"]:
        for block in message["content"]:
            inner = block.get("content")
            holders += inner if isinstance(inner, list) else ()
            holders.append(block)
    for holder in holders:
        if "cache_control" in holder:
            yield lambda holder=holder: holder.pop("cache_control")  # type: ignore[misc]


def _limit_breakpoints(made: Json, dropped: Dropped) -> None:
    """The first stays, which other conversations share, and the last ones, which hold most of this one."""
    takers = list(_breakpoints(made))
    surplus = len(takers) + ("cache_control" in made) - MAX_BREAKPOINTS
    if surplus > 0:
        dropped.add("cache_control")
    for take in takers[1 : 1 + max(surplus, 0)]:
        take()
