"""``GET /v1/models``: what is asked of whom, what is kept, and what a client gets of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from openai_proxy.config.configuration import load
from openai_proxy.config.secret import SecretReader
from openai_proxy.config.settings import Settings
from openai_proxy.exchange.model_fetch import FETCH_SECONDS, LIST_BYTES
from openai_proxy.exchange.model_lists import FRESH_SECONDS, KEPT_SECONDS, RETRY_SECONDS
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Record
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.targets import Wiring
from openai_proxy.wire.errors import ConnectFailed
from openai_proxy.wire.fields import Field, Fields, first_of
from openai_proxy.wire.request import Request
from openai_proxy.wire.response import Response
from tests.support.exchanges import KeptRecords, Transport, context
from tests.support.wire import Client

CATALOGUE = read_catalogue()
SECRETS = SecretReader({"OPENAI": "sk-openai", "GROQ": "sk-groq", "ANTHROPIC": "sk-anthropic"})
OPENAI = "openai: {base_url: 'http://openai/v1', api_key: 'env:OPENAI'}\n"
FORWARDING = "openai: {base_url: 'http://openai/v1'}\n"
GROQ = "groq: {base_url: 'http://groq/openai/v1', api_key: 'env:GROQ'}\n"
ANTHROPIC = "anthropic: {base_url: 'http://anthropic', api_key: 'env:ANTHROPIC'}\n"
OLLAMA = "ollama: {base_url: 'http://ollama/v1'}\n"
ROUTES = "models: {fast: {targets: [{provider: groq, model: llama}]}}\n"


class Upward(Transport):
    """As the agent's own, which treq closes in its way."""

    def loseConnection(self) -> None:
        self.stopProducing()


class Asked:
    """One request that an upstream got."""

    def __init__(self, method: bytes, uri: bytes, fields: list[Field]) -> None:
        self.method, self.uri, self.fields = method, uri, fields
        self.cancelled = False
        self.transport = Upward()
        self.reader: Any = None
        self.deferred: Deferred[IResponse] = Deferred(self._cancel)

    def _cancel(self, _: Deferred[IResponse]) -> None:
        self.cancelled = True

    def first(self, name: bytes) -> bytes | None:
        """A field's value."""
        return first_of(self.fields, name)

    def begin(self, status: int) -> None:
        """The answer's head."""

        def deliver(reader: IProtocol) -> None:
            self.reader = reader
            reader.makeConnection(self.transport)  # type: ignore[arg-type]

        self.deferred.callback(Response(status, b"Fine", Fields(raw=[]), deliver))

    def answer(self, status: int, body: bytes) -> None:
        """All of it."""
        self.begin(status)
        self.reader.dataReceived(body)
        self.reader.connectionLost(Failure(ResponseDone()))

    def lists(self, *names: str, **more: Any) -> None:
        """OpenAI's form, with ``more`` in each entry."""
        data = [{"id": name, "object": "model", "created": 7, "owned_by": "them"} | more for name in names]
        self.answer(200, json.dumps({"object": "list", "data": data}).encode())

    def pages(self, *names: str, more: bool = False) -> None:
        """Anthropic's form."""
        data = [
            {"type": "model", "id": name, "display_name": name.title(), "created_at": "2026-01-01T00:00:00Z"}
            for name in names
        ]
        page = {"data": data, "has_more": more, "first_id": names[0], "last_id": names[-1]}
        self.answer(200, json.dumps(page).encode())


