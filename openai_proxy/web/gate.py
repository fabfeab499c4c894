"""Who may see what an operator sees, and who may change something."""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from enum import Enum, auto
from ipaddress import ip_address
from typing import Final, Protocol

from msgspec import Struct
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from openai_proxy.config.secret import Secret
from openai_proxy.wire.fields import Field, first_of, values_of
from openai_proxy.wire.request import Request


class Wish(Enum):
    """What a request is for."""

    METRICS = auto()
    LOOK = auto()
    CHANGE = auto()


class Refusal(Struct, frozen=True, gc=False):
    """Why a request is not answered."""

    status: int
    message: str
    code: str
    fields: tuple[Field, ...] = ()


NO_TOKEN: Final = Refusal(
    401,
    "This needs the admin token: Authorization: Bearer <token>, or any user with the token as its password.",
    "admin_token_required",
    ((b"WWW-Authenticate", b'Basic realm="openai_proxy admin"'), (b"WWW-Authenticate", b"Bearer")),
)
OPEN_LISTENER: Final = Refusal(
    403,
    "Others can reach this listener and it has no token, so it serves health and metrics only. Set"
    " admin.token in the configuration file, or let the listener be on 127.0.0.1.",
    "admin_token_not_configured",
)
NOT_LOCAL: Final = Refusal(
    403,
    "Without a token this is only for clients on the daemon's own machine, asking for localhost, 127.0.0.1 or"
    " [::1] through no proxy. To ask from elsewhere set admin.address and admin.token in the configuration"
    " file.",
    "local_clients_only",
)
CROSS_SITE: Final = Refusal(
    403,
    "A browser sent this for a page of another site. Open this one by its own address.",
    "cross_site_request",
)
CLIENTS_PORT: Final = Refusal(
    403,
    "Nothing can be changed on the port of the clients. Give the daemon an admin listener: --admin PORT, or"
    " admin.address in the configuration file.",
    "admin_listener_required",
)

_LOCAL_HOST: Final = re.compile(rb"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_BY_PROXY: Final = (
    b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip",
)  # fmt: skip


class Gate(Protocol):
    """Decides by the head of a request alone."""

    def refusal(self, request: Request, wish: Wish) -> Refusal | None:
        """Why it may not have its wish; None: it may."""


class AdminGate:
    """Of the operator's own port. With a token, who has it may do all, and nobody else anything."""

    def __init__(self, token: Secret | None, is_private: bool) -> None:
        """:param is_private: whether only the machine itself reaches the port; see ``is_private``."""
        self.change(token, is_private)

    def change(self, token: Secret | None, is_private: bool) -> None:
        """From now on these hold; see ``__init__``."""
        self._token = None if token is None else token.reveal().encode()
        self._is_private = is_private

    def refusal(self, request: Request, wish: Wish) -> Refusal | None:
        if self._token is None:
            return None if wish is Wish.METRICS else self._without_token(request)
        if not _has_token(request, self._token):
            return NO_TOKEN
        # A browser adds the password to what any page has it send.
        return CROSS_SITE if _is_cross_site(request) else None

    def _without_token(self, request: Request) -> Refusal | None:
        return _local_refusal(request) if self._is_private else OPEN_LISTENER


class ClientsGate:
    """Of the port of the clients, where there is no other: metrics for all, pages for the machine itself."""

    def refusal(self, request: Request, wish: Wish) -> Refusal | None:
        if wish is Wish.METRICS:
            return None
        return CLIENTS_PORT if wish is Wish.CHANGE else _local_refusal(request)


def is_private(address: IAddress) -> bool:
    """Whether only this machine reaches a port at ``address``, or sends from it."""
    if isinstance(address, UNIXAddress):
        # Its folder's mode says who may.
        return True
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return False
    try:
        found = ip_address(address.host)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _local_refusal(request: Request) -> Refusal | None:
    peer = request.channel.getPeer()
    if not is_private(peer) or any(first_of(request.fields, name) is not None for name in _BY_PROXY):
        return NOT_LOCAL
    # A page may have its own name lead to 127.0.0.1 (DNS rebinding), but its browser still says the name.
    # None reaches a Unix socket.
    if not isinstance(peer, UNIXAddress):
        hosts = values_of(request.fields, b"host")
        if len(hosts) != 1 or not _LOCAL_HOST.fullmatch(hosts[0]):
            return NOT_LOCAL
    return CROSS_SITE if _is_cross_site(request) else None


def _is_cross_site(request: Request) -> bool:
    """Whether a browser says that it sends this for another site's page (Fetch, 3.2 "Origin header")."""
    origins = values_of(request.fields, b"origin")
    host = first_of(request.fields, b"host") or b""
    return any(origin.partition(b"://")[2].lower() != host.lower() or not host for origin in origins)


def _has_token(request: Request, token: bytes) -> bool:
    said = values_of(request.fields, b"authorization")
    if len(said) != 1:
        return False
    scheme, _, credentials = said[0].partition(b" ")
    given = credentials.strip()
    if scheme.lower() == b"basic":
        given = _password(given)
    elif scheme.lower() != b"bearer":
        return False
    return hmac.compare_digest(given, token)


def _password(credentials: bytes) -> bytes:
    """Of Basic credentials (RFC 7617); empty, which no token is, if they are none."""
    try:
        return b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""
