"""The client: an ``IAgent`` that sends what it is told, byte for byte, over pooled connections."""

from __future__ import annotations

import re
from typing import Any

from OpenSSL.SSL import Error as OpenSSLError
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from openai_proxy.config.settings import PoolLimits, Timeouts
from openai_proxy.wire.call import Call
from openai_proxy.wire.deadlines import Deadlines, interval_for
from openai_proxy.wire.fields import NOT_CONTROL, TOKEN, Field, raw_fields
from openai_proxy.wire.pool import Origin, Pool
from openai_proxy.wire.resolver import CachingResolver, ThreadResolver
from openai_proxy.wire.tls import ConnectionCreator

_VISIBLE = bytes(range(0x21, 0x7F)).replace(b"#", b"")
_AUTHORITY = re.compile(rb"(?P<host>[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?")
_METHODS = frozenset({b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS"})

_PASS, _OWNED, _UPGRADE = range(3)
_OWN = frozenset(
    {b"host", b"connection", b"keep-alive", b"proxy-connection", b"content-length", b"transfer-encoding"}
)
_NAMES_KEPT = 1024
_NAME_BYTES_KEPT = 64


@implementer(IAgent)
class Agent:
    """One pool of connections for each origin it is asked for.

    The request target goes out as it stands in the URI, the fields in their order and case,
    behind a Host of our own. Host, Connection, Content-Length and Transfer-Encoding among the
    fields are dropped: the connection and its framing are ours. With an Upgrade field the
    request carries ``Connection: Upgrade``, and a 101 is an answer (see ``Response``).

    A request on a reused connection that closes before the first byte of an answer is sent
    once more on a new one, when it has no body or its producer has a true ``restartable``
    at that moment; the producer has then had ``stopProducing`` if it was not done.

    A producer may have a method ``whole``: if it gives the body, that is sent, and nothing is produced.

    Fails with ``ValueError`` (nothing was sent), with an
    :class:`~openai_proxy.wire.errors.UpstreamError`, with ``CancelledError`` when cancelled,
    or with what the body's producer failed with.
    """

    def __init__(
        self,
        reactor: Any,
        timeouts: Timeouts,
        pool: PoolLimits,
        trust_root: IOpenSSLTrustRoot | None = None,
    ) -> None:
        self._reactor = reactor
        self._timeouts = timeouts
        self._limits = pool
        self._trust_root = trust_root
        self._resolver = CachingResolver(reactor, ThreadResolver(reactor))
        self._deadlines = Deadlines(
            reactor,
            interval_for(
                timeouts.connect_seconds,
                timeouts.head_seconds,
                timeouts.idle_seconds,
                timeouts.pool_idle_seconds,
            ),
        )
        self._pools: dict[bytes, Pool] = {}
        self._by_origin: dict[Origin, Pool] = {}
        self._kinds: dict[bytes, int] = {}
        self._closed = False

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
        timeouts: Timeouts | None = None,
    ) -> Deferred[IResponse]:
        """Send one request to an absolute http or https URI.

        :param timeouts: of its head and its body, in the stead of the agent's own.
        """
        try:
            end = _authority_end(uri)
            pool = self._pools.get(uri[:end]) or self._new_pool(uri[:end])
            head, upgrade = self._head(method, uri, end, pool.origin.host_field, headers, bodyProducer)
        except (ValueError, OpenSSLError) as error:
            return fail(error)
        call = Call(pool, head, method == b"HEAD", bodyProducer, upgrade, timeouts)
        pool.start(call)
        return call.deferred

    def pool_of(self, uri: bytes) -> Pool | None:
        """The connections to the origin of an absolute URI, if there were any yet."""
        return self._pools.get(uri[: _authority_end(uri)])

    def close(self) -> Deferred[None]:
        """Abort everything; fires when no connection is left. Later requests are refused."""
        self._closed = True
        closing = gatherResults([pool.close() for pool in self._by_origin.values()])
        return closing.addCallback(lambda _: None)

    def _new_pool(self, origin_bytes: bytes) -> Pool:
        origin = _origin(origin_bytes)
        pool = self._by_origin.get(origin)
        if pool is None:
            creator = ConnectionCreator(origin.host, self._trust_root) if origin.secure else None
            pool = Pool(
                self._reactor, origin, self._timeouts, self._limits, self._deadlines, self._resolver, creator
            )
            if self._closed:
                pool.close()
            self._by_origin[origin] = pool
        self._pools[origin_bytes] = pool
        return pool

    def _head(
        self,
        method: bytes,
        uri: bytes,
        end: int,
        host_field: bytes,
        headers: Headers | None,
        producer: IBodyProducer | None,
    ) -> tuple[bytes, bool]:
        if uri.translate(None, _VISIBLE):
            raise ValueError("the URI has bytes that no request target may have")
        if method not in _METHODS and (method == b"CONNECT" or not TOKEN.fullmatch(method)):
            raise ValueError("not a method that can be sent to an origin")
        target = uri[end:]
        if target[:1] != b"/":
            target = b"/" + target
        parts = [method, b" ", target, host_field]
        upgrade = self._add_fields(parts, raw_fields(headers))
        lines = 3 + (len(parts) - 4) // 4
        if producer is not None:
            parts.append(_framing(producer))
            lines += 1
        if upgrade:
            parts.append(b"Connection: Upgrade\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        # The line ends that we wrote, and no other control byte: a CR LF inside a value would
        # be a field, or a request, of somebody else's making.
        if head.translate(None, NOT_CONTROL) != b"\r\n" * lines:
            raise ValueError("a header field has control bytes")
        return head, upgrade

    def _add_fields(self, parts: list[bytes], fields: list[Field]) -> bool:
        kinds = self._kinds
        upgrade = False
        for name, value in fields:
            kind = kinds.get(name)
            if kind is None:
                kind = self._kind(name)
            if kind != _OWNED:
                parts += (name, b": ", value, b"\r\n")
                if kind == _UPGRADE:
                    upgrade = True
        return upgrade

    def _kind(self, name: bytes) -> int:
        if not TOKEN.fullmatch(name):
            raise ValueError("a header field's name is not a token")
        lower = name.lower()
        kind = _OWNED if lower in _OWN else _UPGRADE if lower == b"upgrade" else _PASS
        # Names come from clients: the memory of them is bounded.
        if len(self._kinds) < _NAMES_KEPT and len(name) <= _NAME_BYTES_KEPT:
            self._kinds[name] = kind
        return kind


def check_uri(uri: bytes) -> None:
    """Raise ValueError, as ``request`` would fail, for a URI that cannot be asked for."""
    if uri.translate(None, _VISIBLE):
        raise ValueError("it has bytes that no request target may have")
    _origin(uri[: _authority_end(uri)])


def _framing(producer: IBodyProducer) -> bytes:
    length = producer.length
    if length is UNKNOWN_LENGTH:
        return b"Transfer-Encoding: chunked\r\n"
    if not isinstance(length, int) or length < 0:
        raise ValueError("a body's length is a number of bytes or UNKNOWN_LENGTH")
    return b"Content-Length: %d\r\n" % length


def _authority_end(uri: bytes) -> int:
    """Where the request target begins: behind ``scheme://authority``."""
    start = uri.find(b"://") + 3
    if start == 2:
        raise ValueError("not an absolute http or https URI")
    end = uri.find(b"/", start)
    question = uri.find(b"?", start, end if end != -1 else len(uri))
    if question != -1:
        return question
    return end if end != -1 else len(uri)


def _origin(origin: bytes) -> Origin:
    scheme, _, authority = origin.partition(b"://")
    scheme = scheme.lower()
    match = _AUTHORITY.fullmatch(authority)
    if scheme not in (b"http", b"https") or match is None:
        raise ValueError("not an absolute http or https URI with a plain host")
    default = 443 if scheme == b"https" else 80
    port = int(match["port"] or default)
    if not 0 < port < 65536:
        raise ValueError("not a port")
    host = match["host"].lower()
    shown = host if port == default else b"%b:%d" % (host, port)
    return Origin(
        secure=scheme == b"https",
        host=host.strip(b"[]").decode("ascii"),
        port=port,
        host_field=b" HTTP/1.1\r\nHost: " + shown + b"\r\n",
    )
