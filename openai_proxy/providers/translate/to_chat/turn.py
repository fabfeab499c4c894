"""OpenAI's messages out of Anthropic's system prompt and messages."""

from __future__ import annotations

from typing import Final

from openai_proxy.providers.translate.dropped import Dropped
from openai_proxy.providers.translate.member import Json, as_list, as_name, as_object, json_text
from openai_proxy.providers.translate.to_chat.part import content_blocks, joined_text, part, text_of
from openai_proxy.providers.translate.tool_id import chat_tool_id
from openai_proxy.providers.translate.traits import ChatTraits
from openai_proxy.providers.translate.untranslatable import Untranslatable

NO_RESULT: Final = "Error: no result was given for this call."

_BILLING: Final = "x-anthropic-billing-header"
"""A line for Anthropic's books that differs with each request: no prefix would ever be cached."""
_SERVERS: Final = ("server_tool_use", "mcp_tool_use")


def turns(body: Json, traits: ChatTraits, dropped: Dropped) -> list[Json]:
    """Raises :class:`Untranslatable`."""
    made = _system(body.get("system"), dropped)
    walk = _Walk(made, traits, dropped)
    listed = as_list(body.get("messages"), "messages")
    for place, one in enumerate(listed):
        param = f"messages[{place}]"
        walk.take(as_object(one, param), param)
    walk.close_calls()
    if not any(message["role"] != "system" for message in made):
        raise Untranslatable("Invalid 'messages': there is no content in it.", "messages")
    return made


def _system(system: object, dropped: Dropped) -> list[Json]:
    kept = []
    for place, block in enumerate(content_blocks(system, "system")):
        text = text_of(block, f"system[{place}]")
        if text.startswith(_BILLING):
            dropped.add("billing_header")
        elif text:
            kept.append(text)
    return [{"role": "system", "content": "\n\n".join(kept)}] if kept else []


class _Walk:
    """The messages so far, and the calls whose results are still to come.

    A result is a message of its own, directly after its call: what else a client says before is
    held back until all are there.
    """

    def __init__(self, made: list[Json], traits: ChatTraits, dropped: Dropped) -> None:
        self._made = made
        self._traits = traits
        self._dropped = dropped
        self._results: dict[str, str | None] = {}
        """By the id of a call, as we give it."""
        self._shown: list[Json] = []
        """Parts of results that are no text: OpenAI takes them from users only."""
        self._held: list[Json] = []

    def take(self, message: Json, param: str) -> None:
        role = message.get("role")
        content = f"{param}.content"
        if role == "assistant":
            self.close_calls()
            self._assistant(content_blocks(message.get("content"), content), content)
        elif role == "user":
            self._user(content_blocks(message.get("content"), content), content)
        elif role == "system":
            # In its place: at the front it would change the cached prefix with every turn.
            text = joined_text(message.get("content"), content)
            if text:
                self._add({"role": "system", "content": text})
        else:
            raise Untranslatable(f"Invalid '{param}.role': no such role is known.", f"{param}.role")

    def _add(self, message: Json) -> None:
        (self._held if self._results else self._made).append(message)

    def _user(self, blocks: list[Json], param: str) -> None:
        parts: list[Json] = []
        for place, block in enumerate(blocks):
            at = f"{param}[{place}]"
            if block.get("type") == "tool_result":
                self._result(block, at)
            else:
                parts += part(block, at, self._dropped)
        if parts:
            self._add({"role": "user", "content": _content(parts)})

    def _result(self, block: Json, param: str) -> None:
        id_ = self._id(block.get("tool_use_id"), f"{param}.tool_use_id")
        if id_ not in self._results:
            at = f"{param}.tool_use_id"
            raise Untranslatable(f"Invalid '{at}': the message before it made no such call.", at)
        texts = []
        for place, inner in enumerate(content_blocks(block.get("content"), f"{param}.content")):
            for made in part(inner, f"{param}.content[{place}]", self._dropped):
                if made["type"] == "text":
                    texts.append(made["text"])
                else:
                    self._shown.append(made)
        said = "\n".join(texts)
        # OpenAI has no flag for it.
        self._results[id_] = f"Error: {said}" if block.get("is_error") is True else said

    def close_calls(self) -> None:
        """No more results will come for the last calls: give the results, then what was held."""
        for id_, said in self._results.items():
            content = NO_RESULT if said is None else said
            self._made.append({"role": "tool", "tool_call_id": id_, "content": content})
        self._results = {}
        shown, self._shown = self._shown, []
        held, self._held = self._held, []
        if shown:
            self._made.append({"role": "user", "content": shown})
        self._made += held

    def _assistant(self, blocks: list[Json], param: str) -> None:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[Json] = []
        for place, block in enumerate(blocks):
            at = f"{param}[{place}]"
            kind = block.get("type")
            if kind == "text":
                texts.append(text_of(block, at))
            elif kind == "tool_use":
                calls.append(self._call(block, at))
            elif kind == "thinking" or kind == "redacted_thinking":
                thoughts.append(self._thought(block))
            elif isinstance(kind, str) and (kind in _SERVERS or kind.endswith("_tool_result")):
                self._dropped.add("server_tool_block")
            else:
                raise Untranslatable(f"Invalid '{at}.type': the model takes no such content.", f"{at}.type")
        self._say("".join(texts), "".join(thoughts), calls)

    def _say(self, text: str, thought: str, calls: list[Json]) -> None:
        if not text and not calls:
            return
        message: Json = {"role": "assistant", "content": text or None}
        if thought:
            message["reasoning_content"] = thought
        if calls:
            message["tool_calls"] = calls
        self._made.append(message)
        self._results = {call["id"]: None for call in calls}

    def _thought(self, block: Json) -> str:
        thinking = block.get("thinking")
        if self._traits.returns_reasoning and isinstance(thinking, str):
            return thinking
        self._dropped.add("thinking_block")
        return ""

    def _call(self, block: Json, param: str) -> Json:
        input_ = block.get("input")
        arguments = json_text({} if input_ is None else as_object(input_, f"{param}.input"))
        function = {"name": as_name(block.get("name"), f"{param}.name"), "arguments": arguments}
        return {"id": self._id(block.get("id"), f"{param}.id"), "type": "function", "function": function}

    def _id(self, id_: object, param: str) -> str:
        return chat_tool_id(as_name(id_, param), self._traits.max_tool_id_chars)


def _content(parts: list[Json]) -> str | list[Json]:
    """One text is sent as such: not all servers take parts."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts
