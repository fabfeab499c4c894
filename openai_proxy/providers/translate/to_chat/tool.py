"""OpenAI's tools and choice of a tool out of Anthropic's."""

from __future__ import annotations

from typing import Final

from openai_proxy.providers.translate.dropped import Dropped
from openai_proxy.providers.translate.member import Json, as_name, as_object, as_text, optional_list
from openai_proxy.providers.translate.untranslatable import Untranslatable

_CHOICES: Final = {"auto": "auto", "none": "none", "any": "required"}


def tools(body: Json, dropped: Dropped) -> Json:
    """``tools``, ``tool_choice`` and ``parallel_tool_calls``, as far as there is something to say.

    Raises :class:`Untranslatable`. Tools that Anthropic runs itself are left out: a turn without a
    search is better than none.
    """
    made = []
    for place, one in enumerate(optional_list(body, "tools")):
        tool = as_object(one, f"tools[{place}]")
        if tool.get("type") in (None, "custom"):
            made.append(_tool(tool, f"tools[{place}]"))
        else:
            dropped.add("server_tool")
    if not made:
        return {}
    said: Json = {"tools": made}
    if body.get("tool_choice") is None:
        return said
    choice = as_object(body["tool_choice"], "tool_choice")
    said["tool_choice"] = _choice(choice, {tool["function"]["name"] for tool in made}, dropped)
    if choice.get("disable_parallel_tool_use") is True:
        said["parallel_tool_calls"] = False
    return said


def _tool(tool: Json, param: str) -> Json:
    function: Json = {"name": as_name(tool.get("name"), f"{param}.name")}
    if tool.get("description"):
        function["description"] = as_text(tool["description"], f"{param}.description")
    function["parameters"] = as_object(tool.get("input_schema"), f"{param}.input_schema")
    if tool.get("strict") is True:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choice(choice: Json, names: set[str], dropped: Dropped) -> str | Json:
    kind = choice.get("type")
    if kind == "tool":
        name = as_name(choice.get("name"), "tool_choice.name")
        if name in names:
            return {"type": "function", "function": {"name": name}}
        dropped.add("tool_choice")
        return "auto"
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise Untranslatable(
            "Invalid 'tool_choice.type': expected auto, any, tool or none.", "tool_choice.type"
        )
    return _CHOICES[kind]
