"""Usage objects of every form and provider, in the one form."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from openai_proxy.observe.endpoint import ENDPOINTS
from openai_proxy.observe.members import UNREADABLE
from openai_proxy.observe.usage import (
    EXPECTED,
    FORMS,
    NO_QUIRKS,
    QUIRKS,
    UNTOLD,
    MessageUsage,
    Quirks,
    Usage,
    read_message_usage,
)

CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 12, "audio_tokens": 0},
}


def normal(endpoint: str, usage: dict[str, Any], quirks: Quirks = NO_QUIRKS) -> Usage | None:
    return FORMS[endpoint](Raw(msgspec.json.encode(usage))).normal(quirks)


@pytest.mark.parametrize(
    ("endpoint", "usage", "expected"),
    [
        (
            "chat_completions",
            CHAT,
            Usage(
                input_tokens=100,
                cached_input_tokens=64,
                cache_write_tokens=8,
                output_tokens=20,
                reasoning_tokens=12,
            ),
        ),
        ("completions", {"prompt_tokens": 5, "completion_tokens": 7}, Usage(input_tokens=5, output_tokens=7)),
        (
            "generate_content",
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 64,
                "toolUsePromptTokenCount": 8,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 12,
                "totalTokenCount": 140,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 30},
                    {"modality": "AUDIO", "tokenCount": 50},
                    {"modality": "IMAGE", "tokenCount": 20},
                ],
                "cacheTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": 40},
                    {"modality": "IMAGE", "tokenCount": 10},
                ],
                "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 8}, {"modality": "AUDIO"}],
                "candidatesTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": 5},
                    {"modality": "IMAGE", "tokenCount": 6},
                ],
                "serviceTier": "flex",
            },
            Usage(
                input_tokens=108,
                cached_input_tokens=64,
                output_tokens=32,
                reasoning_tokens=12,
                input_audio_tokens=50,
                input_image_tokens=28,
                cached_input_audio_tokens=40,
                cached_input_image_tokens=10,
                output_audio_tokens=5,
                output_image_tokens=6,
                service_tier="flex",
            ),
        ),
        # A 0 is left out.
        (
            "generate_content",
            {"promptTokenCount": 5, "totalTokenCount": 5, "trafficType": "ON_DEMAND_PRIORITY"},
            Usage(input_tokens=5, output_tokens=0, service_tier="priority"),
        ),
        (
            "generate_content",
            {"thoughtsTokenCount": "5", "trafficType": "ON_DEMAND"},
            Usage(input_tokens=0, output_tokens=5, reasoning_tokens=5),
        ),
        ("generate_content", {"totalTokenCount": 5}, None),
        ("embeddings", {"prompt_tokens": 5, "total_tokens": 5}, Usage(input_tokens=5, output_tokens=0)),
        (
            "responses",
            {
                "input_tokens": 36,
                "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 2},
                "output_tokens": 87,
                "output_tokens_details": {"reasoning_tokens": 50},
            },
            Usage(
                input_tokens=36,
                cached_input_tokens=30,
                cache_write_tokens=2,
                output_tokens=87,
                reasoning_tokens=50,
            ),
        ),
        (
            "images",
            {"input_tokens": 50, "input_tokens_details": {"text_tokens": 10}, "output_tokens": 1056},
            Usage(input_tokens=50, output_tokens=1056, output_image_tokens=1056),
        ),
        (
            "images",
            {
                "input_tokens": 50,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40, "cached_tokens": 0},
                "output_tokens": 1060,
                "output_tokens_details": {"text_tokens": 4, "image_tokens": 1056},
            },
            Usage(input_tokens=50, input_image_tokens=40, output_tokens=1060, output_image_tokens=1056),
        ),
        (
            "chat_completions",
            {
                "prompt_tokens": 90,
                "completion_tokens": 30,
                "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 70, "image_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 25, "text_tokens": 5},
            },
            Usage(
                input_tokens=90,
                cached_input_tokens=64,
                input_audio_tokens=70,
                input_image_tokens=2,
                output_tokens=30,
                output_audio_tokens=25,
            ),
        ),
        (
            "responses",
            {
                "input_tokens": 90,
                "output_tokens": 30,
                "input_token_details": {
                    "text_tokens": 15,
                    "audio_tokens": 70,
                    "image_tokens": 5,
                    "cached_tokens": 64,
                    "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 50, "image_tokens": 4},
                },
                "output_token_details": {"text_tokens": 5, "audio_tokens": 25},
            },
            Usage(
                input_tokens=90,
                cached_input_tokens=64,
                input_audio_tokens=70,
                input_image_tokens=5,
                cached_input_audio_tokens=50,
                cached_input_image_tokens=4,
                output_tokens=30,
                output_audio_tokens=25,
            ),
        ),
        # What is said of the kind holds; where nothing is, the endpoint tells it.
        (
            "audio_speech",
            {"input_tokens": 5, "output_tokens": 25, "total_tokens": 30},
            Usage(input_tokens=5, output_tokens=25, output_audio_tokens=25),
        ),
        (
            "audio_transcriptions",
            {"type": "tokens", "input_tokens": 14, "output_tokens": 45},
            Usage(input_tokens=14, input_audio_tokens=14, output_tokens=45),
        ),
        (
            "audio_transcriptions",
            {"input_tokens": 14, "output_tokens": 45, "input_token_details": {"text_tokens": 14}},
            Usage(input_tokens=14, output_tokens=45),
        ),
        (
            "audio_transcriptions",
            {
                "type": "tokens",
                "input_tokens": 14,
                "output_tokens": 45,
                "input_token_details": {"audio_tokens": 14},
            },
            Usage(input_tokens=14, input_audio_tokens=14, output_tokens=45),
        ),
        ("audio_transcriptions", {"type": "duration", "seconds": 3}, Usage(seconds=3.0)),
        # Where others put the cached tokens.
        (
            "chat_completions",
            {"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 4},
            Usage(input_tokens=9, cached_input_tokens=4, output_tokens=1),
        ),
        (
            "chat_completions",
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4},
            Usage(input_tokens=9, cached_input_tokens=4, output_tokens=1),
        ),
        (
            "chat_completions",
            {"prompt_tokens": 9.0, "completion_tokens": 1, "prompt_tokens_details": None},
            Usage(input_tokens=9, output_tokens=1),
        ),
        ("chat_completions", {"total_tokens": 9}, None),
        ("responses", {}, None),
    ],
)
def test_forms(endpoint: str, usage: dict[str, Any], expected: Usage | None) -> None:
    """Input has the cached tokens in it and output the reasoning, whoever says it."""
    assert normal(endpoint, usage) == expected


def test_additive_quirks() -> None:
    """xAI's and Perplexity's reasoning comes on top of the output tokens."""
    usage = normal("chat_completions", CHAT, QUIRKS["xai"])
    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_tokens) == (32, 12)
    said = {"prompt_tokens": 1, "completion_tokens": 2, "reasoning_tokens": 3, "citation_tokens": 4}
    usage = normal("chat_completions", said, QUIRKS["perplexity"])
    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_tokens) == (9, 3)


def test_messages() -> None:
    """Anthropic's input is what no cache had; an overwrite replaces only what it says."""
    first = read_message_usage(
        Raw(
            b'{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,'
            b'"cache_creation":{"ephemeral_5m_input_tokens":150,"ephemeral_1h_input_tokens":50},'
            b'"output_tokens":1,"service_tier":"standard"}'
        )
    )
    last = read_message_usage(
        Raw(b'{"output_tokens":40,"input_tokens":null,"output_tokens_details":{"thinking_tokens":9}}')
    )
    assert first.overwritten_by(last).normal(NO_QUIRKS) == Usage(
        input_tokens=3210,
        cached_input_tokens=3000,
        cache_write_tokens=200,
        cache_write_1h_tokens=50,
        output_tokens=40,
        reasoning_tokens=9,
        service_tier="standard",
    )
    fast = MessageUsage(output_tokens=1, service_tier="standard", speed="fast").normal(NO_QUIRKS)
    assert fast is not None and fast.service_tier == "fast"
    assert MessageUsage().normal(NO_QUIRKS) is None


