"""The treq client of the relay: it changes nothing."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.iweb import IResponse

# treq's own `request` follows redirects, keeps a cookie jar that all clients would share,
# unpacks gzip, adds an Accept-Encoding and writes URLs anew. Each of them would change what
# an application sent, or give one application's cookies to another.


class TransparentClient(HTTPClient):
    """Sends method, URL, headers and body through its agent as they are.

    The answer is the agent's own ``IResponse``; whole bodies are read with ``treq.content``.
    """

    def request(self, method: Any, url: Any, *, headers: Any = None, data: Any = None, **_: Any) -> Any:
        """:param method: bytes; ``url``: absolute, bytes; ``headers``: ``Headers`` without
        hop-by-hop fields; ``data``: an ``IBodyProducer`` or None.

        :returns: a Deferred of ``IResponse``; it fails with an ``UpstreamError``.
        """
        answer: Deferred[IResponse] = self._agent.request(method, url, headers, data)
        return answer
