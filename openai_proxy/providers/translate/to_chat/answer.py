"""A chat completion out of a message."""

from __future__ import annotations

from typing import Any

from openai_proxy.providers.translate.member import Json, json_text
from openai_proxy.providers.translate.reason import CHAT_TIERS, finish_reason
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer
from openai_proxy.providers.translate.usage import completion_usage, of_message


def completion(message: Json, created: int, answer_tool: str | None = None) -> Json:
    """Raises :class:`UnreadableAnswer` for what is no message, an error among that.

    :param created: Unix time in seconds.
    :param answer_tool: as the request's translation named it: its input is the content.
    """
    if message.get("type") != "message" or not isinstance(message.get("content"), list):
        raise UnreadableAnswer("expected a message")
    gathered = _Gathered(answer_tool)
    for block in message["content"]:
        gathered.take(block if isinstance(block, dict) else {})
    said: Json = {"role": "assistant", "content": gathered.content(), "refusal": None}
    reason = finish_reason(message.get("stop_reason"), gathered.is_by_tool)
    if reason == "content_filter":
        said["refusal"] = explanation(message.get("stop_details"))
    said |= gathered.members()
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": reason}
    made: Json = {
        "id": message.get("id") or "",
        "object": "chat.completion",
        "created": created,
        "model": message.get("model") or "",
        "choices": [choice],
    }
    usage = of_message(message.get("usage"))
    if usage is not None:
        made["usage"] = completion_usage(usage)
        tier = CHAT_TIERS.get(usage.service_tier or "")
        if tier is not None:
            made["service_tier"] = tier
    return made


def explanation(details: object) -> str | None:
    """Why the model refused, in words, if it says so."""
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) else None


class _Gathered:
    """What the blocks so far say; blocks of tools that the provider ran itself are left out."""

    def __init__(self, answer_tool: str | None) -> None:
        self.is_by_tool = False
        self._answer_tool = answer_tool
        self._texts: list[str] = []
        self._length = 0
        self._reasoning: list[str] = []
        self._thinking: list[Json] = []
        self._calls: list[Json] = []
        self._annotations: list[Json] = []

    def take(self, block: Json) -> None:
        kind = block.get("type")
        if kind == "text":
            self._text(block)
        elif kind == "thinking":
            self._reasoning.append(text_of(block.get("thinking")))
            self._thinking.append(block)
        elif kind == "redacted_thinking":
            self._thinking.append(block)
        elif kind == "tool_use" and self._answer_tool is not None and block.get("name") == self._answer_tool:
            self.is_by_tool = True
            self._texts.append(json_text(block.get("input")))
        elif kind == "tool_use":
            arguments = json_text(block.get("input") or {})
            function = {"name": text_of(block.get("name")), "arguments": arguments}
            self._calls.append({"id": text_of(block.get("id")), "type": "function", "function": function})

    def _text(self, block: Json) -> None:
        text = text_of(block.get("text"))
        begin, self._length = self._length, self._length + len(text)
        self._texts.append(text)
        citations = block.get("citations")
        for citation in citations if isinstance(citations, list) else ():
            annotation = annotation_of(citation, begin, self._length)
            if annotation is not None:
                self._annotations.append(annotation)

    def content(self) -> str | None:
        return "".join(self._texts) if self._texts or not self._calls else None

    def members(self) -> Json:
        said: Json = {}
        if self._calls:
            said["tool_calls"] = self._calls
        if self._annotations:
            said["annotations"] = self._annotations
        if any(self._reasoning):
            said["reasoning_content"] = "".join(self._reasoning)
        if self._thinking:
            # With their signatures: a client that sends them back may go on with its tools.
            said["thinking_blocks"] = self._thinking
        return said


def text_of(value: object) -> str:
    """A member that should be a string, empty if it is none."""
    return value if isinstance(value, str) else ""


def annotation_of(citation: Any, begin: int, end: int) -> Json | None:
    """OpenAI knows citations of pages only; places are characters of the content."""
    if not isinstance(citation, dict) or not isinstance(citation.get("url"), str):
        return None
    cited = {
        "start_index": begin,
        "end_index": end,
        "title": text_of(citation.get("title")),
        "url": citation["url"],
    }
    return {"type": "url_citation", "url_citation": cited}
