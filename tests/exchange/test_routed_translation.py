"""The unified way between two dialects: what is translated, and what cannot be."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from openai_proxy.policy.routing import Candidate
from openai_proxy.wire import errors
from tests.support.routed import CHAT, ERROR, JSON, ONCE, RoutedRig

MESSAGE = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}'
)
MESSAGES_CHAT = CHAT[:-1] + b',"max_tokens":9}'
COMPLETION = (
    b'{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"hi"}}]}'
)
ANTHROPIC: dict[str, Any] = {"one": {"dialect": "anthropic"}}


def test_a_translated_answer_has_its_own_length() -> None:
    """The upstream's is of other bytes."""
    rig = RoutedRig(**ANTHROPIC)
    rig.ask()
    assert rig.one.last.url == b"http://one/v1/messages"
    rig.one.last.give(200, MESSAGE)
    status, fields, body = rig.answer()
    assert status == 200
    assert fields[b"content-length"] == b"%d" % len(body)
    assert json.loads(body)["choices"][0]["message"]["content"] == "hi"
    record = rig.record()
    assert record.generation is not None and record.generation.usage is not None
    assert record.generation.usage.input_tokens == 3


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", gzip.compress(b"[]")])
def test_a_translated_answer_that_cannot_be_read_is_followed_by_another(body: bytes) -> None:
    """The client has had nothing of it."""
    rig = RoutedRig(**ANTHROPIC)
    rig.ask()
    rig.one.last.give(200, body)
    rig.two.last.give(200, b"{}")
    assert rig.answer()[2] == b"{}"
    assert rig.results() == [("one", "stream_error"), ("two", "ok")]


def test_a_translated_error_in_a_success_is_in_the_clients_dialect() -> None:
    """And has the status that it should have had."""
    rig = RoutedRig(retry=ONCE, **ANTHROPIC)
    rig.ask()
    rig.one.last.give(200, b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}')
    status, _, body = rig.answer()
    assert status == 529
    assert json.loads(body)["error"]["message"] == "m"
    rig.record()


@pytest.mark.parametrize("query", [b"?beta=true", b"?beta=true&key=theirs&provider=one", b"?a=b&beta"])
def test_the_query_of_a_message_is_nothing_to_another_dialect(query: bytes) -> None:
    """A key in it is the client's key all the same."""
    rig = RoutedRig()
    rig.ask(MESSAGES_CHAT, path=b"/v1/messages" + query)
    ask = rig.one.last
    assert ask.url == b"http://one/v1/chat/completions"
    keys = [value for name, value in ask.fields if name == b"Authorization"]
    assert keys == ([b"Bearer theirs"] if b"key=" in query else [])
    ask.give(200, COMPLETION)
    assert rig.answer()[0] == 200
    rig.record()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([], None),
        ([(b"x-request-id", b"theirs")], b"theirs"),
        ([(b"request-id", b"theirs")], b"theirs"),
    ],
)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("status", [200, 400])
def test_an_anthropic_client_finds_the_answers_id(
    fields: list[tuple[bytes, bytes]], told: bytes | None, dialect: str, status: int
) -> None:
    """Where its SDK looks for it, whether the upstream gave one or not; and the record has the same."""
    rig = RoutedRig(retry=ONCE, one={"dialect": dialect})
    rig.ask(MESSAGES_CHAT, path=b"/v1/messages")
    good = COMPLETION if dialect == "openai" else MESSAGE
    rig.one.last.give(status, good if status == 200 else ERROR, *fields)
    answered = rig.answer()
    given = answered[1][b"request-id"]
    assert answered[0] == status
    assert answered[1][b"x-request-id"] == given == rig.record().request_id
    assert given == told if told else given.startswith(b"req_")


