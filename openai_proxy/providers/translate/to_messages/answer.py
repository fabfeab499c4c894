"""A message out of a chat completion."""

from __future__ import annotations

from typing import Any

from openai_proxy.observe.usage import NO_QUIRKS, Quirks, Usage
from openai_proxy.providers.translate.member import Json, json_text, parsed_object
from openai_proxy.providers.translate.reason import MESSAGE_TIERS, stop_reason
from openai_proxy.providers.translate.to_messages.block import text_block
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer
from openai_proxy.providers.translate.usage import message_usage, of_completion

RAW_INPUT = "_raw"
"""Where the arguments of a call are that are no JSON object: the client's tool refuses them."""


def message(completion: Json, quirks: Quirks = NO_QUIRKS) -> Json:
    """Raises :class:`UnreadableAnswer` for what is no chat completion, an error among that."""
    choices = completion.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    said = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(said, dict):
        raise UnreadableAnswer("expected a chat completion")
    id_ = _text(completion.get("id"))
    calls = _calls(said, id_)
    refusal = _text(said.get("refusal"))
    content = [*_thinking(said), *_texts(said.get("content"))]
    if refusal:
        content.append(text_block(refusal))
    usage = of_completion(completion.get("usage"), quirks) or Usage()
    used = message_usage(usage)
    tier = MESSAGE_TIERS.get(_text(completion.get("service_tier")))
    return {
        "id": id_,
        "type": "message",
        "role": "assistant",
        "model": _text(completion.get("model")),
        "content": content + calls,
        "stop_reason": stop_reason(first.get("finish_reason"), bool(calls), bool(refusal)),
        "stop_sequence": None,
        "usage": used if tier is None else used | {"service_tier": tier},
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def reasoning_of(said: Json) -> str:
    """Thinking in plain text, by any of its names."""
    return _text(said.get("reasoning_content")) or _text(said.get("reasoning"))


def parts_of(content: object) -> tuple[str, str]:
    """``(thinking, text)`` of a content: a string, or the parts that Mistral's models send."""
    if not isinstance(content, list):
        return "", _text(content)
    thinking = text = ""
    for part in content:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "thinking":
            thinking += _text(part.get("thinking")) or parts_of(part.get("thinking"))[1]
        else:
            text += _text(part.get("text"))
    return thinking, text


def _thinking(said: Json) -> list[Json]:
    """Signed if the upstream gave it so; what has no signature says so by an empty one."""
    signed = said.get("thinking_blocks")
    if isinstance(signed, list) and signed and all(isinstance(block, dict) for block in signed):
        return signed
    text = reasoning_of(said) or parts_of(said.get("content"))[0]
    return [{"type": "thinking", "thinking": text, "signature": ""}] if text else []


def _texts(content: object) -> list[Json]:
    text = parts_of(content)[1]
    return [text_block(text)] if text else []


def _calls(said: Json, id_: str) -> list[Json]:
    listed = said.get("tool_calls")
    calls: list[Any] = listed if isinstance(listed, list) else []
    if not calls and isinstance(said.get("function_call"), dict):
        calls = [{"function": said["function_call"]}]
    made = []
    for place, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        arguments = arguments_of(function.get("arguments"))
        parsed = parsed_object(arguments)
        made.append(
            {
                "type": "tool_use",
                "id": _text(call.get("id")) or call_id(id_, place),
                "name": _text(function.get("name")),
                "input": {RAW_INPUT: arguments} if parsed is None else parsed,
            }
        )
    return made


def arguments_of(value: Any) -> str:
    """As text: some servers send the object itself."""
    return json_text(value) if isinstance(value, dict) else _text(value)


def call_id(answer_id: str, place: int) -> str:
    """For a call that came without one: results are found by it."""
    return f"toolu_{answer_id}_{place}"
