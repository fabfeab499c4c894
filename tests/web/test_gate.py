"""Who is let in where: each rule by itself, and all of them together."""

from __future__ import annotations

from base64 import b64encode
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from openai_proxy.config.secret import Secret
from openai_proxy.web.gate import (
    CLIENTS_PORT,
    CROSS_SITE,
    NO_TOKEN,
    NOT_LOCAL,
    OPEN_LISTENER,
    AdminGate,
    ClientsGate,
    Gate,
    Refusal,
    Wish,
    is_private,
)
from openai_proxy.wire.fields import Field
from openai_proxy.wire.request import Request

TOKEN = Secret("s3cret-token", "env:TOKEN")
LOCAL = IPv4Address("TCP", "127.0.0.1", 5555)
AFAR = IPv4Address("TCP", "192.0.2.7", 5555)
SOCKET = UNIXAddress("/run/x")
HOST: Field = (b"Host", b"localhost:9090")
OWN: Field = (b"Origin", b"http://localhost:9090")


class Channel:
    """Of a request: who sent it."""

    transport = None
    message_began = 0.0

    def __init__(self, peer: IAddress) -> None:
        self._peer = peer

    def getPeer(self) -> IAddress:
        return self._peer


def refused(gate: Gate, wish: Wish, *fields: Field, peer: IAddress = LOCAL) -> Refusal | None:
    """What the gate says to a request with these fields."""
    request = Request(Channel(peer), b"GET", b"/inflight", list(fields), True)  # type: ignore[arg-type]
    return gate.refusal(request, wish)


def basic(text: bytes) -> Field:
    return (b"authorization", b"Basic " + b64encode(text))


RIGHT = {
    "bearer": (b"Authorization", b"Bearer s3cret-token"),
    "bearer in lower case": (b"authorization", b"bearer   s3cret-token"),
    "basic": basic(b"anyone:s3cret-token"),
    "basic without a user": basic(b":s3cret-token"),
}
WRONG = {
    "nothing": (b"X", b"s3cret-token"),
    "another": (b"Authorization", b"Bearer s3cret-tokem"),
    "the beginning": (b"Authorization", b"Bearer s3cret"),
    "more": (b"Authorization", b"Bearer s3cret-token-and"),
    "empty": (b"Authorization", b"Bearer "),
    "no scheme": (b"Authorization", b"s3cret-token"),
    "another scheme": (b"Authorization", b"Digest s3cret-token"),
    "basic as user": basic(b"s3cret-token:"),
    "basic without colon": basic(b"s3cret-token"),
    "basic, not base64": (b"Authorization", b"Basic s3cret-token!"),
    "basic, more in the password": basic(b"me:x:s3cret-token"),
    "not ascii": (b"Authorization", b"Bearer s3cret-token\xff"),
}


@pytest.mark.parametrize("peer", [LOCAL, AFAR, SOCKET], ids=["local", "afar", "socket"])
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("wish", Wish)
def test_with_a_token_it_opens_everything_and_nothing_else_does(
    wish: Wish, private: bool, peer: IAddress
) -> None:
    """Whoever asks, from wherever: metrics, pages and changes."""
    gate = AdminGate(TOKEN, private)
    for name, field in RIGHT.items():
        assert refused(gate, wish, HOST, field, peer=peer) is None, name
    for name, field in WRONG.items():
        assert refused(gate, wish, HOST, field, peer=peer) is NO_TOKEN, name
    assert refused(gate, wish, HOST, RIGHT["bearer"], WRONG["another"], peer=peer) is NO_TOKEN


def test_a_browser_that_has_the_token_is_not_used_by_another_site() -> None:
    """It adds the password by itself to what a foreign page has it send."""
    gate = AdminGate(TOKEN, True)
    mine = (HOST, RIGHT["basic"])
    for origin in (b"http://evil.example", b"null", b"http://localhost:8080", b"localhost:9090", b""):
        assert refused(gate, Wish.CHANGE, *mine, (b"Origin", origin)) is CROSS_SITE, origin
    assert refused(gate, Wish.CHANGE, *mine, OWN) is None
    assert refused(gate, Wish.CHANGE, *mine, (b"Origin", b"https://LOCALHOST:9090")) is None
    assert refused(gate, Wish.CHANGE, *mine, OWN, (b"Origin", b"http://evil.example")) is CROSS_SITE


@pytest.mark.parametrize(("wish", "peer"), list(product((Wish.LOOK, Wish.CHANGE), (LOCAL, AFAR, SOCKET))))
def test_a_listener_that_others_reach_without_a_token(wish: Wish, peer: IAddress) -> None:
    """Metrics only, even for the machine itself."""
    gate = AdminGate(None, False)
    assert refused(gate, wish, HOST, peer=peer) is OPEN_LISTENER
    assert refused(gate, Wish.METRICS, HOST, peer=peer) is None


