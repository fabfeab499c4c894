"""What is wrong with the request itself: said in the client's own dialect, and sent to nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faults.support import Answer
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.support import World, chat, get, post, transcription

MESSAGES = "/v1/messages"
COMPLETIONS = "/v1/chat/completions"
DIALECTS = [COMPLETIONS, MESSAGES]


def asked_with(path: str, model: object) -> bytes:
    """For this model."""
    messages = [{"role": "user", "content": "hi"}]
    return post(path, {"model": model, "max_tokens": 10, "messages": messages})


def check_error(answered: Answer, path: str, status: int, code: str, param: str | None) -> str:
    """It is an error in the dialect of the path; its message."""
    assert (answered.status, answered.whole) == (status, True)
    assert answered.values(b"content-type") == [b"application/json"]
    assert not answered.values(b"x-openai-proxy-provider")
    assert answered.values(b"x-openai-proxy-attempts") in ([b"0"], [])
    content: dict[str, Any] = json.loads(answered.body)
    error = content["error"]
    if path == MESSAGES:
        assert content.keys() <= {"type", "error", "request_id"}
        assert content["type"] == "error"
        types = {400: "invalid_request_error", 404: "not_found_error"}
        assert error == {"type": types[status], "message": error["message"]}
    else:
        assert content.keys() == {"error"}
        wanted = {"type": "invalid_request_error", "code": code, "param": param}
        assert error == {**wanted, "message": error["message"]}
    assert error["message"]
    return str(error["message"])


async def check_numbers(proxy: World, upstreams: Upstreams, requests: int, status: int) -> None:
    """Nobody was asked, and nobody is to blame but the client."""
    assert [one.attempts for one in upstreams.values()] == [0] * len(upstreams)
    numbers = await proxy.numbers()
    assert numbers.requests == {("none", str(status), "client_error"): requests}
    assert numbers.attempts == {}
    assert numbers.of("http_requests_total", "model", provider="none").keys() <= {"none", "other"}
    assert numbers.of("openai_proxy_errors_total", "provider", "source", "type") == {
        ("none", "proxy", "invalid_request_error"): requests
    }


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    "model",
    ["nobody/x", "nobody/", "/x", "no/a/b/c", "NOBODY/x", "fst/x\r\nx-evil: 1", "ü/ö", "x/" + "y" * 10_000],
)
async def test_a_provider_before_the_slash_that_there_is_not(
    world: MakeWorld, upstreams: Upstreams, path: str, model: str
) -> None:
    """404, and what the client asked for, cut short."""
    proxy = world(["a", "b"])
    answered = await proxy.ask(asked_with(path, model))
    message = check_error(answered, path, 404, "model_not_found", "model")
    assert len(message) < 500
    assert not answered.values(b"x-evil")
    await check_numbers(proxy, upstreams, 1, 404)


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_name_that_is_near_another(world: MakeWorld, upstreams: Upstreams, path: str) -> None:
    """What may have been meant is said."""
    proxy = world(["alpha", "beta"])
    answered = await proxy.ask(asked_with(path, "alhpa/gpt-4o"))
    message = check_error(answered, path, 404, "model_not_found", "model")
    assert "alpha/gpt-4o" in message


@pytest.mark.parametrize("path", DIALECTS)
async def test_a_provider_without_a_model(world: MakeWorld, upstreams: Upstreams, path: str) -> None:
    """``a/`` names none."""
    proxy = world(["a", "b"])
    check_error(await proxy.ask(asked_with(path, "a/")), path, 404, "model_not_found", "model")
    await check_numbers(proxy, upstreams, 1, 404)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("name", ["nobody", "A", "none", "other", "ü", "x" * 10_000, "a b", "a,b"])
async def test_a_provider_that_is_named_and_is_not(
    world: MakeWorld, upstreams: Upstreams, path: str, name: str
) -> None:
    """In the field and in the query alike."""
    proxy = world(["a", "b"])
    request = asked_with(path, "m")
    field = f"x-openai-proxy-provider: {name}\r\n".encode("latin-1")
    in_field = request.replace(b"Host: x\r\n", b"Host: x\r\n" + field)
    percent = name.replace(" ", "%20").replace("ü", "%FC")
    in_query = request.replace(path.encode(), f"{path}?provider={percent}".encode(), 1)
    for one in (in_field, in_query):
        answered = await proxy.ask(one)
        message = check_error(answered, path, 404, "provider_not_found", "provider")
        assert len(message) < 500
    await check_numbers(proxy, upstreams, 2, 404)


async def test_a_provider_of_a_request_without_a_body(world: MakeWorld, upstreams: Upstreams) -> None:
    """GET and DELETE too."""
    proxy = world(["a", "b"])
    for method in ("GET", "DELETE"):
        answered = await proxy.ask(get("/v1/files/x?provider=nobody", method=method), method.encode())
        check_error(answered, COMPLETIONS, 404, "provider_not_found", "provider")
    await check_numbers(proxy, upstreams, 2, 404)


NO_JSON = [
    b"",
    b" ",
    b"hello",
    b'{"model": "fast"',
    b"{'model': 'fast'}",
    b'{"model": "fast",}',
    b"\xff\xfe{",
    b'{"model": "fast"} {}',
    b"{" * 100_000,
    b"[" * 100_000,
]
NO_OBJECT = [b"null", b"[]", b'"fast"', b"1", b'[{"model": "fast"}]']
NO_MODEL = [b"{}", b'{"messages": []}', b'{"model": ""}', b'{"Model": "fast"}']
NO_STRING = [b'{"model": 1}', b'{"model": null}', b'{"model": ["fast"]}', b'{"model": {"a": 1}}']


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("body", [*NO_JSON, *NO_OBJECT], ids=lambda body: str(body[:24]))
async def test_a_body_that_is_no_json_object(
    world: MakeWorld, upstreams: Upstreams, path: str, body: bytes
) -> None:
    """400, and nobody is asked: there is no telling whose it is."""
    proxy = world(["a", "b"])
    answered = await proxy.ask(post(path, body))
    check_error(answered, path, 400, "invalid_json", None)
    await check_numbers(proxy, upstreams, 1, 400)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("body", [*NO_MODEL, *NO_STRING], ids=str)
async def test_no_model(world: MakeWorld, upstreams: Upstreams, path: str, body: bytes) -> None:
    """400: it is a required member, and a string."""
    proxy = world(["a", "b"])
    answered = await proxy.ask(post(path, body))
    check_error(
        answered, path, 400, "invalid_type" if body in NO_STRING else "missing_required_parameter", "model"
    )
    await check_numbers(proxy, upstreams, 1, 400)


async def test_endpoints_that_need_no_model(world: MakeWorld, upstreams: Upstreams) -> None:
    """Their requests are the default provider's; what is no JSON at all is refused all the same."""
    proxy = world(["a", "b"])
    for path in ("/v1/responses", "/v1/images/generations", "/v1/moderations", "/v1/chat/completions/id"):
        assert (await proxy.ask(post(path, {"input": "hi"}))).status == 200
    assert upstreams["a"].attempts == 4
    check_error(await proxy.ask(post("/v1/responses", b"hello")), COMPLETIONS, 400, "invalid_json", None)


