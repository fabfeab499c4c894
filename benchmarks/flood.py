"""``python -m benchmarks.flood``: names without number, and what they cost: series, memory, scrapes.

Each request has a model, a path or a method that none had before; half of the models are answered
with 200 by the upstream, so that they could be learned. Ends with status 1 if there are more samples
than docs/metrics.md says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from pathlib import Path
from random import Random

from benchmarks.procfs import Tree
from tests.support.daemon import ROOT, Daemon
from tests.truth.client import Connection

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
MODEL = re.compile(rb'"model": ?"([^"]+)"')
SCRAPES = 20


class Yes(asyncio.Protocol):
    """An upstream that answers 200 to everything, by the model that was asked for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(HEAD_END)) >= 0:
            found = LENGTH.search(self.data[:end])
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self.data) < whole:
                return
            request, self.data = self.data[:whole], self.data[whole:]
            model = MODEL.search(request)
            answer = {
                "id": "1",
                "model": model[1].decode() if model else None,
                "usage": {"prompt_tokens": 1, "completion_tokens": 1},
            }
            body = b"" if request.startswith(b"HEAD") else json.dumps(answer).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self.transport.write(head % len(body) + body)


def request(number: int, dice: Random) -> tuple[str, bytes]:
    """Its method and its bytes."""
    name = f"name-{number:06}"
    kind = dice.randrange(6)
    if kind < 3:
        body = json.dumps({"model": name, "messages": [], "input": "a"}).encode()
        endpoint = dice.choice(("chat/completions", "responses", "embeddings", "completions", name))
        path = dice.choice(("/v1/", "/openai/v1/", "/mock/v1/")) + endpoint
        return "POST", b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (
            path.encode(),
            len(body),
            body,
        )
    method = f"M{number}" if kind == 3 else "GET"
    path = dice.choice(("/v1/", "/mock/v1/", "/openai/", "/")) + name
    return method, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def flood(port: int, requests: int, clients: int) -> None:
    """All of them, from so many connections."""
    numbers = iter(range(requests))

    async def client(dice: Random) -> None:
        connection = await Connection.open(port)
        for number in numbers:
            method, data = request(number, dice)
            connection.transport.write(data)
            seen = await connection.answer(method)
            if not seen.whole or seen.fields.get("connection") == "close":
                connection.transport.abort()
                connection = await Connection.open(port)
        connection.transport.abort()

    await asyncio.gather(*(client(Random(number)) for number in range(clients)))


def bound() -> int:
    """The most samples that docs/metrics.md allows."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    return int(re.findall(r"never more than (\d+) samples", page)[0])


def scrape(daemon: Daemon, accept: str) -> tuple[float, bytes]:
    """Milliseconds, and the page."""
    with daemon.connect() as client:
        began = time.perf_counter()
        client.send_request("GET", "/metrics", f"Accept: {accept}")
        body = client.read_answer().body
        return (time.perf_counter() - began) * 1000, body


def samples(page: bytes) -> int:
    """Lines that are no comments."""
    return sum(not line.startswith(b"#") for line in page.splitlines())


async def run(options: argparse.Namespace) -> int:
    """Flood, and print."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Yes, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with await asyncio.to_thread(Daemon, "--upstream", url) as daemon:
        tree = Tree(daemon.pid)
        # What any traffic needs is there before it is measured.
        await flood(daemon.port, 2000, options.clients)
        _, page = await asyncio.to_thread(scrape, daemon, "text/plain")
        before, first = tree.resident_bytes(), samples(page)
        began = time.perf_counter()
        await flood(daemon.port, options.requests, options.clients)
        took = time.perf_counter() - began
        print(f"{options.requests} requests, each with a name of its own, in {took:.0f} s")
        _, page = await asyncio.to_thread(scrape, daemon, "text/plain")
        after, last = tree.resident_bytes(), samples(page)
        print(f"samples: {first} after 2000 requests, {last} after all; at most {bound()} by docs/metrics.md")
        print(f"memory: {before / 2**20:.1f} MiB, then {after / 2**20:.1f} MiB")
        for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            times = [(await asyncio.to_thread(scrape, daemon, accept))[0] for _ in range(SCRAPES)]
            print(
                f"scrape, {accept.partition(';')[0]}: median {statistics.median(times):.1f} ms, "
                f"{max(times):.1f} ms at most, {len(page)} bytes as text"
            )
        if options.page:
            await asyncio.to_thread(options.page.write_bytes, page)
    server.close()
    return 0 if last <= bound() else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flood", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--page", type=Path, help="write the last page of metrics to this file")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
