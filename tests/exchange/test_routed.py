"""The unified way: where a request goes, what is given on, and what the client is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openai_proxy.config.provider import ModelPaths
from openai_proxy.config.routing import Breaker, Retry, Route, Target
from openai_proxy.config.secret import Secret
from openai_proxy.config.settings import Limits
from openai_proxy.observe.record import Move, MoveKind
from openai_proxy.providers.token_fetch import TokenUnavailable
from openai_proxy.wire import errors
from tests.support.routed import CHAT, ERROR, ONCE, Keys, RoutedRig

MESSAGES = b'{"model":"fast","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nfast\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--b--\r\n'
)
FORM_TYPE = b"Content-Type: multipart/form-data; boundary=b"


def test_the_first_target_answers() -> None:
    """It is asked for its own name of the model, and the answer says whose it is."""
    rig = RoutedRig()
    rig.ask()
    [ask] = rig.one.asks
    assert (ask.method, ask.url) == (b"POST", b"http://one/v1/chat/completions")
    assert ask.sent == CHAT.replace(b'"fast"', b'"one-model"')
    ask.give(200, b'{"id":1}', (b"X-Openai-Proxy-Provider", b"liar"))
    status, fields, body = rig.answer()
    assert (status, body) == (200, b'{"id":1}')
    assert rig.client.received.lower().count(b"x-openai-proxy-provider") == 1
    assert fields[b"x-openai-proxy-provider"] == b"one"
    assert fields[b"x-openai-proxy-model"] == b"one-model"
    assert fields[b"x-openai-proxy-attempts"] == b"1"
    assert b"x-should-retry" not in fields
    record = rig.record()
    assert (record.provider, record.outcome) == ("one", "ok")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_another_target_takes_over(status: int) -> None:
    """What the first refuses the second answers; the record has both, and why."""
    rig = RoutedRig()
    rig.ask()
    rig.one.last.give(status, ERROR)
    rig.two.last.give(200, b"{}")
    status, fields, _ = rig.answer()
    assert status == 200
    assert fields[b"x-openai-proxy-attempts"] == b"2"
    assert fields[b"x-openai-proxy-provider"] == b"two"
    first, second = rig.record().attempts
    assert first.move is None
    assert second.move == Move(MoveKind.FALLBACK, "one", first.result.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_would_come_again_is_the_clients(status: int) -> None:
    """An error that is the request's own is given on as it came."""
    rig = RoutedRig()
    rig.ask()
    rig.one.last.give(status, ERROR, (b"x-should-retry", b"false"))
    got, fields, body = rig.answer()
    assert (got, body) == (status, ERROR)
    assert fields[b"x-should-retry"] == b"false"
    assert not rig.two.asks
    rig.record()


def test_the_last_upstreams_error_is_given_on() -> None:
    """Its own body and status; the client's SDK is told that it was tried again already."""
    rig = RoutedRig(retry=Retry(attempts=2))
    rig.ask()
    rig.one.last.give(500, ERROR)
    rig.two.last.give(503, b'{"error":{"message":"second"}}')
    status, fields, body = rig.answer()
    assert (status, body) == (503, b'{"error":{"message":"second"}}')
    assert fields[b"x-should-retry"] == b"false"
    assert rig.results() == [("one", "http_5xx"), ("two", "http_5xx")]


def test_a_target_without_a_next_one_is_asked_again() -> None:
    """After a wait; nothing is held up by it."""
    rig = RoutedRig("one")
    rig.ask()
    rig.one.last.fail(errors.ConnectFailed("x"))
    assert len(rig.one.asks) == 1
    rig.clock.advance(1)
    rig.one.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    first, second = rig.record().attempts
    assert (first.result, second.result) == ("connect_error", "ok")
    assert second.move == Move(MoveKind.RETRY, "one", "connect_error")


def test_failures_of_ours_are_told_in_the_clients_dialect() -> None:
    """Without a second chance a failure before the head is an error of ours."""
    rig = RoutedRig(retry=ONCE, one={"dialect": "anthropic"})
    rig.ask(MESSAGES, path=b"/v1/messages")
    rig.one.last.fail(errors.ConnectTimedOut("x"))
    status, _, body = rig.answer()
    assert status == 504
    assert json.loads(body)["type"] == "error"
    assert rig.record().outcome == "upstream_timeout"


