"""Secrets that are planted wherever a secret can be occur in nothing that the daemon says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, Daemon, run
from tests.support.sockets import Message, Peer, RawUpstream, Truncated

MARK = "cAnArY7"
_numbers = count(1)
BUGS = """
from openai_proxy.observe.json_observer import JsonObserver
from openai_proxy.relay.client import TransparentClient
from openai_proxy.wire.channel import Channel

request, finish, feed = TransparentClient.request, JsonObserver._finish, Channel._feed


def buggy_request(self, method, url, *arguments, **more):
    secret = (url, more)
    if b"bug=request" in url:
        raise RuntimeError("a bug")
    return request(self, method, url, *arguments, **more)


def buggy_finish(self, whole):
    if any(b"bug=observer" in piece for piece in self._pieces):
        raise RuntimeError("a bug")
    finish(self, whole)


def buggy_feed(self, data):
    if b"bug=channel" in data:
        raise RuntimeError("a bug")
    feed(self, data)


TransparentClient.request, JsonObserver._finish, Channel._feed = buggy_request, buggy_finish, buggy_feed
"""
"""Put into the daemon's process: exceptions with the secrets in their frames."""


def secret() -> str:
    """Another each time, all found by one search."""
    return f"sk-{MARK}-{next(_numbers):04}"


def secret_fields() -> list[str]:
    """Wherever clients have their keys."""
    return [
        f"Authorization: Bearer {secret()}",
        f"api-key: {secret()}",
        f"x-api-key: {secret()}",
        f"x-goog-api-key: {secret()}",
        f"Cookie: session={secret()}",
        f"OpenAI-Organization: {secret()}",
        f"x-{secret()}: {secret()}",
        f"User-Agent: {secret()}",
        f"Referer: http://x/?{secret()}",
    ]


def asked(**more: object) -> bytes:
    """The body of a chat request."""
    said = {
        "messages": [{"role": "user", "content": secret()}],
        "user": secret(),
        "metadata": {secret(): secret()},
    }
    return json.dumps({"model": "gpt-4o", **said, **more}).encode()


def target(path: str = "/v1/chat/completions", more: str = "") -> str:
    """With a key in the query."""
    return f"{path}?key={secret()}&api_key={secret()}&{secret()}{more}"


def fields_of_answer() -> str:
    """An upstream's, with what it would not tell everybody."""
    return f"Set-Cookie: a={secret()}\r\nx-{secret()}: {secret()}\r\nopenai-organization: {secret()}\r\n"


def answer(
    status: int = 200, body: bytes | None = None, media: str = "application/json", more: str = ""
) -> bytes:
    """A whole one."""
    if body is None:
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        said = [{"message": {"content": secret()}}]
        body = json.dumps({"id": secret(), "choices": said, "usage": usage}).encode()
    head = f"HTTP/1.1 {status} {secret()}\r\nContent-Type: {media}\r\n{fields_of_answer()}{more}"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def error() -> bytes:
    """As OpenAI says that a key is wrong: with the key."""
    message = f"Incorrect API key provided: {secret()}."
    named = {
        "message": message,
        "type": "invalid_request_error",
        "param": secret(),
        "code": "invalid_api_key",
    }
    return json.dumps({"error": named}).encode()


STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"


