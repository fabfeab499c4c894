"""Anthropic's system prompt and messages out of OpenAI's messages."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from openai_proxy.providers.translate.dropped import Dropped
from openai_proxy.providers.translate.member import (
    Json,
    as_list,
    as_name,
    as_object,
    as_text,
    optional_list,
    parsed_object,
)
from openai_proxy.providers.translate.to_messages.block import (
    blocks,
    cache_control_of,
    text_block,
    text_blocks,
    thinking_blocks,
)
from openai_proxy.providers.translate.tool_id import message_tool_id
from openai_proxy.providers.translate.untranslatable import Untranslatable

NO_RESULT: Final = "No result was given for this call."

_SYSTEM: Final = ("system", "developer")
_RESULTS: Final = ("tool", "function")


class Turns(Struct):
    """What ``turns`` makes."""

    system: list[Json]
    """Text blocks, one for each of the client's: a cached prefix ends where one of them does."""
    messages: list[Json]
    tool_names: list[str]
    """The tools that were called, each once."""
    lacks_thinking: bool = False
    """The open turn called tools, and its thinking did not come back."""


def turns(listed: object, in_place: bool, dropped: Dropped) -> Turns:
    """Raises :class:`Untranslatable`.

    :param in_place: whether a message may have the role ``system``; else a later one is the user's.
    """
    messages = [as_object(one, f"messages[{place}]") for place, one in enumerate(as_list(listed, "messages"))]
    if not messages:
        raise Untranslatable("Invalid 'messages': it must not be empty.", "messages")
    begin = 0
    system: list[Json] = []
    while begin < len(messages) and messages[begin].get("role") in _SYSTEM:
        system += _said(messages[begin], f"messages[{begin}]", text_only=True)
        begin += 1
    walk = _Walk(in_place, dropped)
    for place in range(begin, len(messages)):
        walk.take(messages[place], f"messages[{place}]", place)
    walk.close_calls()
    if not walk.made:
        # There must be a message, and a client that sent instructions only wants an answer to them.
        if not system:
            raise Untranslatable("Invalid 'messages': there is no content in it.", "messages")
        return Turns([], [{"role": "user", "content": system}], [])
    _trim(walk.made[-1])
    return Turns(system, walk.made, list(walk.tool_names), walk.lacks_thinking)


def _said(message: Json, param: str, text_only: bool = False) -> list[Json]:
    made = blocks(message.get("content"), f"{param}.content", text_only)
    control = cache_control_of(message, param)
    if control is not None and made:
        made[-1] = made[-1] | {"cache_control": control}
    return made


def _trim(last: Json) -> None:
    """An answer begun by the client must not end with white space: the API refuses it."""
    if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
        last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()


