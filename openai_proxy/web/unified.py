"""The one door: everything below ``/v1`` goes where its model lives."""

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from openai_proxy.exchange.exchange import ExchangeContext
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.listing import ListingExchange, asks_for_list
from openai_proxy.exchange.model_lists import ModelLists
from openai_proxy.exchange.routed import RoutedExchange
from openai_proxy.wire.request import Request


class Unified(Resource):
    """``/v1``: the model of each request chooses its target; ``/v1/models`` lists those of all."""

    isLeaf = True
    streams = True

    def __init__(self, gateway: Gateway, context: ExchangeContext, lists: ModelLists | None = None) -> None:
        """:param lists: of models; None: the only provider's own list is all that there is."""
        super().__init__()
        self._lists = lists
        self._gateway = gateway
        self._context = context

    def render(self, request: Request) -> int:
        if self._lists is not None and asks_for_list(request):
            ListingExchange(request, self._lists, self._context, "/v1").start()
            return NOT_DONE_YET
        RoutedExchange(request, self._gateway, self._context, "/v1").start()
        return NOT_DONE_YET
