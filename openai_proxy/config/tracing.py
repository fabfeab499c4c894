"""Where traces go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from openai_proxy.config.secret import Secret
from openai_proxy.config.section import Broken, Section
from openai_proxy.config.settings import Seconds
from openai_proxy.config.url import root_url

Ratio = Annotated[float, Meta(ge=0, le=1)]
FieldName = Annotated[
    str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$", description="a header field's name")
]
_NAME: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


class Tracing(Section, frozen=True):
    """Spans of each request to an OpenTelemetry collector. It wants the extra `openai_proxy[otel]`."""

    endpoint: str | None = None
    """Where they are sent (OTLP over HTTP), path included: `http://host:4318/v1/traces`. Not given: where
    `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` says, else this machine's port
    4318."""
    headers: dict[FieldName, Secret] = field(default_factory=dict)
    """What the collector wants to be told besides, such as its key; over what `OTEL_EXPORTER_OTLP_HEADERS`
    says."""
    compression: Literal["gzip", "none"] = "gzip"
    """Of what is sent."""
    timeout_seconds: Seconds = 10.0
    """How long one batch may take, all its tries together."""
    sample_ratio: Ratio = 1.0
    """How many of the requests that begin a trace have one. A request that is part of its client's trace
    follows that: it has spans if the client says so (`traceparent`)."""
    service_name: str | None = None
    """What this daemon is called in traces. Not given: what `OTEL_SERVICE_NAME` says, else `openai_proxy`.
    `OTEL_RESOURCE_ATTRIBUTES` says more of it."""

    def rules(self) -> Iterator[Broken]:
        if self.endpoint is not None:
            try:
                root_url(self.endpoint)
            except ValueError as error:
                yield "endpoint", str(error)
        if self.service_name is not None and not _NAME.fullmatch(self.service_name):
            yield "service_name", "visible ASCII is wanted, at most 255 characters"
