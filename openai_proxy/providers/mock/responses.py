"""The Responses endpoint, whole and as its sequence of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from openai_proxy.providers.mock.ask import Ask
from openai_proxy.providers.mock.body import CREATED, Content, Events, named_event
from openai_proxy.providers.mock.text import token_count, words
from openai_proxy.providers.mock.usage import cached_tokens, reasoned

_ECHOED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Members that come back as they were asked for, and what they are otherwise."""

_EVENTS_BESIDE_DELTAS = 8


@dataclass(frozen=True, slots=True)
class _Plan:
    ask: Ask
    count: int
    whole: bool
    input_tokens: int
    reasoning: int

    @property
    def item_id(self) -> str:
        return "msg_" + self.ask.seed.hex()

    @property
    def status(self) -> str:
        return "completed" if self.whole else "incomplete"

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def output_tokens(self) -> int:
        return self.reasoning + self.count

    def words(self) -> Iterator[bytes]:
        return words(self.ask.seed, 0, self.count, self.whole)

    def text(self) -> str:
        return b"".join(self.words()).decode()

    def usage(self) -> dict[str, Any]:
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {
                "cached_tokens": cached_tokens(self.ask.seed, self.input_tokens),
                "cache_write_tokens": 0,
            },
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.total_tokens,
        }


def response(ask: Ask) -> Content:
    """POST /v1/responses; ``incomplete`` if ``max_output_tokens`` cuts the text. Raises ``Refused``."""
    input_tokens = sum(
        token_count(ask.body[name]) for name in ("instructions", "input") if ask.body.get(name) is not None
    )
    reasoning, left = reasoned(ask.model, ask.seed, ask.integer("max_output_tokens", 1))
    plan = _Plan(ask, *ask.deltas(left), input_tokens, reasoning)
    if ask.stream:
        return Content(Events(_events(plan), plan.count + _EVENTS_BESIDE_DELTAS), plan.total_tokens)
    return Content(msgspec.json.encode(_ended(plan, plan.text())), plan.total_tokens)


def _response(plan: _Plan, status: str, output: list[Any], usage: Any) -> dict[str, Any]:
    body = plan.ask.body
    echoed = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
    incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
    tier = plan.ask.service_tier
    return {
        "id": "resp_" + plan.ask.seed.hex(),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": incomplete,
        "model": plan.ask.model,
        "output": output,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": tier if usage or tier != "default" else "auto",
        "text": {"format": {"type": "text"}},
        "usage": usage,
        **echoed,
    }


def _ended(plan: _Plan, text: str) -> dict[str, Any]:
    return _response(plan, plan.status, [_item(plan, plan.status, [_part(text)])], plan.usage())


def _item(plan: _Plan, status: str, content: list[Any]) -> dict[str, Any]:
    return {
        "id": plan.item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _event(kind: str, sequence_number: int, **members: Any) -> bytes:
    return named_event(kind, sequence_number=sequence_number, **members)


def _events(plan: _Plan) -> Iterator[bytes]:
    """The order is that of the API reference, "Streaming events"."""
    begun = _response(plan, "in_progress", [], None)
    place: dict[str, Any] = {"item_id": plan.item_id, "output_index": 0, "content_index": 0}
    yield _event("response.created", 0, response=begun)
    yield _event("response.in_progress", 1, response=begun)
    item = _item(plan, "in_progress", [])
    yield _event("response.output_item.added", 2, output_index=0, item=item)
    yield _event("response.content_part.added", 3, **place, part=_part(""))
    before = (
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":'
    )
    between = b',"item_id":"%b","output_index":0,"content_index":0,"delta":"' % plan.item_id.encode()
    after = b'","logprobs":[]}\n\n'
    for number, word in enumerate(plan.words(), 4):
        yield b"%b%d%b%b%b" % (before, number, between, word, after)
    number, text = 4 + plan.count, plan.text()
    yield _event("response.output_text.done", number, **place, text=text, logprobs=[])
    yield _event("response.content_part.done", number + 1, **place, part=_part(text))
    item = _item(plan, plan.status, [_part(text)])
    yield _event("response.output_item.done", number + 2, output_index=0, item=item)
    yield _event(f"response.{plan.status}", number + 3, response=_ended(plan, text))
