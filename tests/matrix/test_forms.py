"""The scripted upstreams themselves: what breaks a provider's form is refused in it, and written down."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.matrix.stage import FORMS
from tests.support.forms.form import FOREIGN, FormUpstream
from tests.support.forms.said import CALLS, RESULTS, compact
from tests.support.sockets import Message, Peer

KEY = "sk-of-ours"
HELLO = [{"role": "user", "content": "Say hello"}]
CHAT = {"model": "gpt-4o", "messages": HELLO}
GEMINI = {"model": "gemini-2.5-flash", "messages": HELLO}
MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": HELLO}
KEYS = {
    "openai": {"Authorization": f"Bearer {KEY}"},
    "azure": {"api-key": KEY},
    "anthropic": {"x-api-key": KEY, "anthropic-version": "2023-06-01"},
    "gemini": {"Authorization": f"Bearer {KEY}"},
}
PATHS = {
    "openai": "/v1/chat/completions",
    "azure": "/openai/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/openai/chat/completions",
}
BODIES: dict[str, dict[str, Any]] = {"openai": CHAT, "azure": CHAT, "anthropic": MESSAGE, "gemini": GEMINI}
DEPLOYMENT = "/openai/deployments/gpt-4o/chat/completions"
DATED = "?api-version=2024-10-21"

_CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
_CALLED = {"role": "assistant", "tool_calls": [_CALL]}
_RESULT = {"role": "tool", "tool_call_id": "c1", "content": "21"}
_USE = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {}}
_USED = {"role": "assistant", "content": [_USE]}
_DONE = {"type": "tool_result", "tool_use_id": "t1", "content": "21"}
_TOOL = {"name": "get_weather", "input_schema": {"type": "object"}}
_ASSISTANT = {"role": "assistant", "content": "Hello"}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """The name of each form."""
    name = request.param
    assert isinstance(name, str)
    return name


@pytest.fixture
def upstreams() -> Iterator[Mapping[str, FormUpstream]]:
    """All of them, each with :data:`KEY`."""
    made = {name: kind(KEY) for name, kind in FORMS.items()}
    yield made
    for upstream in made.values():
        upstream.close()


def ask(
    upstream: FormUpstream, path: str, fields: Mapping[str, str], body: object, kind: str = "application/json"
) -> Message:
    """A POST on a connection of its own."""
    port = urlsplit(upstream.url).port
    assert port is not None
    lines = [f"{name}: {value}" for name, value in fields.items()]
    with Peer.connect(port) as peer:
        peer.send_request("POST", path, f"Content-Type: {kind}", *lines, body=json.dumps(body).encode())
        return peer.read_answer("POST")


def test_what_is_in_the_form_is_answered(upstreams: Mapping[str, FormUpstream], form: str) -> None:
    """200, and nothing to say against it."""
    answer = ask(upstreams[form], PATHS[form], KEYS[form], BODIES[form])
    assert (answer.status, upstreams[form].violations) == (200, [])


@pytest.mark.parametrize(
    ("fields", "query", "kind"),
    [
        ({"Authorization": "", "api-key": "", "x-api-key": ""}, "", "application/json"),
        ({"Authorization": f"Bearer {FOREIGN}", "api-key": FOREIGN, "x-api-key": FOREIGN}, "", "a/b"),
        ({"x-goog-api-key": KEY}, "", "application/json"),
        ({"Authorization": f"Bearer {KEY}", "api-key": KEY, "x-api-key": KEY}, "", "application/json"),
        ({}, f"?key={KEY}", "application/json"),
        ({"x-openai-proxy-provider": "openai"}, "", "application/json"),
        ({"x-user": FOREIGN}, "", "application/json"),
        ({}, "", "text/plain"),
    ],
)
def test_a_head_that_breaks_every_form(
    upstreams: Mapping[str, FormUpstream], form: str, fields: dict[str, str], query: str, kind: str
) -> None:
    """Another key, a second spelling of one, one in the query or anywhere, our own fields, another type."""
    answer = ask(upstreams[form], PATHS[form] + query, {**KEYS[form], **fields}, BODIES[form], kind)
    assert answer.status == 400
    assert len(upstreams[form].violations) == 1
    assert KEY not in upstreams[form].violations[0].partition(": ")[2]


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ("openai", {"top_k": 3}),
        ("openai", {"max_tokens": 3, "max_completion_tokens": 3}),
        ("openai", {"stream_options": {"include_usage": True}}),
        ("openai", {"messages": []}),
        ("openai", {"messages": [{"role": "user", "content": ""}]}),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}),
        ("openai", {"messages": [*HELLO, _CALLED]}),
        ("openai", {"messages": [*HELLO, _RESULT]}),
        ("openai", {"messages": [*HELLO, _CALLED, *HELLO, _RESULT]}),
        ("openai", {"tools": [_TOOL]}),
        ("openai", {"tool_choice": {"type": "any"}}),
        ("openai", {"thinking": {"type": "adaptive"}}),
        ("azure", {"metadata": {"a": 1}}),
        ("gemini", {"store": True}),
        ("gemini", {"messages": [*HELLO, {**_CALLED, "tool_calls": [_CALL]}, _RESULT]}),
        ("anthropic", {"max_tokens": None}),
        ("anthropic", {"max_tokens": 0}),
        ("anthropic", {"temperature": 1.5}),
        ("anthropic", {"temperature": 0.5, "top_p": 0.5}),
        ("anthropic", {"model": "claude-sonnet-5-5", "temperature": 1}),
        ("anthropic", {"response_format": {"type": "json_object"}}),
        ("anthropic", {"stream_options": {"include_usage": True}}),
        ("anthropic", {"system": [{"type": "text"}]}),
        ("anthropic", {"messages": [{"role": "system", "content": "Be brief."}, *HELLO]}),
        ("anthropic", {"messages": [*HELLO, *HELLO]}),
        ("anthropic", {"messages": [*HELLO, _ASSISTANT]}),
        ("anthropic", {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}),
        ("anthropic", {"messages": [*HELLO, _USED, {"role": "user", "content": [_DONE]}]}),
        ("anthropic", {"messages": [*HELLO, _USED, *HELLO], "tools": [_TOOL]}),
        ("anthropic", {"messages": [{"role": "user", "content": [_DONE]}], "tools": [_TOOL]}),
        ("anthropic", {"tool_choice": "auto"}),
    ],
)
def test_a_body_that_breaks_the_form(
    upstreams: Mapping[str, FormUpstream], form: str, change: dict[str, object]
) -> None:
    """Members that are not known, missing, of another type, or together with others; turns out of order."""
    body = {name: value for name, value in {**BODIES[form], **change}.items() if value is not None}
    answer = ask(upstreams[form], PATHS[form], KEYS[form], body)
    assert answer.status == 400
    assert len(upstreams[form].violations) == 1


@pytest.mark.parametrize(
    ("form", "path", "status"),
    [
        ("azure", DEPLOYMENT + DATED, 200),
        ("azure", DEPLOYMENT, 404),
        ("azure", DEPLOYMENT.replace("gpt-4o", "gpt-5") + DATED, 404),
        ("azure", DEPLOYMENT.replace("gpt-4o", "gpt-image-1") + DATED, 400),
        ("azure", "/openai/chat/completions" + DATED, 400),
        ("azure", "/openai/responses" + DATED, 404),
        ("azure", PATHS["azure"] + DATED, 400),
        ("azure", PATHS["openai"], 404),
        ("openai", PATHS["openai"].replace("v1", "v2"), 404),
        ("gemini", PATHS["gemini"].replace("chat/completions", "responses"), 404),
        ("anthropic", PATHS["anthropic"] + "?beta=true", 200),
        ("anthropic", PATHS["anthropic"] + "?api-version=1", 400),
        ("anthropic", PATHS["openai"], 404),
    ],
)
def test_a_path(upstreams: Mapping[str, FormUpstream], form: str, path: str, status: int) -> None:
    """Where a provider has nothing is its 404; where it has something else, or otherwise, is a violation."""
    answer = ask(upstreams[form], path, KEYS[form], BODIES[form])
    assert answer.status == status
    assert len(upstreams[form].violations) == (status == 400)


@pytest.mark.parametrize("version", [None, "2024-01-01", "2026-10-21"])
def test_the_version_of_messages(upstreams: Mapping[str, FormUpstream], version: str | None) -> None:
    """It must be there and known; the newer one takes no ``temperature``."""
    fields = {"x-api-key": KEY} | ({} if version is None else {"anthropic-version": version})
    answer = ask(upstreams["anthropic"], PATHS["anthropic"], fields, {**MESSAGE, "temperature": 1})
    assert answer.status == 400


def test_a_turn_whose_calls_came_back_changed(upstreams: Mapping[str, FormUpstream]) -> None:
    """Names, arguments and results are those that were given, in their order."""
    calls = [
        {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": compact(arguments)}}
        for place, (name, arguments) in enumerate(CALLS)
    ]
    said = [
        {"role": "tool", "tool_call_id": call["id"], "content": result}
        for call, result in zip(calls, RESULTS, strict=True)
    ]
    turns = [*HELLO, {"role": "assistant", "tool_calls": calls}]
    for results, status in ((said, 200), (said[::-1], 400)):
        body = {**CHAT, "messages": [*turns, *results]}
        assert ask(upstreams["openai"], PATHS["openai"], KEYS["openai"], body).status == status
