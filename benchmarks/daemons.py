"""The upstream and the proxies as running processes."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen
from sys import executable

from benchmarks.load import Target
from benchmarks.peers import Peer, Place
from benchmarks.processes import LOOPBACK, NotStarted, free_port, spawned, wait_for_json
from benchmarks.processes import wait_until_listening as listening
from benchmarks.procfs import Tree

CHAT = "/v1/chat/completions"
SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Daemon:
    """A process that answers."""

    title: str
    port: int
    tree: Tree
    target: Target
    start_seconds: float = 0
    idle_bytes: int = 0
    stream_fault: str = ""
    """Why streams cannot be measured: the peer answers, but not with the events that were sent."""

    def ask(self, **fields: object) -> tuple[int, bytes]:
        """One chat request; its status and body. Raises OSError and HTTPException."""
        message = {"role": "user", "content": "hi"}
        body = json.dumps({"model": self.target.model, "messages": [message], **fields})
        headers = {"content-type": "application/json", "authorization": "Bearer sk-bench"}
        headers.update(self.target.headers or {})
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        try:
            connection.request("POST", CHAT, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def upstream(folder: Path) -> Iterator[Daemon]:
    """The stand-in for the OpenAI API."""
    output = folder / "upstream.log"
    with spawned([executable, "-m", "benchmarks.upstream"], output) as process:
        port = wait_for_json(process, output)["port"]
        yield Daemon("direct", port, Tree(process.pid), _target(port))


@contextmanager
def proxy(peer: Peer, upstream_port: int, folder: Path) -> Iterator[Daemon]:
    """The peer, listening and seen to answer. Raises Missing and NotStarted."""
    folder.mkdir(parents=True)
    # Most peers cannot say which port they were given, so all are told one.
    place = Place(free_port(), upstream_port, folder)
    output = folder / "output.log"
    with spawned(peer.command(place), output, peer.env) as process:
        seconds = listening(process, place.port, output, peer.start_seconds)
        time.sleep(SETTLE_SECONDS)
        tree = Tree(process.pid)
        target = _target(place.port, peer.model, dict(peer.headers(place)))
        daemon = Daemon(peer.title, place.port, tree, target, seconds, tree.resident_bytes())
        yield replace(daemon, stream_fault=_check(daemon, process))


def _target(port: int, model: str = "gpt-4o-mini", headers: dict[str, str] | None = None) -> Target:
    return Target(f"http://{LOOPBACK}:{port}{CHAT}", model, headers)


def _check(daemon: Daemon, process: Popen[bytes]) -> str:
    """What is wrong with its streams, if anything. Raises NotStarted if it does not answer at all."""
    try:
        status, body = daemon.ask()
        if status != 200 or b"x" * 400 not in body:
            raise NotStarted(f"answered {status}: {body[:200]!r}")
        status, body = daemon.ask(stream=True, user="chunks=3")
    except (OSError, http.client.HTTPException) as error:
        raise NotStarted(f"no answer: {error!r}, exit status {process.poll()}") from error
    if status != 200 or body.count(b" token") != 3 or b"[DONE]" not in body:
        return f"answered a stream with {status}: {body[:200]!r}"
    return ""
