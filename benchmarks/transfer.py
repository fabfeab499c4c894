"""A large file up and down through a proxy: are the bytes equal, and what memory did it take?"""

import hashlib
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks import pattern
from benchmarks.procfs import Tree

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Transfer:
    """One direction."""

    equal: bool
    seconds: float
    added_bytes: int
    """The most resident memory during the transfer, less that before it."""
    cpu_us_per_mebibyte: float


def _digest(length: int) -> str:
    digest = hashlib.sha256()
    for block in pattern.blocks(length):
        digest.update(block)
    return digest.hexdigest()


def _upload(connection: http.client.HTTPConnection, length: int) -> str:
    headers = {"content-length": str(length), "content-type": "application/octet-stream"}
    connection.request("POST", "/v1/files", pattern.blocks(length), headers)
    answer = connection.getresponse()
    text = answer.read()
    return str(json.loads(text)["sha256"]) if answer.status == 200 else f"status {answer.status}"


def _download(connection: http.client.HTTPConnection, length: int) -> str:
    connection.request("GET", f"/v1/files/{length}/content")
    answer = connection.getresponse()
    digest = hashlib.sha256()
    while block := answer.read(pattern.BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest() if answer.status == 200 else f"status {answer.status}"


def transfer(host: str, port: int, length: int, tree: Tree) -> Mapping[str, Transfer]:
    """Both directions, ``up`` and ``down``. Raises OSError and HTTPException."""
    expected = _digest(length)
    results = {}
    for name, move in (("up", _upload), ("down", _download)):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        tree.forget_peak()
        resident, cpu = tree.resident_bytes(), tree.cpu_microseconds()
        begin = time.monotonic()
        equal = move(connection, length) == expected
        seconds = time.monotonic() - begin
        spent = tree.cpu_microseconds() - cpu
        connection.close()
        results[name] = Transfer(
            equal=equal,
            seconds=round(seconds, 3),
            added_bytes=max(0, tree.peak_bytes() - resident),
            cpu_us_per_mebibyte=round(spent / (length / MEBIBYTE)),
        )
    return results
