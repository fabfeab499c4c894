"""Anthropic's tools and choice of a tool out of OpenAI's."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from openai_proxy.providers.translate.dropped import Dropped
from openai_proxy.providers.translate.member import Json, as_list, as_name, as_object, as_text, optional_list
from openai_proxy.providers.translate.to_messages.block import cache_control_of
from openai_proxy.providers.translate.untranslatable import Untranslatable

_NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}}
_ANTHROPIC_TOOL: Final = re.compile(r"[a-z_]+_\d{8}")
_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any"}


class Tools(Struct):
    """What ``tools`` makes; both absent where there are no tools."""

    tools: list[Json]
    choice: Json | None


def tools(body: Json, called: list[str], may_force: bool, dropped: Dropped) -> Tools:
    """Raises :class:`Untranslatable`.

    :param called: the tools that earlier messages called: they must be declared.
    :param may_force: whether the model may be made to call one; not while it thinks to a budget.
    """
    made = [_tool(one, f"tools[{place}]") for place, one in enumerate(optional_list(body, "tools"))]
    asked = body.get("tool_choice")
    choice = _choice(asked)
    if isinstance(asked, dict) and asked.get("type") == "allowed_tools":
        allowed = _allowed(asked)
        made = [tool for tool in made if tool["name"] in allowed]
    if not made:
        if asked not in (None, "auto", "none"):
            dropped.add("tool_choice")
        if not called:
            return Tools([], None)
        return Tools([{"name": name, "input_schema": _NO_PARAMETERS} for name in called], {"type": "none"})
    if choice is not None and choice["type"] in ("any", "tool") and not may_force:
        dropped.add("tool_choice")
        choice = {"type": "auto"}
    if body.get("parallel_tool_calls") is False:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    return Tools(made, choice)


def _tool(listed: object, param: str) -> Json:
    tool = as_object(listed, param)
    kind = tool.get("type")
    if isinstance(kind, str) and _ANTHROPIC_TOOL.fullmatch(kind):
        # One of Anthropic's own, which only a client that knows it sends.
        as_name(tool.get("name"), f"{param}.name")
        return dict(tool)
    if kind != "function":
        raise Untranslatable(f"Invalid '{param}.type': the model takes functions only.", f"{param}.type")
    at = f"{param}.function"
    function = as_object(tool.get("function"), at)
    made: Json = {"name": as_name(function.get("name"), f"{at}.name")}
    if function.get("description"):
        made["description"] = as_text(function["description"], f"{at}.description")
    made["input_schema"] = _schema(function.get("parameters"), f"{at}.parameters")
    if function.get("strict") is True:
        made["strict"] = True
    control = cache_control_of(tool, param) or cache_control_of(function, at)
    if control is not None:
        made["cache_control"] = control
    return made


def _schema(parameters: object, param: str) -> Json:
    """The whole of it: a part that is left out is a promise that is broken."""
    schema = {} if parameters is None else as_object(parameters, param)
    if not schema:
        return dict(_NO_PARAMETERS)
    return schema if "type" in schema else {"type": "object"} | schema


def _choice(asked: object) -> Json | None:
    if asked is None:
        return None
    if isinstance(asked, str):
        if asked not in _CHOICES:
            raise Untranslatable("Invalid 'tool_choice': expected auto, none or required.", "tool_choice")
        return {"type": _CHOICES[asked]}
    choice = as_object(asked, "tool_choice")
    if choice.get("type") == "function":
        function = as_object(choice.get("function"), "tool_choice.function")
        return {"type": "tool", "name": as_name(function.get("name"), "tool_choice.function.name")}
    if choice.get("type") == "allowed_tools":
        mode = as_object(choice.get("allowed_tools"), "tool_choice.allowed_tools").get("mode")
        return {"type": "any" if mode == "required" else "auto"}
    raise Untranslatable("Invalid 'tool_choice': only a function can be chosen.", "tool_choice")


def _allowed(choice: Json) -> set[str]:
    param = "tool_choice.allowed_tools.tools"
    listed = as_list(choice["allowed_tools"].get("tools"), param)
    names = set()
    for place, one in enumerate(listed):
        function = as_object(
            as_object(one, f"{param}[{place}]").get("function"), f"{param}[{place}].function"
        )
        names.add(as_name(function.get("name"), f"{param}[{place}].function.name"))
    return names