def stream(*events: str) -> bytes:
    """Of events; the last chunk is there if the last event is empty."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event.encode()) for event in events)
    return (STREAM + fields_of_answer() + "\r\n").encode() + chunks


def answers() -> Iterator[tuple[bytes, bool]]:
    """What an upstream may say, and whether it hangs up then."""
    done = "data: [DONE]\n\n"
    delta = f'data: {{"choices":[{{"delta":{{"content":"{secret()}"}}}}]}}\n\n'
    yield answer(), False
    yield answer(401, error()), False
    yield answer(429, error(), more=f"x-ratelimit-remaining-requests: {secret()}\r\n"), False
    yield answer(500, secret().encode(), "text/html"), False
    yield answer(200, secret().encode()), False
    yield answer(200, error()), False
    yield answer(200, b'{"bug=observer":"%b"}' % secret().encode()), False
    yield answer(200, secret().encode(), more=f"Content-Encoding: {secret()}\r\n"), False
    yield answer(200, secret().encode(), more="Content-Encoding: gzip\r\n"), False
    yield stream(delta, done, ""), False
    yield stream(delta, f'data: {{"error":{{"message":"{secret()}"}}}}\n\n', ""), False
    yield stream(delta, f"data: {secret()}\n\n", done, ""), False
    yield stream(delta, delta[:20]), True
    yield answer()[:-5], True
    yield b"", True
    yield secret().encode() + b"\r\n\r\n", True
    yield f"HTTP/1.1 200 {secret()}\r\nContent-Length: {secret()}\r\n\r\n".encode(), True
    yield f"HTTP/1.1 200 OK\r\n{secret()} : {secret()}\r\n {secret()}\r\n\r\n".encode(), True
    yield f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{secret()}\r\n".encode(), True
    yield f"HTTP/1.1 101 Yes\r\nUpgrade: {secret()}\r\nConnection: upgrade\r\n\r\n{secret()}".encode(), True


def ask_upstream(daemon: Daemon, upstream: RawUpstream, said: bytes, closes: bool) -> None:
    """One request, its upstream's answer, and whatever the client gets of it."""
    with daemon.connect() as client:
        client.send_request("POST", target(), *secret_fields(), body=asked())
        peer = upstream.next()
        request = peer.read_request()
        assert MARK in (request.start + request.body).decode()
        peer.send(said)
        if closes:
            upstream.hang_up()
        read(client)


def read(client: Peer) -> Message | None:
    """What comes, whole or not."""
    try:
        return client.read_answer()
    except (Truncated, ConnectionError, ValueError):
        return None


def refused(daemon: Daemon) -> Iterator[str]:
    """Answers of ours to what is wrong: no upstream has said anything in them."""
    head = "GET /v1/models HTTP/1.1\r\nHost: x\r\n"
    for data in (
        f"GET /{secret()}/{target()} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"{head}{secret()} : {secret()}\r\n\r\n",
        f"{head}X: {secret()}\0\r\n\r\n",
        f"{head}Content-Length: {secret()}\r\n\r\n",
        f"{head}Transfer-Encoding: {secret()}\r\n\r\n",
        f"GET /v1/{secret() * 2000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"{head}X: {secret() * 9000}\r\n\r\n",
        f"GET /v1/../{secret()} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /v1/models HTTP/1.1\r\nHost: {secret()}/@\r\n\r\n",
        f"GET {secret()} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"CONNECT {secret()}:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        f"{secret()}\r\n\r\n",
        f"POST {target('/mock/v1/chat/completions')} HTTP/1.1\r\nHost: x\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
        f"{secret()}\r\n",
        f"GET {target('/v1/models', '&bug=request')} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /healthz?{secret()} HTTP/1.1\r\nHost: x\r\nX: bug=channel\r\nY: {secret()}\r\n\r\n",
    ):
        with daemon.connect() as client:
            client.send(data.encode("latin-1"))
            client.socket.shutdown(1) if "bug=channel" in data else None
            seen = read(client)
            if seen is not None:
                assert seen.status >= 400, data
                yield repr(seen)