LOCAL_HOSTS = (b"localhost", b"localhost:1", b"LocalHost:9090", b"127.0.0.1", b"127.9.9.9:80", b"[::1]:8080")
FOREIGN_HOSTS = (
    b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example", b"evil.example:8080", b"10.0.0.1",
    b"[::2]", b"", b"localhost:", b"xlocalhost", b"localhost:80:80", b"0.0.0.0", b"127.1",
)  # fmt: skip
PROXIES = (
    b"Via", b"Forwarded", b"X-Forwarded-For", b"x-forwarded-host", b"X-Forwarded-Proto", b"X-Real-IP",
)  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "wish"),
    [
        (AdminGate(None, True), Wish.LOOK),
        (AdminGate(None, True), Wish.CHANGE),
        (ClientsGate(), Wish.LOOK),
    ],
    ids=["admin-look", "admin-change", "clients-look"],
)
class TestWithoutAToken:
    """Only the machine itself, as itself."""

    def test_who_asks_for_the_machine_itself_is_let_in(self, gate: Gate, wish: Wish) -> None:
        """By its names, from each of its addresses, with and without a browser."""
        for host in LOCAL_HOSTS:
            assert refused(gate, wish, (b"Host", host)) is None, host
        for address in ("127.0.0.1", "127.3.2.1"):
            assert refused(gate, wish, HOST, peer=IPv4Address("TCP", address, 1)) is None
        for address in ("::1", "::ffff:127.0.0.1"):
            assert refused(gate, wish, HOST, peer=IPv6Address("TCP", address, 1)) is None
        assert refused(gate, wish, HOST, OWN) is None

    def test_others_are_not(self, gate: Gate, wish: Wish) -> None:
        """Whatever they call us."""
        for address in ("192.0.2.7", "10.0.0.1", "172.17.0.1"):
            assert refused(gate, wish, HOST, peer=IPv4Address("TCP", address, 1)) is NOT_LOCAL
        for address in ("fe80::1%eth0", "::ffff:192.0.2.7", "2001:db8::1"):
            assert refused(gate, wish, HOST, peer=IPv6Address("TCP", address, 1)) is NOT_LOCAL
        assert refused(gate, wish, HOST, peer=HostnameAddress(b"localhost", 1)) is NOT_LOCAL

    def test_a_name_that_was_made_to_lead_here_is_not(self, gate: Gate, wish: Wish) -> None:
        """DNS rebinding: a browser on this machine, a page of another site; no Host, or several."""
        for host in FOREIGN_HOSTS:
            assert refused(gate, wish, (b"Host", host)) is NOT_LOCAL, host
        assert refused(gate, wish) is NOT_LOCAL
        assert refused(gate, wish, HOST, HOST) is NOT_LOCAL

    def test_who_came_through_a_proxy_is_not(self, gate: Gate, wish: Wish) -> None:
        """The proxy is on this machine; who asked it need not be."""
        for name in PROXIES:
            assert refused(gate, wish, HOST, (name, b"x")) is NOT_LOCAL, name
            assert refused(gate, wish, HOST, (name, b""), peer=SOCKET) is NOT_LOCAL, name

    def test_a_page_of_another_site_is_not(self, gate: Gate, wish: Wish) -> None:
        """Also one of another port of this machine."""
        for origin in (b"http://evil.example", b"null", b"http://localhost", b"http://localhost:9091"):
            assert refused(gate, wish, HOST, (b"Origin", origin)) is CROSS_SITE, origin

    def test_a_unix_socket_needs_no_name(self, gate: Gate, wish: Wish) -> None:
        """No browser reaches it; its folder's mode says who may."""
        assert refused(gate, wish, (b"Host", b"anything"), peer=SOCKET) is None
        assert refused(gate, wish, peer=SOCKET) is None


@pytest.mark.parametrize("peer", [LOCAL, AFAR, SOCKET], ids=["local", "afar", "socket"])
def test_the_clients_port_serves_metrics_to_all_and_changes_to_nobody(peer: IAddress) -> None:
    """As it was before there was an admin listener."""
    assert refused(ClientsGate(), Wish.METRICS, peer=peer) is None
    assert refused(ClientsGate(), Wish.CHANGE, HOST, RIGHT["bearer"], peer=peer) is CLIENTS_PORT


@given(st.binary(max_size=40), st.sampled_from([b"Bearer ", b"Basic ", b"basic", b""]))
def test_no_other_credentials_open_it(text: bytes, scheme: bytes) -> None:
    """Whatever is sent: no, and no exception."""
    gate = AdminGate(TOKEN, True)
    assert refused(gate, Wish.LOOK, HOST, (b"Authorization", scheme + text)) is NO_TOKEN


def test_refusals_say_what_to_configure_and_nothing_that_was_sent() -> None:
    """Fixed sentences."""
    for refusal, word in (
        (NO_TOKEN, "Bearer"),
        (OPEN_LISTENER, "admin.token"),
        (NOT_LOCAL, "admin.address"),
        (CLIENTS_PORT, "--admin"),
        (CROSS_SITE, "another site"),
    ):
        assert word in refusal.message
        assert refusal.status == (401 if refusal is NO_TOKEN else 403)
    assert [name for name, _ in NO_TOKEN.fields] == [b"WWW-Authenticate"] * 2


@pytest.mark.parametrize(
    ("address", "private"),
    [
        (LOCAL, True),
        (AFAR, False),
        (IPv4Address("TCP", "0.0.0.0", 1), False),
        (IPv6Address("TCP", "::", 1), False),
        (SOCKET, True),
        (HostnameAddress(b"localhost", 1), False),
        (IPv4Address("TCP", "", 1), False),
    ],
)
def test_what_only_this_machine_reaches(address: IAddress, private: bool) -> None:
    """Loopback, and sockets in the file system; what is not understood is not private."""
    assert is_private(address) is private
