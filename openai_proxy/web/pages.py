"""What is answered here: what this is, health, and the errors of the tree."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from openai_proxy import __version__
from openai_proxy.providers.translate.refusal import ANTHROPIC, OPENAI, refusal
from openai_proxy.web.exporter import seem_to_be_from_nobody
from openai_proxy.wire.errors import error_body, reason_phrase
from openai_proxy.wire.fields import Field, first_of
from openai_proxy.wire.request import Request

Health = Callable[[], tuple[int, dict[str, object]]]
"""A status, and what it means."""

JSON: Field = (b"Content-Type", b"application/json")
_LONGEST_SEGMENT = 40
_READS = (b"GET", b"HEAD")


class NotFound(Resource):
    """404 in the client's dialect for every path that no route has."""

    isLeaf = True
    streams = True

    def __init__(self, count: Callable[[int, float], None], seconds: Callable[[], float]) -> None:
        super().__init__()
        self._count = count
        self._seconds = seconds
        self.names: list[str] = []
        """Of the routes."""

    def _meant(self, path: bytes) -> str:
        """What may have been meant: a provider's name is easily misspelt."""
        segment = path[1 : 1 + _LONGEST_SEGMENT].partition(b"/")[0].decode("latin-1")
        near = get_close_matches(segment, self.names, 1)
        return f" Did you mean /{near[0]}/?" if near else ""

    def render(self, request: Request) -> int:
        is_anthropic = first_of(request.fields, b"anthropic-version") is not None
        body = refusal(
            ANTHROPIC if is_anthropic else OPENAI,
            404,
            "Unknown path. The proxy's routes are listed at /." + self._meant(request.path),
            "invalid_request_error",
            "unknown_url",
        )
        request.answer(404, reason_phrase(404), [JSON], body)
        self._count(404, self._seconds() - request.began)
        return NOT_DONE_YET


class Childless(Resource):
    """A resource with nothing below it, its path with a slash behind it included."""

    def __init__(self, not_found: NotFound) -> None:
        super().__init__()
        self._not_found = not_found

    def getChild(self, path: bytes, request: Request) -> NotFound:
        return self._not_found


class Page(Childless):
    """A line of JSON, made anew for each GET: a status and an object."""

    streams = True

    def __init__(self, content: Callable[[], tuple[int, dict[str, object]]], not_found: NotFound) -> None:
        super().__init__(not_found)
        self._content = content

    def render(self, request: Request) -> int:
        if request.method not in _READS:
            body = error_body("Only GET is allowed here.", "invalid_request_error", "method_not_allowed")
            request.answer(405, reason_phrase(405), [JSON, (b"Allow", b"GET, HEAD")], body)
            return NOT_DONE_YET
        status, content = self._content()
        fields = [JSON, (b"Cache-Control", b"no-store")]
        request.answer(status, reason_phrase(status), fields, json.dumps(content).encode() + b"\n")
        return NOT_DONE_YET


_UNREADABLE_VERSION = re.compile(rb"version=(?![0-9]+(?:\.[0-9]+)*\s*(?:[;,]|$))")


class Exposition(Childless):
    """The exporter, for its own path only, and never with an Accept that it would fail on."""

    def __init__(self, exporter: IResource, not_found: NotFound) -> None:
        super().__init__(not_found)
        self._exporter = exporter

    def render(self, request: Request) -> Any:
        accept = b",".join(request.requestHeaders.getRawHeaders(b"accept", []))
        if _UNREADABLE_VERSION.search(accept):
            request.requestHeaders.removeHeader(b"accept")
        seem_to_be_from_nobody(request)
        return self._exporter.render(request)


def about(routes: list[str]) -> dict[str, object]:
    """What ``/`` says."""
    return {"name": "openai_proxy", "version": __version__, "routes": routes}