def test_a_client_that_leaves_while_a_retry_is_awaited_is_told_of_once() -> None:
    """The attempt that failed is in the record one time, and nothing is sent any more."""
    rig = RoutedRig("one")
    rig.ask()
    rig.one.last.give(500, ERROR)
    assert not rig.client.received
    rig.client.leave()
    record = rig.record()
    assert [(one.provider, one.result) for one in record.attempts] == [("one", "http_5xx")]
    assert (record.provider, record.model) == ("one", "other")
    assert (record.status, record.outcome, record.phase) == (499, "client_disconnect", "before_first_byte")


def test_a_circuit_that_opens_while_a_retry_is_awaited_is_told() -> None:
    """503, when it may be tried again, and the attempt that there was, once."""
    rig = RoutedRig("one")
    rig.ask()
    rig.one.last.give(500, ERROR)
    [*breakers] = rig.gateway.breakers.values()
    for breaker in breakers:
        breaker.rest(60, rig.clock.seconds())
    rig.clock.advance(1)
    status, fields, body = rig.answer()
    assert (status, json.loads(body)["error"]["code"]) == (429, "upstream_rate_limited")
    assert fields[b"retry-after"] == b"59"
    assert fields[b"x-openai-proxy-attempts"] == b"1"
    assert rig.results() == [("one", "http_5xx")]


def test_a_target_that_is_open_is_passed_over() -> None:
    """Its failures are known: the next one is asked first, and the record says why."""
    rig = RoutedRig(breaker=Breaker(min_attempts=1, open_seconds=9))
    rig.ask()
    rig.one.last.give(500, ERROR)
    rig.two.last.give(200, b"{}")
    rig.ask()
    assert len(rig.one.asks) == 1
    rig.two.last.give(200, b"{}")
    rig.client.done()
    assert rig.changes == [("one", "one-model", "open")]
    [attempt] = rig.sink.ended[1].attempts
    assert attempt.move == Move(MoveKind.FALLBACK, "one", "circuit_open")


def test_a_trial_that_cannot_begin_is_given_back(nothing_left: list[object]) -> None:
    """A bug of ours in making an attempt is a 500, and keeps no circuit half-open for ever."""
    rig = RoutedRig("one", breaker=Breaker(min_attempts=1, open_seconds=1), retry=ONCE)
    rig.ask()
    rig.one.last.give(500, ERROR)
    rig.clock.advance(2)
    addressing = rig.gateway.targets["one"].addressing
    assert addressing is not None
    # As if there were no such provider.
    target = rig.gateway.targets.pop("one")  # type: ignore[attr-defined]
    rig.ask()
    assert rig.answer()[0] == 500
    rig.gateway.targets["one"] = target  # type: ignore[index]
    rig.ask()
    rig.one.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    rig.client.done()
    rig.check_given_back()
    nothing_left.clear()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [(b"/v1/chat/completions", 404, "model_not_found"), (b"/v1/files?provider=x", 404, "provider_not_found")],
)
def test_what_leads_nowhere_is_refused(path: bytes, status: int, code: str) -> None:
    """A clear error; nobody is asked, and nobody is blamed."""
    rig = RoutedRig()
    rig.ask(CHAT.replace(b"fast", b"nobody/x"), path=path)
    got, fields, body = rig.answer()
    assert (got, json.loads(body)["error"]["code"]) == (status, code)
    assert fields[b"x-openai-proxy-attempts"] == b"0"
    assert b"x-openai-proxy-provider" not in fields
    assert rig.record().provider == "none"


def test_a_model_that_cannot_stand_in_a_path_is_the_clients_error() -> None:
    """400 at once, though the key was there at once too."""
    paths = {"prefix": "/deployments/{model}", "endpoints": ("chat/completions",)}
    rig = RoutedRig(one={"model_paths": _model_paths(paths)})
    rig.ask(CHAT.replace(b"fast", b"one/../x"))
    status, _, body = rig.answer()
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_model")
    assert rig.record().outcome == "client_error"


def _model_paths(paths: dict[str, Any]) -> ModelPaths:
    return ModelPaths(**paths)


def test_a_model_that_cannot_be_found_in_time_is_the_clients_error() -> None:
    """400, and nobody is asked: a body of a million members would hold up everybody."""
    rig = RoutedRig()
    rig.ask(b'{"a":{"model":"x"},' + b'"x":1,' * 60_000 + b'"model":"fast","messages":[]}')
    status, _, body = rig.answer()
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_json")
    assert rig.record().outcome == "client_error"


def test_a_body_over_the_holding_limit_goes_to_the_default_provider() -> None:
    """Its model is not known: it stands in no path, and is `other` in the numbers."""
    paths = _model_paths({"prefix": "/deployments/{model}", "endpoints": ("chat/completions",)})
    rig = RoutedRig(limits=Limits(held_body_bytes=10), one={"model_paths": paths})
    rig.ask()
    [ask] = rig.one.asks
    assert (ask.url, ask.sent) == (b"http://one/v1/chat/completions", CHAT)
    ask.give(200, b"{}")
    assert b"x-openai-proxy-model" not in rig.answer()[1]
    assert rig.record().model == "other"