@implementer(IAgent)
class Agent:
    """Keeps what it is asked until the test answers it."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        assert isinstance(headers, Fields)
        self.asked.append(Asked(method, uri, headers.raw))
        return self.asked[-1].deferred


class Rig:
    """The targets of a file, the ``/v1`` that leads to them, and clients of it."""

    def __init__(self, path: Path) -> None:
        configuration = load(path, CATALOGUE, SECRETS, "tcp:0:interface=127.0.0.1")
        self.agent, self.sink = Agent(), KeptRecords()
        self.client = Client(self._handle)
        self._others: list[Client] = []
        metrics = Metrics(new_registry())
        self.wiring = Wiring(configuration, Settings(), self.agent, self.client.clock, metrics)

    def _handle(self, request: Request) -> None:
        shared = context(self.client.clock, self.sink, request.channel.site.held_bodies)
        self.wiring.routes(shared)[b"v1"].render(request)

    def another(self) -> Client:
        """A second client, on the same clock."""
        client = Client(self._handle)
        self._others.append(client)
        return client

    def ask(self, *fields: bytes, method: bytes = b"GET", target: bytes = b"/v1/models") -> None:
        """What is asked of a client's connection; of a new one, where that was idle for too long."""
        if not self.client.is_open():
            self.client.leave()
            self.client.connect(self.client.site)
        self.client.transport.clear()
        self.client.send(b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: x", *fields, b"", b""]))

    def upstream(self, host: str) -> Asked:
        """The last request of a host's that has no answer."""
        (one,) = [one for one in self.agent.asked if one.uri.startswith(f"http://{host}/".encode())]
        self.agent.asked.remove(one)
        return one

    def nobody_asked(self) -> bool:
        """Whether no request is left that the test has not seen."""
        return not self.agent.asked

    def told(self, method: bytes = b"GET", client: Client | None = None) -> tuple[int, Any, str | None]:
        """Status, body, and who is missing."""
        (answer,) = (client or self.client).answers(method)
        status, fields, body = answer
        missing = first_of(fields, b"x-openai-proxy-missing")
        return status, json.loads(body) if body else None, None if missing is None else missing.decode()

    def names(self) -> list[str]:
        """Of a list that is whole."""
        status, body, missing = self.told()
        assert (status, missing) == (200, None)
        return [one["id"] for one in body["data"]]

    def pass_seconds(self, seconds: float) -> None:
        self.client.clock.advance(seconds)
        self.client.settle()

    def done(self) -> list[Record]:
        """The records; nothing is left to wait for."""
        self.client.leave()
        for other in self._others:
            other.leave()
        for one in self.wiring.fetching:
            one.stop()
        assert not self.client.clock.getDelayedCalls()
        assert len(self.sink.began) == len(self.sink.ended)
        return self.sink.ended


Make = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A daemon of these providers."""

    def make_(*providers: str, more: str = "") -> Rig:
        path = tmp_path / "proxy.yaml"
        path.write_text("providers:\n" + "".join(f"  {one}" for one in providers) + more)
        return Rig(path)

    return make_


def test_merged(make: Make) -> None:
    """Routes first, then each provider's models with its name, the default's under their own too."""
    rig = make(OPENAI, GROQ, more=ROUTES)
    rig.ask(b"Authorization: Bearer sk-client")
    openai, groq = rig.upstream("openai"), rig.upstream("groq")
    assert (openai.method, openai.uri) == (b"GET", b"http://openai/v1/models")
    assert groq.uri == b"http://groq/openai/v1/models"
    # In whatever order they come.
    groq.lists("llama")
    openai.lists("gpt-4o", "o3", context_window=9)
    status, body, missing = rig.told()
    assert (status, missing, body["object"]) == (200, None, "list")
    assert body["data"] == [
        {"id": "fast", "object": "model", "created": 0, "owned_by": "openai_proxy"},
        *(
            {"id": name, "object": "model", "created": 7, "owned_by": "them", "context_window": 9}
            for name in ("openai/gpt-4o", "openai/o3", "gpt-4o", "o3")
        ),
        {"id": "groq/llama", "object": "model", "created": 7, "owned_by": "them"},
    ]
    (record,) = rig.done()
    assert (record.endpoint, record.provider, record.model) == ("models", "none", "none")
    assert (record.outcome, record.status, record.attempts) == (Outcome.OK, 200, ())


def test_each_key_to_its_own_provider(make: Make) -> None:
    """The client's key goes to nobody where the keys are ours, and to none of the others anyway."""
    rig = make(FORWARDING, GROQ, "mistral: {base_url: 'http://mistral/v1'}\n", OLLAMA)
    rig.ask(
        b"Authorization: Bearer sk-client", b"OpenAI-Organization: org", target=b"/v1/models?key=sk-query"
    )
    openai, groq, ollama = (rig.upstream(name) for name in ("openai", "groq", "ollama"))
    # Not mistral: it would have a client's key, and that is the default provider's.
    assert rig.nobody_asked()
    assert openai.first(b"authorization") == b"Bearer sk-client"
    assert openai.first(b"openai-organization") == b"org"
    assert openai.uri == b"http://openai/v1/models"
    assert groq.first(b"authorization") == b"Bearer sk-groq"
    assert ollama.first(b"authorization") is None
    for other in (groq, ollama):
        assert b"sk-client" not in repr(other.fields).encode()
        assert b"?" not in other.uri
    for one in (openai, groq, ollama):
        one.lists("m")
    assert rig.names() == ["openai/m", "m", "groq/m", "ollama/m"]
    rig.done()


def test_a_clients_own_list_is_no_other_clients(make: Make) -> None:
    """It is asked for each time; what the others list is kept."""
    rig = make(FORWARDING, GROQ)
    rig.ask(b"Authorization: Bearer sk-1")
    rig.upstream("groq").lists("llama")
    rig.upstream("openai").lists("secret-model")
    assert "secret-model" in rig.names()
    rig.ask(b"Authorization: Bearer sk-2")
    openai = rig.upstream("openai")
    assert openai.first(b"authorization") == b"Bearer sk-2"
    assert rig.nobody_asked()
    openai.lists("other")
    assert rig.names() == ["openai/other", "other", "groq/llama"]
    rig.done()


def test_kept_for_a_minute(make: Make) -> None:
    """Until then nobody is asked again, whoever wants it."""
    rig = make(OPENAI, GROQ)
    rig.ask()
    rig.upstream("openai").lists("a")
    rig.upstream("groq").lists("b")
    first = rig.names()
    rig.pass_seconds(FRESH_SECONDS - 1)
    rig.ask()
    assert (rig.names(), rig.nobody_asked()) == (first, True)
    rig.pass_seconds(1)
    rig.ask()
    rig.upstream("openai").lists("c")
    rig.upstream("groq").lists("b")
    assert rig.names() == ["openai/c", "c", "groq/b"]
    assert len(rig.done()) == 3


def test_one_fetch_for_all_who_wait(make: Make) -> None:
    """A client that leaves ends its own wait, and not what others wait for."""
    rig = make(OPENAI, GROQ)
    rig.ask()
    other = rig.another()
    other.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    openai, groq = rig.upstream("openai"), rig.upstream("groq")
    rig.client.leave()
    (left,) = rig.sink.ended
    assert (left.outcome, left.provider) == (Outcome.CLIENT_DISCONNECT, "none")
    openai.lists("a")
    groq.lists("b")
    assert not (openai.cancelled or groq.cancelled)
    assert rig.told(client=other)[0] == 200
    assert [one.outcome for one in rig.done()] == [Outcome.CLIENT_DISCONNECT, Outcome.OK]


@pytest.mark.parametrize("has_begun", [False, True], ids=["head", "body"])
def test_a_client_that_leaves_ends_what_only_it_waits_for(make: Make, has_begun: bool) -> None:
    """The request with its own key; the others' lists are kept for whoever comes."""
    rig = make(GROQ, FORWARDING)
    rig.ask(b"Authorization: Bearer sk-client")
    openai, groq = rig.upstream("openai"), rig.upstream("groq")
    if has_begun:
        openai.begin(200)
    rig.client.leave()
    assert (openai.transport.calls == ["stop"]) if has_begun else openai.cancelled
    assert not groq.cancelled
    groq.lists("b")
    (record,) = rig.done()
    assert record.outcome is Outcome.CLIENT_DISCONNECT


def test_a_provider_that_fails_is_named_and_left_alone(make: Make) -> None:
    """A failed one is not waited for again at once."""
    rig = make(OPENAI, GROQ)
    rig.ask()
    rig.upstream("openai").lists("a")
    rig.upstream("groq").answer(500, b"{}")
    status, body, missing = rig.told()
    assert (status, missing) == (200, "groq")
    assert [one["id"] for one in body["data"]] == ["openai/a", "a"]
    rig.pass_seconds(RETRY_SECONDS - 1)
    rig.ask()
    assert rig.nobody_asked()
    assert rig.told()[2] == "groq"
    rig.pass_seconds(1)
    rig.ask()
    rig.upstream("groq").lists("b")
    assert rig.names() == ["openai/a", "a", "groq/b"]
    rig.done()


def test_the_last_list_stands_in_for_one_that_fails(make: Make) -> None:
    """For ten minutes; then the provider is missing."""
    rig = make(OPENAI, GROQ)

    def ask() -> tuple[int, Any, str | None]:
        rig.ask()
        rig.upstream("openai").lists("a")
        rig.upstream("groq").answer(503, b"")
        return rig.told()

    rig.ask()
    rig.upstream("openai").lists("a")
    rig.upstream("groq").lists("b")
    rig.pass_seconds(FRESH_SECONDS)
    _, body, missing = ask()
    assert (len(body["data"]), missing) == (3, None)
    rig.pass_seconds(KEPT_SECONDS - FRESH_SECONDS)
    _, body, missing = ask()
    assert (len(body["data"]), missing) == (2, "groq")
    rig.done()


def test_a_provider_that_is_too_slow_is_let_go_of(make: Make) -> None:
    """Before its head, or in the middle of its body; the others' lists are told."""
    rig = make(OPENAI, GROQ, ANTHROPIC)
    rig.ask()
    openai, groq, anthropic = (rig.upstream(name) for name in ("openai", "groq", "anthropic"))
    openai.lists("a")
    groq.begin(200)
    groq.reader.dataReceived(b'{"data":[')
    rig.pass_seconds(FETCH_SECONDS)
    assert anthropic.cancelled
    assert groq.transport.calls == ["stop"]
    # Its end comes when it comes.
    groq.reader.connectionLost(Failure(ConnectFailed()))
    assert rig.told()[2] == "groq,anthropic"
    rig.done()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"null", b"{}", b'{"data":7}', b'"text"', b"x" * (LIST_BYTES + 1), b"[" * 5000],
    ids=["empty", "html", "null", "object", "number", "text", "long", "deep"],
)
def test_what_is_no_list_is_missing(make: Make, body: bytes) -> None:
    """A body that says nothing, or too much."""
    rig = make(OPENAI, GROQ)
    rig.ask()
    rig.upstream("openai").lists("a")
    groq = rig.upstream("groq")
    groq.answer(200, body)
    assert groq.transport.calls == (["stop"] if len(body) > LIST_BYTES else [])
    assert rig.told()[2] == "groq"
    rig.done()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"object":"list","data":null}', []),
        (b'[{"id":"m"},{"id":"m"},{"id":""},{"id":7},{},5]', ["m"]),
        (b'{"data":[{"id":"models/gemini-x","owned_by":"google"}]}', ["gemini-x"]),
        (b'{"data":[{"id":"models/mine","owned_by":"vllm"}]}', ["models/mine"]),
        (b'{"data":[{"id":"a/b"}]}', ["a/b"]),
    ],
    ids=["ollama", "together", "gemini", "a folder", "slash"],
)
def test_forms_of_lists(make: Make, body: bytes, names: list[str]) -> None:
    """What providers say in the stead of OpenAI's form; each entry has what an SDK wants of it."""
    rig = make(OPENAI, GROQ)
    rig.ask()
    rig.upstream("openai").answer(404, b"")
    rig.upstream("groq").answer(200, body)
    assert rig.names() == [f"groq/{name}" for name in names]
    for entry in rig.told()[1]["data"]:
        assert set(entry) == {"id", "object", "created", "owned_by"}
    rig.done()


