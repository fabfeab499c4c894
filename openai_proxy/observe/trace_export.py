"""OpenTelemetry's own exporter. Whoever imports this has the extra ``otel``, and 15 MB less memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from openai_proxy import __version__
from openai_proxy.observe.spans import SpanMaker
from openai_proxy.observe.trace_sink import Ended

if TYPE_CHECKING:
    from openai_proxy.config.tracing import Tracing

_COMPRESSION = {"gzip": Compression.Gzip, "none": Compression.NoCompression}
_LONGEST_PROBLEM = 200
_LOGGER = logging.getLogger("opentelemetry.exporter.otlp")
# Without a handler Python writes to stderr, a line for each try.
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


class _Problem(logging.Handler):
    """Keeps the last thing that the exporter has complained of: its result does not say why."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = " ".join(record.getMessage().split())[:_LONGEST_PROBLEM]


def _shown(url: str) -> str:
    """Where it goes, for the log: a variable's URL may have credentials in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _resource(name: str | None) -> Resource:
    """What the environment says of the daemon, and its name: a setting's, the environment's or else ours."""
    said = Resource.create({"service.version": __version__})
    if name is None and not str(said.attributes.get("service.name")).startswith("unknown_service"):
        return said
    return said.merge(Resource({"service.name": name or "openai_proxy"}))


class OtlpExporter:
    """See :class:`~openai_proxy.observe.trace_sink.Exporter`."""

    def __init__(self, tracing: Tracing) -> None:
        self._problem = _Problem()
        _LOGGER.addHandler(self._problem)
        self._exporter = OTLPSpanExporter(
            endpoint=tracing.endpoint,
            headers={name: secret.reveal() for name, secret in tracing.headers.items()},
            timeout=tracing.timeout_seconds,
            compression=_COMPRESSION[tracing.compression],
        )
        self.endpoint = _shown(self._exporter._endpoint)
        self._maker = SpanMaker(_resource(tracing.service_name))

    def export(self, batch: Sequence[Ended]) -> str:
        """Make spans, and send them; tries again within the time that the settings give."""
        self._problem.text = ""
        try:
            spans = [span for one in batch for span in self._maker.spans(one.record, one.unix_seconds)]
            result = self._exporter.export(spans)
        except Exception as error:
            # The thread goes on; nothing that a client sent is in the type's name.
            return type(error).__name__
        return "" if result is SpanExportResult.SUCCESS else self._problem.text or "it failed"

    def close(self) -> None:
        """No more is sent."""
        _LOGGER.removeHandler(self._problem)
        self._exporter.shutdown()