def test_a_form_is_held_for_its_model() -> None:
    """Asked for with a 100 where the client waits for one; the name in it is the target's."""
    rig = RoutedRig()
    head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n%b\r\nExpect: 100-continue\r\n"
    rig.client.send(head % FORM_TYPE + b"Content-Length: %d\r\n\r\n" % len(FORM))
    assert rig.client.received.startswith(b"HTTP/1.1 100 Continue")
    rig.client.send(FORM)
    assert rig.one.last.sent == FORM.replace(b"\r\nfast\r\n", b"\r\none-model\r\n")
    rig.one.last.give(500, ERROR)
    assert rig.two.last.sent == FORM.replace(b"\r\nfast\r\n", b"\r\ntwo-model\r\n")
    rig.two.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    rig.record()


def test_a_form_that_is_too_long_for_another_name_is_refused() -> None:
    """It would be sent with a name that its target does not know."""
    rig = RoutedRig(limits=Limits(held_body_bytes=10))
    rig.ask(FORM, FORM_TYPE, path=b"/v1/audio/transcriptions")
    status, _, body = rig.answer()
    assert (status, json.loads(body)["error"]["param"]) == (400, "model")
    rig.record()


@pytest.mark.parametrize("first", [0, 20, 4000, 5500])
def test_a_form_that_is_too_long_to_be_held_is_routed_by_its_beginning(first: int) -> None:
    """Whatever of it came with its head: what is not known yet is no reason for the default provider."""
    models = {"fast": Route(targets=(Target(provider="two"),))}
    rig = RoutedRig(models=models, limits=Limits(held_body_bytes=5000))
    form = FORM.replace(b"abc", b"a" * 9000)
    head = b"POST /v1/images/edits HTTP/1.1\r\nHost: x\r\n%b\r\nContent-Length: %d\r\n\r\n"
    rig.client.send(head % (FORM_TYPE, len(form)) + form[:first])
    rig.client.send(form[first:])
    assert not rig.one.asks
    assert rig.two.last.sent == form
    rig.two.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    assert rig.record().received_bytes == len(form)
    assert rig.client.site.held_bodies.held_bytes == 0


def test_half_a_body_is_not_sent_twice() -> None:
    """An answer has overtaken its upload: it is the client's, for what still comes could get lost."""
    rig = RoutedRig()
    rig.client.send(
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 6\r\n\r\nabc"
    )
    assert rig.one.last.sent == b"abc"
    rig.one.last.give(500, ERROR)
    assert rig.answer()[0] == 500
    assert rig.record().attempts[0].result == "http_5xx"


def test_a_connection_that_fails_in_an_upload_is_followed_by_another() -> None:
    """What has come of the body is sent again, and then the rest."""
    rig = RoutedRig("one")
    rig.client.send(
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 6\r\n\r\nabc"
    )
    rig.one.last.fail(errors.ConnectFailed("x"))
    rig.clock.advance(1)
    rig.client.send(b"def")
    assert rig.one.last.sent == b"abcdef"
    rig.one.last.give(200, b"{}")
    assert rig.record().outcome == "ok"


def test_a_key_that_cannot_be_had_is_a_failure_of_its_target() -> None:
    """The next one is asked; nothing was sent to the first."""
    keys = Keys()
    rig = RoutedRig(keys={"one": keys}, one={"api_key": Secret("k", "test")})
    rig.ask()
    assert not rig.one.asks
    keys.waiter.errback(TokenUnavailable("x"))
    rig.two.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    assert rig.results() == [("two", "ok")]


def test_a_client_that_leaves_while_a_key_is_awaited_is_not_sent() -> None:
    """Though the key comes later."""
    keys = Keys()
    rig = RoutedRig(keys={"one": keys}, one={"api_key": Secret("k", "test")})
    rig.ask()
    rig.client.leave()
    assert keys.waiter.called
    record = rig.record()
    assert (record.outcome, record.attempts) == ("client_disconnect", ())


def test_limits_are_told_of_one_that_another_answered_for() -> None:
    """What is left at a target that was too busy is known, though its answer went to nobody."""
    rig = RoutedRig()
    rig.ask()
    rig.one.last.give(429, ERROR)
    rig.two.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    assert [(provider, is_stream) for provider, _, is_stream in rig.sink.answers] == [
        ("one", False),
        ("two", False),
    ]