def mock_and_more(daemon: Daemon, upstream: RawUpstream) -> None:
    """The mock, forms, tunnels, clients that leave, models that nobody knows."""
    for fault in ("reset", "truncate", "error-in-stream", "no-done", secret()):
        with daemon.connect() as client:
            path = target("/mock/v1/chat/completions")
            fields = (*secret_fields(), f"x-mock-fault: {fault}")
            client.send_request("POST", path, *fields, body=asked(stream=True))
            read(client)
    part = f'Content-Disposition: form-data; name="file"; filename="{secret()}"'
    form = f"--{secret()}\r\n{part}\r\n\r\n{secret()}"
    media = f"Content-Type: multipart/form-data; boundary={secret()}"
    daemon.ask("POST", target("/mock/v1/audio/transcriptions"), media, *secret_fields(), body=form.encode())
    # Refused by the upstream: a model that one has answered for has its name in the numbers.
    for body in (asked(model=secret()), asked(model=[secret()]), secret().encode()):
        daemon.ask("POST", target("/mock/v1/chat/completions"), "x-mock-status: 404", body=body)
    daemon.ask(secret().upper().replace("-", ""), target("/mock/v1/models"), *secret_fields())
    with daemon.connect() as client:
        client.send_request(
            "POST", target("/mock/v1/chat/completions"), "x-mock-delay-ms: 9999", body=asked()
        )
    with daemon.connect() as client:
        keys = f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{secret()}"
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        client.send_request("GET", target("/v1/realtime"), keys, *upgrade, *secret_fields())
        peer = upstream.next()
        peer.read_head()
        peer.send(f"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n{secret()}".encode())
        assert client.read_head().status == 101
        client.send(secret().encode())
        upstream.hang_up()
        client.wait_end()


def pages(daemon: Daemon) -> Iterator[str]:
    """All that can be asked of the daemon, and what anybody on its machine can see of it."""
    formats = ("text/plain", "application/openmetrics-text; version=1.0.0", secret())
    for accept in formats:
        yield daemon.ask("GET", f"/metrics?{secret()}", f"Accept: {accept}").body.decode()
    for path in ("/", "/healthz", "/readyz"):
        yield repr(daemon.ask("GET", path, *secret_fields()))
    yield Path(f"/proc/{daemon.pid}/cmdline").read_text()


def check(texts: Iterator[str] | list[str]) -> None:
    """None has a secret, in whatever case."""
    for text in texts:
        assert text
        found = re.search(f".{{0,200}}{MARK}.{{0,50}}", text, re.IGNORECASE)
        assert found is None, found


def test_no_secret_is_told(tmp_path: Path) -> None:
    """Log, access log, metrics, answers of ours: with faults, with bugs, with clients that are wrong."""
    log = tmp_path / "access.log"
    (tmp_path / "sitecustomize.py").write_text(BUGS)
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with (
        RawUpstream() as upstream,
        Daemon("--upstream", upstream.url, "--access-log", str(log), env=env) as daemon,
    ):
        assert "sitecustomize" not in daemon.output, "the bugs are not in: a name has moved"
        for said, closes in answers():
            ask_upstream(daemon, upstream, said, closes)
        own = list(refused(daemon))
        mock_and_more(daemon, upstream)
        check(own)
        check(pages(daemon))
        assert daemon.stop() == 0
    assert len(own) >= 13
    assert daemon.output.count("RuntimeError: a bug") >= 3
    check([daemon.output, log.read_text()])


def test_no_secret_is_told_where_tls_fails(tmp_path: Path) -> None:
    """An upstream that speaks no TLS: the answer and the logs say so, and nothing of the request."""
    log = tmp_path / "access.log"
    with RawUpstream() as upstream:
        url = upstream.url.replace("http:", "https:")
        with Daemon("--upstream", url, "--access-log", str(log)) as daemon, daemon.connect() as client:
            client.send_request("POST", target(), *secret_fields(), body=asked())
            upstream.next().send(secret().encode())
            upstream.hang_up()
            seen = client.read_answer()
            assert json.loads(seen.body)["error"]["code"] == "upstream_tls_error"
            check([repr(seen), *pages(daemon)])
            assert daemon.stop() == 0
    check([daemon.output, log.read_text()])


@pytest.mark.parametrize(
    "url",
    [
        "http://user:{}@127.0.0.1:1",
        "htp://user:{}@127.0.0.1:1",
        "http://{}@127.0.0.1:1",
        "http://127.0.0.1:1/?key={}",
        "ftp://127.0.0.1:1/?key={}",
        "http://127.0.0.1:1/#{}",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    """Its place is the clients' requests; the line that says so goes to a log."""
    ended = run("--port", "tcp:0:interface=127.0.0.1", "--upstream", url.format(secret()))
    assert ended.returncode == 1
    check([ended.stdout + ended.stderr])