def test_a_provider_without_a_list_is_not_missing(make: Make) -> None:
    """As Perplexity; and that there is none is kept as a list is."""
    rig = make(OPENAI, "perplexity: {base_url: 'http://perplexity', api_key: 'env:GROQ'}\n")
    rig.ask()
    rig.upstream("openai").lists("a")
    perplexity = rig.upstream("perplexity")
    assert perplexity.uri == b"http://perplexity/models"
    perplexity.answer(404, b"")
    assert rig.names() == ["openai/a", "a"]
    rig.ask()
    assert rig.nobody_asked()
    rig.done()


def test_plain_names_that_lead_elsewhere_are_not_listed(make: Make) -> None:
    """A route's name is the route's; a plain one with a slash would be refused."""
    rig = make(OPENAI, GROQ, more="models: {o3: {targets: [{provider: groq, model: x}]}}\n")
    rig.ask()
    rig.upstream("openai").lists("o3", "meta/llama", "gpt-4o")
    rig.upstream("groq").lists("x")
    assert rig.names() == ["o3", "openai/o3", "openai/meta/llama", "openai/gpt-4o", "gpt-4o", "groq/x"]
    rig.done()


def test_anthropics_pages_in_openais_form(make: Make) -> None:
    """All of them, asked for with its own key in its own form."""
    rig = make(OPENAI, ANTHROPIC)
    rig.ask(b"Authorization: Bearer sk-client")
    rig.upstream("openai").lists("a")
    first = rig.upstream("anthropic")
    assert first.uri == b"http://anthropic/v1/models?limit=1000"
    assert first.first(b"x-api-key") == b"sk-anthropic"
    assert first.first(b"anthropic-version") == b"2023-06-01"
    assert first.first(b"authorization") is None
    first.pages("claude-b", more=True)
    second = rig.upstream("anthropic")
    assert second.uri == b"http://anthropic/v1/models?limit=1000&after_id=claude-b"
    second.pages("claude-a")
    assert rig.names() == ["openai/a", "a", "anthropic/claude-b", "anthropic/claude-a"]
    assert rig.told()[1]["data"][2] == {
        "id": "anthropic/claude-b",
        "object": "model",
        "created": 1767225600,
        "owned_by": "anthropic",
    }
    rig.done()


