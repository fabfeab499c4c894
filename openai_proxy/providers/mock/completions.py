"""Chat completions and legacy completions, whole and as events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from openai_proxy.providers.mock.ask import Ask
from openai_proxy.providers.mock.body import CREATED, Content, Events
from openai_proxy.providers.mock.text import token_count, words
from openai_proxy.providers.mock.usage import cached_tokens, reasoned

MAX_CHOICES = 128
_FINGERPRINT = "fp_mock000000"


@dataclass(frozen=True, slots=True)
class _Form:
    """What differs between the two endpoints."""

    id_prefix: str
    chunk_object: bytes
    role: bytes | None
    """The delta of the first chunk, or None where there is no such chunk."""
    before: bytes
    after: bytes
    last: bytes


_CHAT = _Form(
    "chatcmpl-",
    b"chat.completion.chunk",
    b'"delta":{"role":"assistant","content":"","refusal":null}',
    b'"delta":{"content":"',
    b'"}',
    b'"delta":{}',
)
_LEGACY = _Form("cmpl-", b"text_completion", None, b'"text":"', b'"', b'"text":""')


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be said: ``choices`` texts of ``count`` words each, after ``reasoning`` unseen ones."""

    ask: Ask
    form: _Form
    choices: int
    count: int
    whole: bool
    prompt_tokens: int
    cached_tokens: int = 0
    reasoning: int = 0

    @property
    def id(self) -> str:
        return self.form.id_prefix + self.ask.seed.hex()

    @property
    def finish_reason(self) -> str:
        return "stop" if self.whole else "length"

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def completion_tokens(self) -> int:
        return self.choices * (self.reasoning + self.count)

    def words(self, choice: int) -> Iterator[bytes]:
        return words(self.ask.seed, choice, self.count, self.whole)

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.choices * self.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def chat(ask: Ask) -> Content:
    """POST /v1/chat/completions. Raises ``Refused``."""
    messages = ask.required("messages")
    limit = ask.integer("max_completion_tokens", 1)
    if limit is None:
        limit = ask.integer("max_tokens", 1)
    choices = ask.integer("n", 1, MAX_CHOICES) or 1
    prompt_tokens = token_count(messages)
    cached = cached_tokens(ask.seed, prompt_tokens)
    reasoning, left = reasoned(ask.model, ask.seed, limit)
    plan = _Plan(ask, _CHAT, choices, *ask.deltas(left, choices), prompt_tokens, cached, reasoning)
    return _events(plan) if ask.stream else _whole(plan, "chat.completion", _message)


def completion(ask: Ask) -> Content:
    """POST /v1/completions; each prompt of a list gets its ``n`` choices. Raises ``Refused``."""
    prompt = ask.body.get("prompt", "")
    prompts = prompt if isinstance(prompt, list) and prompt and type(prompt[0]) is not int else [prompt]
    limit = ask.integer("max_tokens", 1)
    choices = (ask.integer("n", 1, MAX_CHOICES) or 1) * len(prompts)
    tokens = sum(token_count(one) for one in prompts)
    plan = _Plan(ask, _LEGACY, choices, *ask.deltas(limit, choices), tokens)
    return _events(plan) if ask.stream else _whole(plan, "text_completion", _text)


def _message(text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text, "refusal": None, "annotations": []}}


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


def _whole(plan: _Plan, object_: str, said: Any) -> Content:
    choices = [
        {
            "index": index,
            **said(b"".join(plan.words(index)).decode()),
            "logprobs": None,
            "finish_reason": plan.finish_reason,
        }
        for index in range(plan.choices)
    ]
    answer = {
        "id": plan.id,
        "object": object_,
        "created": CREATED,
        "model": plan.ask.model,
        "choices": choices,
        "usage": plan.usage(),
        "service_tier": plan.ask.service_tier,
        "system_fingerprint": _FINGERPRINT,
    }
    return Content(msgspec.json.encode(answer), plan.total_tokens)


def _events(plan: _Plan) -> Content:
    roles = plan.choices if plan.form.role is not None else 0
    count = roles + plan.choices * (plan.count + 1) + plan.ask.include_usage + 1
    return Content(Events(_chunks(plan), count), plan.total_tokens)


def _chunks(plan: _Plan) -> Iterator[bytes]:
    form, indices = plan.form, range(plan.choices)
    head = (
        b'data: {"id":"%b","object":"%b","created":%d,"model":%b,"service_tier":"%b",'
        b'"system_fingerprint":"%b","choices":['
    ) % (
        plan.id.encode(),
        form.chunk_object,
        CREATED,
        msgspec.json.encode(plan.ask.model),
        plan.ask.service_tier.encode(),
        _FINGERPRINT.encode(),
    )
    end = b'],"usage":null}\n\n' if plan.ask.include_usage else b"]}\n\n"
    going = b',"logprobs":null,"finish_reason":null}' + end
    ended = b',"logprobs":null,"finish_reason":"%b"}' % plan.finish_reason.encode() + end
    openings = [head + b'{"index":%d,' % index for index in indices]
    if form.role is not None:
        for opening in openings:
            yield opening + form.role + going
    befores = [opening + form.before for opening in openings]
    after = form.after + going
    # All choices at once, a word of each in turn, as the real API interleaves them.
    in_turn = chain.from_iterable(zip(*(plan.words(index) for index in indices), strict=True))
    if plan.choices == 1:
        before = befores[0]
        for word in in_turn:
            yield before + word + after
    else:
        for place, word in enumerate(in_turn):
            yield befores[place % plan.choices] + word + after
    for opening in openings:
        yield opening + form.last + ended
    if plan.ask.include_usage:
        yield head + b'],"usage":' + msgspec.json.encode(plan.usage()) + b"}\n\n"
    yield b"data: [DONE]\n\n"