class _Walk:
    """The messages so far, and the calls whose results are still to come.

    All results of a turn come first and in one message: between them and their calls nothing else
    may stand, so what does is held back until they are whole.
    """

    def __init__(self, in_place: bool, dropped: Dropped) -> None:
        self.made: list[Json] = []
        self.tool_names: dict[str, None] = {}
        self.lacks_thinking = False
        self._in_place = in_place
        self._dropped = dropped
        self._results: dict[str, Json | None] = {}
        """By the id of a call."""
        self._named: dict[str, str] = {}
        """The id of a legacy call, by its function."""
        self._held: list[Json] = []

    def take(self, message: Json, param: str, place: int) -> None:
        role = message.get("role")
        if message.get("name") is not None and role not in _RESULTS:
            self._dropped.add("message.name")
        if role in _RESULTS:
            self._result(message, param)
        elif role == "assistant":
            self.close_calls()
            self._assistant(message, param, place)
        elif role == "user":
            self._add("user", _said(message, param))
        elif role in _SYSTEM:
            self._system(message, param)
        else:
            raise Untranslatable(f"Invalid '{param}.role': no such role is known.", f"{param}.role")

    def _add(self, role: str, content: list[Json]) -> None:
        if not content:
            return
        if self._results:
            self._held.append({"role": role, "content": content})
        elif role == "user" and self.made and self.made[-1]["role"] == "user":
            # The API takes neighbours as one turn; servers that speak its dialect may refuse them.
            self.made[-1]["content"] += content
        else:
            self.made.append({"role": role, "content": content})

    def _system(self, message: Json, param: str) -> None:
        """In its place: at the front it would change the cached prefix with every turn."""
        said = _said(message, param, text_only=True)
        if not self._in_place:
            for block in said:
                block["text"] = f"<system>\n{block['text']}\n</system>"
        self._add("system" if self._in_place else "user", said)

    def _assistant(self, message: Json, param: str, place: int) -> None:
        if message.get("reasoning_content") is not None and message.get("thinking_blocks") is None:
            # Without its signature it would be refused.
            self._dropped.add("message.reasoning_content")
        if message.get("audio") is not None:
            self._dropped.add("message.audio")
        thinking = thinking_blocks(message, param)
        said = text_blocks(message.get("content"), f"{param}.content")
        refusal = message.get("refusal")
        if refusal:
            said.append(text_block(as_text(refusal, f"{param}.refusal")))
        calls = self._calls(message, param, place)
        content = said + calls
        control = cache_control_of(message, param)
        if control is not None and content:
            content[-1] = content[-1] | {"cache_control": control}
        if content:
            self._add("assistant", thinking + content)
        self.lacks_thinking = bool(calls) and not thinking
        self._results = {call["id"]: None for call in calls}

    def _calls(self, message: Json, param: str, place: int) -> list[Json]:
        self._named = {}
        made = []
        ids = set()
        for number, call in enumerate(optional_list(message, "tool_calls", f"{param}.")):
            at = f"{param}.tool_calls[{number}]"
            call = as_object(call, at)
            if call.get("type", "function") != "function":
                raise Untranslatable(f"Invalid '{at}.type': only functions can be called.", f"{at}.type")
            id_ = message_tool_id(as_name(call.get("id"), f"{at}.id"))
            if id_ in ids:
                raise Untranslatable(f"Invalid '{at}.id': another call has the same.", f"{at}.id")
            ids.add(id_)
            made.append(self._call(id_, call.get("function"), f"{at}.function"))
        legacy = message.get("function_call")
        if legacy is not None and not made:
            id_ = f"function_call_{place}"
            made.append(self._call(id_, legacy, f"{param}.function_call"))
            self._named[made[0]["name"]] = id_
        return made

    def _call(self, id_: str, function: object, param: str) -> Json:
        said = as_object(function, param)
        name = as_name(said.get("name"), f"{param}.name")
        arguments = said.get("arguments")
        at = f"{param}.arguments"
        input_ = parsed_object("" if arguments is None else as_text(arguments, at))
        if input_ is None:
            raise Untranslatable(f"Invalid '{at}': expected a JSON object.", at)
        self.tool_names[name] = None
        return {"type": "tool_use", "id": id_, "name": name, "input": input_}

    def _result(self, message: Json, param: str) -> None:
        if message["role"] == "function":
            at = f"{param}.name"
            id_ = self._named.get(as_name(message.get("name"), at), "")
        else:
            at = f"{param}.tool_call_id"
            id_ = message_tool_id(as_name(message.get("tool_call_id"), at))
        if id_ not in self._results:
            raise Untranslatable(f"Invalid '{at}': the message before it made no such call.", at)
        content = blocks(message.get("content"), f"{param}.content")
        result = self._results[id_]
        if result is None:
            result = self._results[id_] = {"type": "tool_result", "tool_use_id": id_}
        if content:
            result["content"] = [*result.get("content", ()), *content]
        control = cache_control_of(message, param)
        if control is not None:
            result["cache_control"] = control
        if message.get("is_error") is True:
            result["is_error"] = True

    def close_calls(self) -> None:
        """No more results will come for the last calls: give the results, then what was held."""
        if not self._results:
            return
        content = [result or _missing(id_) for id_, result in self._results.items()]
        self._results = {}
        self._add("user", content)
        held, self._held = self._held, []
        for message in held:
            self._add(message["role"], message["content"])


def _missing(id_: str) -> Json:
    """A call without a result would be refused, and with it the whole conversation."""
    content = [text_block(NO_RESULT)]
    return {"type": "tool_result", "tool_use_id": id_, "is_error": True, "content": content}