@pytest.mark.parametrize("body", [b"", b"hello", b"{}", b'{"model": 1}', b"[]"], ids=str)
async def test_one_provider_alone_hears_everything(
    world: MakeWorld, upstreams: Upstreams, body: bytes
) -> None:
    """There is no doubt whose it is: it may have a model of its own for it, or says what is wrong."""
    proxy = world(["a"])
    assert (await proxy.ask(post(COMPLETIONS, body))).status == 200
    both = world(["a", "b"])
    assert (await both.ask(post(f"{COMPLETIONS}?provider=b", body))).status == 200
    assert (upstreams["a"].asked[0].body, upstreams["b"].asked[0].body) == (body, body)


@pytest.mark.parametrize("model", ["unknown", "a\r\nx-evil: 1", "x" * 10_000, "modèle", "\x00", "..", "🦙"])
async def test_any_other_name_is_the_default_providers(
    world: MakeWorld, upstreams: Upstreams, model: str
) -> None:
    """It knows its models, and we do not: the name reaches it as it is, and goes nowhere else."""
    proxy = world(["a", "b"])
    answered = await proxy.ask(chat(model=model))
    assert answered.status == 200
    assert upstreams["a"].asked[0].json["model"] == model
    assert upstreams["b"].attempts == 0
    for values in (answered.values(b"x-evil"), upstreams["a"].asked[0].values("x-evil")):
        assert not values
    named = answered.values(b"x-openai-proxy-model")
    assert named in ([], [model.encode()])
    assert b"\r" not in b"".join(named)
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "200", "ok"): 1}
    assert "evil" not in numbers.text
    assert max(map(len, numbers.text.splitlines())) < 1000


