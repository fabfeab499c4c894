"""The resources that forward: everything below them is an exchange."""

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from openai_proxy.exchange.exchange import Exchange, ExchangeContext
from openai_proxy.exchange.target import Target
from openai_proxy.wire.request import Request


class Relay(Resource):
    """Sends what comes below its path to one target.

    ``prefix`` is what the target does not see: with ``/openai``, ``/openai/v1/models?a``
    becomes ``/v1/models?a`` below the provider's base URL, byte for byte.
    """

    isLeaf = True
    streams = True

    def __init__(self, target: Target, prefix: bytes, context: ExchangeContext) -> None:
        super().__init__()
        self._api_prefix = b"/v1" if target.addressing is None else target.addressing.prefix
        self._target = target
        self._prefix_bytes = len(prefix)
        self._route = prefix.decode() or "/v1"
        self._context = context

    def render(self, request: Request) -> int:
        path = request.uri[self._prefix_bytes :]
        if not path.startswith(b"/"):
            path = b"/" + path
        Exchange(request, self._target, path, self._context, self._route, self._api_prefix).start()
        return NOT_DONE_YET
