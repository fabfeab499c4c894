"""A Prometheus that scrapes while streams are open, and traffic that makes many series."""

import gzip
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product

from benchmarks.processes import LOOPBACK

MODELS = (
    *(
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "gpt-5",
        "gpt-5-mini",
        "gpt-5-nano",
    ),
    *("o3", "o3-mini", "o4-mini", "gpt-3.5-turbo", "text-embedding-3-small", "text-embedding-3-large"),
    *("whisper-1", "gpt-image-1", "omni-moderation-latest", "no-such-model"),
)
PATHS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/moderations"),
    *("/v1/images/generations", "/v1/audio/speech", "/v1/batches"),
)
STATUSES = (200, 400, 401, 404, 429, 500, 503)
# What Prometheus itself sends.
HEADERS = {
    "accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "accept-encoding": "gzip",
    "user-agent": "Prometheus/2.55.0",
}


@dataclass
class Scrapes:
    """What the scraper saw."""

    milliseconds: list[float] = field(default_factory=list)
    samples: int = 0
    bytes_sent: int = 0
    failures: int = 0


def fill(port: int) -> None:
    """One request for each combination of model, path, status and kind that a label may tell."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    for model, path, status, stream in product(MODELS, PATHS, STATUSES, (False, True)):
        fields = {"model": model, "stream": stream, "user": f"status={status} chunks=1"}
        headers = {"content-type": "application/json", "authorization": "Bearer sk-bench"}
        connection.request("POST", path, json.dumps(fields), headers)
        connection.getresponse().read()
    connection.close()


def scrape(port: int, seen: Scrapes) -> None:
    """One scrape, noted in ``seen``."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    begin = time.monotonic()
    try:
        connection.request("GET", "/metrics", headers=HEADERS)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise OSError(answer.status)
    except (OSError, http.client.HTTPException):
        seen.failures += 1
        return
    finally:
        connection.close()
    seen.milliseconds.append((time.monotonic() - begin) * 1000)
    seen.bytes_sent = len(body)
    text = gzip.decompress(body) if answer.getheader("content-encoding") == "gzip" else body
    seen.samples = sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))


@contextmanager
def scraping(port: int, seconds: float) -> Iterator[Scrapes]:
    """Scrape every so many seconds, until the block ends."""
    seen = Scrapes()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(seconds):
            scrape(port, seen)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