@pytest.mark.parametrize("number", [b"-1", b"1.5", b"1e300", b'"x"', b"[]", b"99999999999999999999"])
def test_what_is_no_number_of_tokens(number: bytes) -> None:
    """A usage with such a number is none: it must not reach a counter."""
    with pytest.raises(UNREADABLE):
        FORMS["chat_completions"](Raw(b'{"prompt_tokens":%b,"completion_tokens":1}' % number))


@pytest.mark.parametrize("seconds", [b"1e308", b"10000001", b"-1", b'"inf"', b'"nan"'])
def test_seconds_that_are_no_duration(seconds: bytes) -> None:
    """A counter that was once infinite is so for good."""
    with pytest.raises(UNREADABLE):
        FORMS["audio_transcriptions"](Raw(b'{"type":"duration","seconds":%b}' % seconds))


def test_endpoints() -> None:
    """The table names endpoints that there are."""
    assert set(FORMS) <= set(ENDPOINTS)
    assert set(FORMS) >= EXPECTED
    assert set(ENDPOINTS) >= UNTOLD


@given(
    st.sampled_from(sorted(FORMS)),
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "seconds"]),
        st.integers(0, 10**7),
    ),
    st.sampled_from([NO_QUIRKS, *QUIRKS.values()]),
)
def test_the_normal_form(endpoint: str, said: dict[str, int], quirks: Quirks) -> None:
    """What is said is kept, and nothing is made up: parts are never more than what has them."""
    usage = normal(endpoint, said, quirks)
    if usage is not None:
        assert usage.cached_input_tokens == usage.reasoning_tokens == 0
        assert usage.input_tokens in (None, said.get("prompt_tokens"), said.get("input_tokens"))