def test_pages_without_end_are_not_followed_for_ever(make: Make) -> None:
    """A provider that says each time that there are more."""
    rig = make(OPENAI, ANTHROPIC)
    rig.ask()
    rig.upstream("openai").lists("a")
    pages = 0
    while not rig.nobody_asked():
        rig.upstream("anthropic").pages("claude", more=True)
        pages += 1
    assert 1 < pages <= 100
    assert rig.names() == ["openai/a", "a", "anthropic/claude"]
    rig.done()


def test_for_a_client_of_anthropics(make: Make) -> None:
    """One page in its form; what Anthropic says of its own models is kept."""
    rig = make(OPENAI, ANTHROPIC, more="models: {fast: {targets: [{provider: openai}]}}\n")
    rig.ask(b"anthropic-version: 2023-06-01", target=b"/v1/models?limit=1&after_id=x&beta=true")
    rig.upstream("openai").lists("gpt-4o")
    rig.upstream("anthropic").pages("claude")
    status, body, _ = rig.told()
    assert status == 200
    assert [one["id"] for one in body["data"]] == ["fast", "openai/gpt-4o", "gpt-4o", "anthropic/claude"]
    assert body["data"][3] == {
        "type": "model",
        "id": "anthropic/claude",
        "display_name": "Claude",
        "created_at": "2026-01-01T00:00:00Z",
    }
    assert {one["type"] for one in body["data"]} == {"model"}
    assert {name: body[name] for name in body if name != "data"} == {
        "has_more": False,
        "first_id": "fast",
        "last_id": "anthropic/claude",
    }
    # The same lists, in the other form.
    rig.ask()
    assert rig.nobody_asked()
    assert rig.names()[0] == "fast"
    rig.done()