@pytest.mark.parametrize(
    ("path", "dialect", "said"),
    [
        (b"/v1/messages/batches", "openai", ERROR),
        (
            b"/v1/embeddings",
            "anthropic",
            b'{"type":"error","error":{"type":"not_found_error","message":"m"}}',
        ),
    ],
)
def test_an_error_of_what_is_not_translated_is_in_the_clients_dialect(
    path: bytes, dialect: str, said: bytes
) -> None:
    """The other provider does not know what it was asked, and says so in its own way."""
    rig = RoutedRig(retry=ONCE, one={"dialect": dialect})
    rig.ask(path=path)
    rig.one.last.give(404, said)
    status, fields, body = rig.answer()
    error = json.loads(body)
    assert (status, error["error"]["message"]) == (404, "m")
    assert (error.get("type") == "error", "code" in error["error"]) == (
        (True, False) if dialect == "openai" else (False, True)
    )
    assert int(fields.get(b"content-length", len(body))) == len(body)
    assert rig.results() == [("one", "http_4xx")]


def test_an_error_of_ours_has_an_id_for_an_anthropic_client() -> None:
    """In the field and in the body, as Anthropic has it."""
    rig = RoutedRig(retry=ONCE)
    rig.ask(MESSAGES_CHAT, path=b"/v1/messages")
    rig.one.last.fail(errors.ConnectFailed())
    status, fields, body = rig.answer()
    assert status == 502
    assert json.loads(body)["request_id"].encode() == fields[b"request-id"] == rig.record().request_id


def test_a_target_that_cannot_be_asked_is_passed_over() -> None:
    """What has no form in its dialect another one takes."""
    rig = RoutedRig(**ANTHROPIC)
    rig.ask(CHAT[:-1] + b',"n":3}')
    assert not rig.one.asks
    rig.two.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    assert rig.results() == [("two", "ok")]


def test_what_no_other_target_can_be_asked_leaves_the_first_ones_error() -> None:
    """Its client did nothing wrong: the failure is what it is told of, once."""
    rig = RoutedRig(two={"dialect": "anthropic"})
    rig.ask(CHAT[:-1] + b',"n":3}')
    rig.one.last.give(500, ERROR)
    status, _, body = rig.answer()
    assert (status, body) == (500, ERROR)
    assert rig.results() == [("one", "http_5xx")]


def test_what_no_target_can_be_asked_is_refused() -> None:
    """400, and which member it is for."""
    rig = RoutedRig("one", **ANTHROPIC)
    rig.ask(CHAT[:-1] + b',"n":3}')
    status, _, body = rig.answer()
    assert (status, json.loads(body)["error"]["param"]) == (400, "n")
    assert rig.record().outcome == "client_error"


def test_tokens_are_counted_here_where_the_provider_cannot() -> None:
    """Nothing is sent for it."""
    rig = RoutedRig()
    rig.ask(
        b'{"model":"fast","messages":[{"role":"user","content":"hi"}]}', path=b"/v1/messages/count_tokens"
    )
    status, fields, body = rig.answer()
    assert (status, list(json.loads(body))) == (200, ["input_tokens"])
    assert fields[b"x-openai-proxy-attempts"] == b"0"
    record = rig.record()
    assert (record.outcome, record.attempts) == ("ok", ())


def test_an_open_circuit_is_told_though_another_target_cannot_be_asked() -> None:
    """It will close: the client may try again, which it would not after a 400."""
    rig = RoutedRig(**ANTHROPIC)
    rig.gateway.breaker_of(Candidate("two", "two-model", "two-model")).rest(9, rig.clock.seconds())
    rig.ask(CHAT[:-1] + b',"n":3}')
    status, fields, _ = rig.answer()
    assert (status, fields[b"retry-after"]) == (429, b"9")
    rig.record()


def test_an_answer_that_is_too_long_to_be_translated_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be held in memory, however long it is."""
    monkeypatch.setattr("openai_proxy.providers.translate.converter.MAX_ANSWER_BYTES", 10)
    rig = RoutedRig(**ANTHROPIC)
    rig.ask()
    rig.one.last.respond(200, JSON)
    rig.one.last.piece(MESSAGE)
    assert rig.one.last.was_cancelled
    rig.two.last.give(200, b"{}")
    assert rig.results() == [("one", "stream_error"), ("two", "ok")]
