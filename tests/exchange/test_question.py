"""What a request asks for: model, provider, ids, dialect, from wherever they stand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.exchange.question import Question

FORM_TYPE = (b"Content-Type", b"multipart/form-data; boundary=b")
FORM = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nfast\r\n--b--\r\n'


def request(
    uri: bytes, *fields: tuple[bytes, bytes], body: bytes | None = None, method: bytes = b"POST"
) -> Any:
    """As the channel makes it, as far as it is looked at."""
    return SimpleNamespace(
        uri=uri,
        path=uri.partition(b"?")[0],
        method=method,
        fields=list(fields),
        body=body,
        is_readable=body is not None and FORM_TYPE not in fields,
    )


@pytest.mark.parametrize(
    ("uri", "model"),
    [
        (b"/v1/realtime?a=1&model=gpt%2Drealtime", "gpt-realtime"),
        (b"/v1/realtime?m%6Fdel=a+b", "a b"),
        (b"/v1/realtime?model=%ff", "\ufffd"),
        (b"/v1/models/openai/gpt-4o", "openai/gpt-4o"),
        (b"/v1/models/ft%3Agpt:x", "ft:gpt:x"),
        (b"/v1/models/", ""),
        (b"/v1/models", ""),
        (b"/v1/files?model", ""),
    ],
)
def test_a_model_in_the_target(uri: bytes, model: str) -> None:
    """In the query or in the path, with its escapes decoded."""
    assert Question(request(uri, method=b"GET")).model == model


def test_a_model_in_json() -> None:
    """It counts, and not the query's; the whole body is kept to be sent again."""
    question = Question(request(b"/v1/responses?model=x", body=b"{}"))
    body = b'{"model":"fast","stream":true,"previous_response_id":"resp_1"}'
    question.read(body, b"")
    assert (question.model, question.routed_by, question.body) == ("fast", "fast", body)
    assert question.asked.is_stream
    assert question.ids == ("resp_1",)
    assert not question.is_unread
    question.forget()
    assert question.body is None


def test_a_model_in_a_form() -> None:
    """Of which it is enough that the beginning is there."""
    question = Question(request(b"/v1/audio/transcriptions", FORM_TYPE, body=b""))
    assert question.boundary == b"b"
    question.read(None, FORM.replace(b"--b--", b"--b") + b"Content-")
    assert (question.model, question.routed_by, question.is_unread) == ("fast", "fast", True)


def test_json_that_is_too_long_has_a_model_that_nobody_knows() -> None:
    """It is `other` in the numbers, and chooses no target: not even one of that name."""
    question = Question(request(b"/v1/responses", body=b"{}"))
    question.read(None, b'{"model":"fast"')
    assert (question.model, question.routed_by, question.is_unread) == ("other", "", True)


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"model":3}', b"\xff"])
def test_a_body_without_a_model_names_none(body: bytes) -> None:
    """That is the default provider's to judge."""
    question = Question(request(b"/v1/responses", body=body))
    question.read(body, b"")
    assert (question.model, question.ids) == ("", ())


@pytest.mark.parametrize(
    ("uri", "fields", "provider"),
    [
        (b"/v1/files?provider=two", [], "two"),
        (b"/v1/files?provider=two", [(b"X-OpenAI-Proxy-Provider", b"one")], "one"),
        (b"/v1/files?provider=" + b"x" * 100, [], "x" * 64),
        (b"/v1/files?provider=", [], ""),
        (b"/v1/files", [], ""),
    ],
)
def test_a_provider_that_is_named(uri: bytes, fields: list[tuple[bytes, bytes]], provider: str) -> None:
    """In the query, or in a field of ours, which goes first."""
    assert Question(request(uri, *fields)).provider == provider


def test_ids_in_the_path() -> None:
    """The outermost first."""
    assert Question(request(b"/v1/threads/t_1/runs/r_1?a=1", method=b"GET")).ids == ("t_1", "r_1")


@pytest.mark.parametrize(
    ("uri", "model", "target"),
    [
        (b"/v1/realtime?a=%2F&model=fast&b", "x/y z", b"/v1/realtime?a=%2F&model=x%2Fy%20z&b"),
        (b"/v1/realtime?a=%2F&model=fast", "fast", b"/v1/realtime?a=%2F&model=fast"),
        (b"/v1/realtime?a=1&model=fast", "", b"/v1/realtime?a=1&model=fast"),
        (b"/v1/models/fast?a=1", "b/c", b"/v1/models/b%2Fc?a=1"),
        (b"/v1/models/fast", "b", b"/v1/models/b"),
        (b"/v1/models", "b", b"/v1/models"),
        (b"/v1/files", "b", b"/v1/files"),
    ],
)
def test_the_target_with_another_name(uri: bytes, model: str, target: bytes) -> None:
    """Every other byte of it stays."""
    assert Question(request(uri, method=b"GET")).target_for(model) == target


def test_the_target_of_a_body_that_names_the_model_stays() -> None:
    """There the name is put into the body."""
    question = Question(request(b"/v1/responses?model=x", body=b"{}"))
    question.read(b'{"model":"fast"}', b"")
    assert question.target_for("other") == b"/v1/responses?model=x"


@pytest.mark.parametrize(
    ("uri", "fields", "answer"),
    [
        (b"/v1/messages", [], True),
        (b"/v1/messages?beta=true", [], True),
        (b"/v1/messages/count_tokens", [], True),
        (b"/v1/messagesx", [], False),
        (b"/v1/models", [(b"Anthropic-Version", b"2023-06-01")], True),
        (b"/v1/chat/completions", [], False),
    ],
)
def test_the_clients_dialect(uri: bytes, fields: list[tuple[bytes, bytes]], answer: bool) -> None:
    """By the path, or by the field that Anthropic's SDKs send."""
    assert (Question(request(uri, *fields)).client_dialect == "anthropic") is answer


@pytest.mark.parametrize(
    ("said", "count"),
    [(b"2", 2), (b"0", 0), (b"999", 99), (b"99999", 0), (b"-1", 0), (b"x", 0), (b"\xb2", 0), (b"", 0)],
)
def test_a_clients_own_retries(said: bytes, count: int) -> None:
    """A small number, or none."""
    assert Question(request(b"/v1/models", (b"x-stainless-retry-count", said))).client_retry == count


@given(st.binary(max_size=40), st.binary(max_size=60), st.text(max_size=10))
def test_no_target_and_no_body_is_too_odd(query: bytes, body: bytes, model: str) -> None:
    """Whatever a client sends is read as something."""
    question = Question(request(b"/v1/responses?" + query, body=body))
    question.read(body, b"")
    question.target_for(model)
    assert len(question.provider) <= 64
