"""Hold many paced streams open: do all end whole, and how late does each chunk arrive?

Run as ``python -m benchmarks.streams JSON`` with the fields of Order; prints one JSON object (the
fields of Report). A process of its own, on uvloop, so that neither the measuring program nor its
garbage collector delays what is measured.
"""

import asyncio
import gc
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import httptools
import uvloop

STAMP = re.compile(rb"t=(\d+);")
RAMP_PER_SECOND = 500
"""New streams a second, so that the chunks of different streams fall at different moments."""


@dataclass(frozen=True)
class Order:
    """How many streams of how many chunks, and where."""

    host: str
    port: int
    path: str
    model: str
    headers: dict[str, str]
    streams: int
    chunks: int
    gap_ms: int

    def seconds(self) -> float:
        """How long a perfect run takes."""
        return self.streams / RAMP_PER_SECOND + self.chunks * self.gap_ms / 1000

    def request(self) -> bytes:
        """The request of every stream."""
        question = {
            "model": self.model,
            "stream": True,
            "user": f"chunks={self.chunks} gap_ms={self.gap_ms} stamp=1",
            "messages": [{"role": "user", "content": "hi"}],
        }
        body = json.dumps(question).encode()
        head = [f"POST {self.path} HTTP/1.1", f"host: {self.host}:{self.port}"]
        fields = {"authorization": "Bearer sk-bench", "content-type": "application/json"}
        head += [f"{name}: {value}" for name, value in (fields | self.headers).items()]
        head += [f"content-length: {len(body)}", "", ""]
        return "\r\n".join(head).encode() + body


@dataclass(frozen=True)
class Report:
    """What the client saw; times in milliseconds, None where no chunk came."""

    streams: int
    whole: int
    chunks: int
    delay_p50_ms: float | None
    delay_p99_ms: float | None
    delay_max_ms: float | None
    first_chunk_p99_ms: float | None
    failures: dict[str, int] = field(default_factory=dict)


class Stream(asyncio.Protocol):
    """One request and its answer; ``ended`` fires with the empty string or what went wrong."""

    def __init__(self, order: Order, delays: list[float], firsts: list[float]) -> None:
        self._order = order
        self._delays = delays
        self._firsts = firsts
        self._begin = time.monotonic_ns()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._rest = b""
        self._seen = 0
        self._done = False
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; ask."""
        # Not isinstance: uvloop's transports are not asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._order.request())

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(type(error).__name__)

    def on_body(self, piece: bytes) -> None:
        """llhttp: a piece of the body; a chunk may be cut anywhere."""
        now = time.monotonic_ns()
        text = self._rest + piece
        last = 0
        for found in STAMP.finditer(text):
            last = found.end()
            self._seen += 1
            if self._seen == 1:
                self._firsts.append((now - self._begin) / 1e6)
            self._delays.append((now - int(found[1])) / 1e6)
        self._done = self._done or b"[DONE]" in text
        self._rest = text[max(last, len(text) - 64) :]

    def on_message_complete(self) -> None:
        """llhttp: the answer ended as HTTP says it must; was it also the whole answer?"""
        status = self._parser.get_status_code()
        if status != 200:
            self._end(f"status {status}")
        elif self._seen != self._order.chunks or not self._done:
            self._end("short but cleanly ended")
        else:
            self._end("")

    def connection_lost(self, exc: Exception | None) -> None:
        """Too early, unless the answer has ended."""
        self._end("connection lost")

    def _end(self, verdict: str) -> None:
        if not self.ended.done():
            self.ended.set_result(verdict)
            self._transport.close()


async def _one(order: Order, delays: list[float], firsts: list[float]) -> str:
    loop = asyncio.get_running_loop()
    try:
        _, stream = await loop.create_connection(
            lambda: Stream(order, delays, firsts), order.host, order.port
        )
        return await asyncio.wait_for(stream.ended, order.seconds() + 30)
    except (OSError, TimeoutError) as error:
        return type(error).__name__


def _quantile(values: list[float], share: float) -> float | None:
    if not values:
        return None
    return round(values[min(len(values) - 1, int(len(values) * share))], 3)


async def hold(order: Order) -> Report:
    """Open all the streams, wait for their ends, and say what was seen."""
    delays: list[float] = []
    firsts: list[float] = []
    tasks = []
    begin = time.monotonic()
    for index in range(order.streams):
        tasks.append(asyncio.create_task(_one(order, delays, firsts)))
        ahead = begin + (index + 1) / RAMP_PER_SECOND - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
    verdicts = await asyncio.gather(*tasks)
    failures = {verdict: verdicts.count(verdict) for verdict in set(verdicts) if verdict}
    delays.sort()
    firsts.sort()
    return Report(
        streams=order.streams,
        whole=verdicts.count(""),
        chunks=len(delays),
        delay_p50_ms=_quantile(delays, 0.5),
        delay_p99_ms=_quantile(delays, 0.99),
        delay_max_ms=_quantile(delays, 1),
        first_chunk_p99_ms=_quantile(firsts, 0.99),
        failures=failures,
    )


if __name__ == "__main__":
    gc.disable()
    print(json.dumps(asdict(uvloop.run(hold(Order(**json.loads(sys.argv[1])))))))
