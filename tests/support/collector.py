"""A collector of traces: OTLP over HTTP, decoded."""

from __future__ import annotations

import gzip
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes by their names."""

    def value(one: KeyValue) -> Any:
        return getattr(one.value, str(one.value.WhichOneof("value")))

    return {one.key: value(one) for one in attributes}


class Collector:
    """Listens when it is made; what it was sent is in ``requests``, decoded."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.fields: list[dict[str, str]] = []
        """Of each request, tries that were refused too."""
        self.refusals: deque[int] = deque()
        """Statuses of the next answers; 200 when there are no more."""
        self.changed = threading.Condition(threading.RLock())
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(*collector._take(self.path, dict(self.headers), body))

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                if status != 200:
                    self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def _take(self, path: str, fields: dict[str, str], body: bytes) -> tuple[int, bytes]:
        with self.changed:
            self.fields.append({name.lower(): value for name, value in fields.items()})
            status = self.refusals.popleft() if self.refusals else 200
            if status == 200 and path == "/v1/traces":
                if self.fields[-1].get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                self.requests.append(ExportTraceServiceRequest.FromString(body))
            self.changed.notify_all()
        return status, ExportTraceServiceResponse().SerializeToString()

    @property
    def spans(self) -> list[Span]:
        """All that it has."""
        with self.changed:
            return [
                span
                for request in self.requests
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]

    def wait_for(self, count: int, seconds: float = 20) -> list[Span]:
        """All that it has, when there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.spans) >= count, seconds), self.spans
        return self.spans

    def resource(self) -> dict[str, Any]:
        """What the sender says of itself."""
        return plain(self.requests[0].resource_spans[0].resource.attributes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)
