"""The treq client of the relay: it changes nothing."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from openai_proxy.config.settings import Timeouts

# treq's own `request` follows redirects, keeps a cookie jar that all clients would share,
# unpacks gzip, adds an Accept-Encoding and writes URLs anew. Each of them would change what
# an application sent, or give one application's cookies to another.


class TransparentClient(HTTPClient):
    """Sends method, URL, headers and body through its agent as they are.

    The answer is the agent's own ``IResponse``; whole bodies are read with ``treq.content``.
    """

    def request(  # type: ignore[override]
        self,
        method: bytes,
        url: bytes,
        *,
        headers: Headers,
        data: IBodyProducer | None,
        timeouts: Timeouts | None = None,
    ) -> Deferred[IResponse]:
        """:param url: absolute; what follows its authority is sent byte for byte.
        :param headers: those to send, without hop-by-hop fields.
        :param timeouts: of the head and the body, in the stead of the agent's; for our agent alone.
        :returns: fails with an :class:`~openai_proxy.wire.errors.UpstreamError`.
        """
        # The override takes less and gives less than treq's, and refuses what it cannot do.
        if timeouts is None:
            return self._agent.request(method, url, headers, data)
        agent: Any = self._agent
        response: Deferred[IResponse] = agent.request(method, url, headers, data, timeouts)
        return response