@pytest.mark.parametrize("model", ["../../v1/files", "a/../b", "..", "a\r\nb", "x" * 5000, "ü"])
async def test_a_name_in_a_path(world: MakeWorld, upstreams: Upstreams, model: str) -> None:
    """Where the provider has the model in its path: it stays one segment, or is refused."""
    of = {
        "a": {
            "base_url": upstreams["a"].url,
            "api_key": "env:KEY_A",
            "model_paths": {"prefix": "/of/{model}", "endpoints": ["chat/completions"]},
        }
    }
    proxy = world(["a"], providers=of, models={})
    answered = await proxy.ask(chat(model=model))
    if ".." in model:
        check_error_of_model(answered)
        assert upstreams["a"].attempts == 0
    else:
        assert answered.status == 200
        target = upstreams["a"].asked[0].target
        assert target.startswith("/of/")
        assert target.count("/") == 4


def check_error_of_model(answered: Answer) -> None:
    """400, in OpenAI's form."""
    assert answered.status == 400
    error = json.loads(answered.body)["error"]
    assert (error["code"], error["param"]) == ("invalid_model", "model")


async def test_a_form_without_a_model(world: MakeWorld, upstreams: Upstreams) -> None:
    """As any form that is none of ours, the default provider's."""
    proxy = world(["a", "b"])
    answered = await proxy.ask(transcription().replace(b'name="model"', b'name="mudel"'))
    assert answered.values(b"x-openai-proxy-provider") == [b"a"]


async def test_a_form_that_names_nobody(world: MakeWorld, upstreams: Upstreams) -> None:
    """404, in OpenAI's form."""
    proxy = world(["a", "b"])
    answered = await proxy.ask(transcription(model="nobody/whisper"))
    check_error(answered, COMPLETIONS, 404, "model_not_found", "model")
    await check_numbers(proxy, upstreams, 1, 404)


async def test_the_field_of_anthropics_clients(world: MakeWorld, upstreams: Upstreams) -> None:
    """Who sends ``anthropic-version`` is answered in that form, whatever the path."""
    proxy = world(["a", "b"])
    for path in ("/v1/models/nobody%2Fx", "/v1/files?provider=nobody"):
        answered = await proxy.ask(get(path, "anthropic-version: 2023-06-01"), b"GET")
        assert answered.status == 404
        content = json.loads(answered.body)
        assert (content["type"], content["error"]["type"]) == ("error", "not_found_error")


async def test_upstreams_errors_in_the_dialect_of_messages(world: MakeWorld, upstreams: Upstreams) -> None:
    """Who asks in Anthropic's form a provider that cannot be reached is told in that form."""
    upstreams["a"].hangs_up = True
    proxy = world(["a"], retry={"attempts": 1}, breaker={"min_attempts": 2})
    for status, type_ in [(502, "api_error"), (502, "api_error"), (503, "api_error")]:
        answered = await proxy.ask(asked_with(MESSAGES, "m"))
        assert (answered.status, answered.whole) == (status, True)
        content = json.loads(answered.body)
        assert (content["type"], content["error"]["type"]) == ("error", type_)