def test_an_anthropic_default_gets_the_clients_key_in_its_form(make: Make) -> None:
    """A key in an Authorization is one in x-api-key there, and the paging is ours."""
    rig = make(GROQ, "anthropic: {base_url: 'http://anthropic'}\n", more="default_provider: anthropic\n")
    rig.ask(b"Authorization: Bearer sk-client", target=b"/v1/models?limit=2")
    rig.upstream("groq").lists("m")
    anthropic = rig.upstream("anthropic")
    assert anthropic.uri == b"http://anthropic/v1/models?limit=1000"
    assert anthropic.first(b"x-api-key") == b"sk-client"
    assert anthropic.first(b"accept-encoding") == b"identity"
    anthropic.pages("claude")
    assert rig.names() == ["groq/m", "anthropic/claude", "claude"]
    rig.done()


def test_head(make: Make) -> None:
    """The fields of a GET, and no body; upstreams are asked by GET."""
    rig = make(OPENAI, GROQ)
    rig.ask(method=b"HEAD")
    openai = rig.upstream("openai")
    assert openai.method == b"GET"
    openai.lists("a")
    rig.upstream("groq").answer(500, b"")
    assert rig.told(b"HEAD") == (200, None, "groq")
    rig.done()


@pytest.mark.parametrize(
    ("dialect", "status", "expected"),
    [("openai", 401, 401), ("anthropic", 403, 403), ("openai", 500, 502)],
)
def test_nothing_to_be_listed_is_an_error(make: Make, dialect: str, status: int, expected: int) -> None:
    """That of the default provider, in the client's dialect: a key that is refused is said to be."""
    rig = make(FORWARDING, "mistral: {base_url: 'http://mistral/v1'}\n")
    rig.ask(
        b"Authorization: Bearer sk-client", *([b"anthropic-version: x"] if dialect == "anthropic" else [])
    )
    rig.upstream("openai").answer(status, b"{}")
    told, body, missing = rig.told()
    assert (told, missing) == (expected, "openai")
    assert ("type" in body) == (dialect == "anthropic")
    (record,) = rig.done()
    assert record.status == expected
    assert record.outcome is not Outcome.OK


