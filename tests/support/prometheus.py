"""Debian's Prometheus as a child process, and its HTTP API."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.tools import require_tool


class Prometheus:
    """One that runs; ``url`` is its root."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer; None while it does not answer, or takes the query for wrong."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def instant(self, expression: str) -> Any:
        """``resultType`` and ``result`` of an instant query."""
        return self.get("query", query=expression)

    def range(self, expression: str, start: float, end: float, step: str) -> Any:
        """``resultType`` and ``result`` of a range query."""
        return self.get("query_range", query=expression, start=str(start), end=str(end), step=step)


@contextmanager
def running(folder: Path, configuration: str, *options: str) -> Iterator[Prometheus]:
    """Prometheus on a free port with this configuration, ended by its process id."""
    program = require_tool("prometheus")
    file = folder / "prometheus.yml"
    file.write_text(configuration)
    # It takes no port 0; another program may take this one first, and then it ends.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *options,
    ]
    with (folder / "prometheus.log").open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=output, cwd=folder)
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()
