"""The one door: everything below ``/v1`` goes where its model lives."""

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from openai_proxy.exchange.exchange import ExchangeContext
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.routed import RoutedExchange
from openai_proxy.wire.request import Request


class Unified(Resource):
    """``/v1``: the model of each request chooses its target."""

    isLeaf = True
    streams = True

    def __init__(self, gateway: Gateway, context: ExchangeContext) -> None:
        super().__init__()
        self._gateway = gateway
        self._context = context

    def render(self, request: Request) -> int:
        RoutedExchange(request, self._gateway, self._context, "/v1").start()
        return NOT_DONE_YET