def test_our_own_key_that_is_refused_is_no_matter_of_the_clients(make: Make) -> None:
    """It has another, or none: 502."""
    rig = make(OPENAI, GROQ)
    rig.ask()
    rig.upstream("openai").answer(401, b"{}")
    rig.upstream("groq").deferred.errback(ConnectFailed())
    status, body, missing = rig.told()
    assert (status, missing, body["error"]["code"]) == (502, "openai,groq", "upstream_error")
    (record,) = rig.done()
    assert record.outcome is Outcome.UPSTREAM_ERROR


def test_routes_are_listed_though_all_else_fails(make: Make) -> None:
    """They are known without asking."""
    rig = make(OPENAI, GROQ, more=ROUTES)
    rig.ask()
    for name in ("openai", "groq"):
        rig.upstream(name).deferred.errback(ConnectFailed())
    status, body, missing = rig.told()
    assert (status, missing) == (200, "openai,groq")
    assert [one["id"] for one in body["data"]] == ["fast"]
    rig.done()


def test_one_provider_answers_itself(make: Make) -> None:
    """With no route beside it, its list goes through byte for byte, with its errors."""
    rig = make(OPENAI)
    rig.ask(b"If-None-Match: x", target=b"/v1/models?a=%2F")
    openai = rig.upstream("openai")
    assert openai.uri == b"http://openai/v1/models?a=%2F"
    assert openai.first(b"if-none-match") == b"x"
    openai.answer(200, b'{"data": [] }')
    ((status, fields, body),) = rig.client.answers(b"GET")
    assert (status, body) == (200, b'{"data": [] }')
    assert first_of(fields, b"x-openai-proxy-provider") == b"openai"
    (record,) = rig.done()
    assert record.provider == "openai"


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"POST", b"/v1/models"), (b"GET", b"/v1/models?provider=openai"), (b"GET", b"/v1/models/gpt-4o")],
)
def test_what_is_no_list_goes_its_way(make: Make, method: bytes, target: bytes) -> None:
    """Another method, another path, and a request that names the provider whose list it wants."""
    rig = make(OPENAI, GROQ)
    rig.ask(method=method, target=target)
    openai = rig.upstream("openai")
    assert rig.nobody_asked()
    openai.answer(200, b"{}")
    rig.done()


def test_a_stop_ends_what_is_asked(make: Make) -> None:
    """No fetch outlives the daemon, and none begins."""
    rig = make(OPENAI, GROQ)
    rig.ask()
    openai, groq = rig.upstream("openai"), rig.upstream("groq")
    for one in rig.wiring.fetching:
        one.stop()
    assert openai.cancelled
    assert groq.cancelled
    assert rig.told()[0] == 502
    rig.ask()
    assert rig.nobody_asked()
    rig.done()


def test_no_key_is_logged(make: Make, nothing_left: list[Any]) -> None:
    """What went wrong is said by its kind, in one line."""
    rig = make(OPENAI, GROQ)
    rig.ask()
    rig.upstream("openai").lists("a")
    # A bug of ours, as the agent's refusal of a request would be.
    rig.upstream("groq").deferred.errback(ValueError("not a URI"))
    assert rig.told()[2] == "groq"
    (event,) = nothing_left
    assert "sk-" not in event["log_failure"].getTraceback()
    nothing_left.clear()
    rig.done()
