"""One provider asked for its models: all pages of the list, within a time and a size."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from openai_proxy import __version__
from openai_proxy.config.secret import Secret
from openai_proxy.exchange.model_list import ModelList
from openai_proxy.exchange.target import Target
from openai_proxy.providers.model_page import page_of
from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.refusal import ANTHROPIC
from openai_proxy.providers.translate.translation import ANTHROPIC_VERSION
from openai_proxy.relay.download import Drain
from openai_proxy.relay.whole import whole_body
from openai_proxy.wire.errors import HeadTimedOut, UpstreamError
from openai_proxy.wire.fields import Field, Fields, first_of

FETCH_SECONDS: Final = 5.0
"""How long all pages of a list may take, the key's fetching with them."""
LIST_BYTES: Final = 4 * 1024 * 1024
"""How long all pages may be together."""
MOST_PAGES: Final = 16
_PAGE_MODELS: Final = 1000
"""The most that Anthropic gives at a time."""
_PATH: Final = b"/v1/models"
_OK, _UNAUTHORIZED = 200, 401
_HAS_NONE: Final = frozenset({404, 405, 501})
"""A provider without such a list, as Perplexity: it lists nothing, and nothing is wrong."""

_PLAIN: Final = (b"Accept-Encoding", b"identity")
OUR_FIELDS: Final = (
    (b"Accept", b"application/json"),
    (b"User-Agent", f"openai_proxy/{__version__}".encode("ascii")),
)
"""Of a request that is no client's."""


class ListRefused(UpstreamError):
    """The provider answered with something else than a list."""

    def __init__(self, status: int = 0) -> None:
        super().__init__(f"status {status}")
        self.status = status


def fetched_models(
    target: Target, clock: IReactorTime, fields: tuple[Field, ...] = OUR_FIELDS, query: bytes = b""
) -> Deferred[ModelList]:
    """What a provider lists. Fails with an ``UpstreamError``; to cancel it ends it.

    :param fields: of the request, a client's key among them where the provider gets that.
    :param query: the same, without what pages are asked for by.
    """
    fetching = Deferred.fromCoroutine(_fetch(target, fields, query))
    return fetching.addTimeout(FETCH_SECONDS, clock, _too_late)


def _too_late(result: Any, seconds: float) -> Any:
    if isinstance(result, Failure):
        result.trap(CancelledError)
        raise HeadTimedOut(f"no whole list within {seconds:.0f} seconds")
    return result


async def _fetch(target: Target, fields: tuple[Field, ...], query: bytes) -> ModelList:
    key = await _key_of(target)
    entries: list[Json] = []
    left_bytes, after = LIST_BYTES, ""
    for _ in range(MOST_PAGES):
        response = await _asked(target, fields, _target_of(target, query, after), key)
        if response.code != _OK:
            response.deliverBody(Drain())
            if response.code in _HAS_NONE:
                break
            if response.code == _UNAUTHORIZED and key is not None and target.keys is not None:
                target.keys.expire(key)
            raise ListRefused(response.code)
        body = await whole_body(response, left_bytes)
        left_bytes -= len(body)
        page = page_of(body)
        entries += page.entries
        after = page.after
        if not after:
            break
    return ModelList(target.provider, entries)


async def _key_of(target: Target) -> Secret | None:
    key = None if target.keys is None else target.keys.current()
    return await key if isinstance(key, Deferred) else key


def _target_of(target: Target, query: bytes, after: str) -> bytes:
    parameters = [query] if query else []
    if target.provider.dialect == ANTHROPIC:
        parameters.append(b"limit=%d" % _PAGE_MODELS)
    if after:
        parameters.append(b"after_id=" + quote(after, safe="", errors="replace").encode("ascii"))
    return b"%b?%b" % (_PATH, b"&".join(parameters)) if parameters else _PATH


def _asked(target: Target, fields: tuple[Field, ...], path: bytes, key: Secret | None) -> Deferred[IResponse]:
    assert target.addressing is not None
    sent, url = target.addressing.unified([*fields, _PLAIN], path, "", key)
    if target.provider.dialect == ANTHROPIC and first_of(sent, b"anthropic-version") is None:
        sent = [*sent, (b"anthropic-version", ANTHROPIC_VERSION)]
    return target.client.request(b"GET", url, headers=Fields(raw=sent), data=None)
