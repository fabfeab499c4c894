"""An answer's body on its way: to a client, to nobody yet, or to nobody at all."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from openai_proxy.relay.download import Download, Drain, Unread
from openai_proxy.wire.errors import Truncated
from tests.support.exchanges import Transport


class Watch:
    write_blocked = False


class Channel:
    def __init__(self) -> None:
        self.watch = Watch()


class Client:
    """A request, as far as a download knows it."""

    def __init__(self) -> None:
        self.producer: Any = None
        self.channel = Channel()
        self.sent: list[bytes] = []
        self.flushes = 0

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def flush(self) -> None:
        self.flushes += 1


class Loud:
    """A reader that shows that it has read."""

    has_ended = False

    def piece(self, data: bytes) -> bytes:
        return data.upper()


class Flushing(Transport):
    """As the wire's own: it says when all that one read brought was given."""

    flushes_reader = True


class Rig:
    """A download, and what it was told at its end."""

    def __init__(self, client: Client | None, reader: Any = None, transport: Transport | None = None) -> None:
        self.ended: list[Failure | None] = []
        self.transport = transport or Transport()
        self.download = Download(client, reader or Unread(), self.ended.append)  # type: ignore[arg-type]
        self.download.makeConnection(self.transport)


def test_pieces_go_to_the_client() -> None:
    """Each at once; the end is told once, without a failure."""
    client = Client()
    rig = Rig(client, Loud())
    rig.download.dataReceived(b"a")
    rig.download.dataReceived(b"b")
    assert client.sent == [b"A", b"B"]
    assert client.producer is rig.transport
    rig.download.connectionLost(Failure(ResponseDone()))
    assert rig.ended == [None]
    assert client.producer is None


def test_what_one_read_brought_is_one_piece() -> None:
    """Where the transport says so."""
    client = Client()
    rig = Rig(client, transport=Flushing())
    rig.download.dataReceived(b"a")
    rig.download.dataReceived(b"b")
    assert client.sent == []
    rig.download.flush()
    assert client.sent == [b"ab"]
    rig.download.dataReceived(b"c")
    rig.download.connectionLost(Failure(PotentialDataLoss()))
    assert client.sent == [b"ab", b"c"]
    assert rig.ended == [None]


def test_without_a_client_its_reader_alone_has_the_pieces() -> None:
    """Until it is given to one, who has what the reader held and all that comes."""
    client = Client()

    class Holding:
        has_ended = False
        held = b""

        def piece(self, data: bytes) -> bytes:
            self.held += data
            if b"!" not in data:
                return b""
            rig.download.give_to(client, Loud())  # type: ignore[arg-type]
            return self.held

    rig = Rig(None, Holding())
    rig.download.dataReceived(b"a")
    assert client.sent == []
    rig.download.dataReceived(b"b!")
    assert client.sent == [b"ab!"]
    assert client.producer is rig.transport
    rig.download.dataReceived(b"c")
    assert client.sent == [b"ab!", b"C"]
    rig.download.connectionLost(Failure(ResponseDone()))
    assert rig.ended == [None]


def test_a_client_that_is_given_it_in_its_last_piece_has_all() -> None:
    """Its connection is gone then: nothing is left to be paused."""
    client = Client()

    class Late:
        has_ended = False

        def piece(self, data: bytes) -> bytes:
            rig.download.give_to(client, Loud())  # type: ignore[arg-type]
            return data

    rig = Rig(None, Late(), Flushing())
    rig.download.dataReceived(b"a")
    rig.download.connectionLost(Failure(ResponseDone()))
    assert client.sent == [b"a"]
    assert client.producer is None
    assert rig.transport.calls == []


def test_a_client_that_does_not_read_pauses_it() -> None:
    """From the beginning, and when it is given it later."""
    client = Client()
    client.channel.watch.write_blocked = True
    assert Rig(client).transport.calls == ["pause"]
    later = Rig(None)
    assert later.transport.calls == []
    later.download.give_to(client, Unread())  # type: ignore[arg-type]
    assert later.transport.calls == ["pause"]


@pytest.mark.parametrize("has_client", [True, False])
def test_it_is_cancelled_once(has_client: bool) -> None:
    """The upstream is aborted; what it says later of its end is not told again."""
    rig = Rig(Client() if has_client else None)
    rig.download.cancel()
    rig.download.cancel()
    rig.download.connectionLost(Failure(Truncated("x")))
    assert rig.transport.calls == ["stop"]
    [failure] = rig.ended
    assert failure is not None and failure.check(CancelledError)


def test_a_cut_is_told() -> None:
    """As what it was."""
    rig = Rig(Client())
    rig.download.connectionLost(Failure(Truncated("x")))
    [failure] = rig.ended
    assert failure is not None and failure.check(Truncated)


def test_a_short_rest_is_drained() -> None:
    """Its connection is fit for the next request."""
    drain, transport = Drain(), Transport()
    drain.makeConnection(transport)
    drain.dataReceived(bytes(64 * 1024))
    drain.connectionLost(Failure(ResponseDone()))
    assert transport.calls == []


def test_a_long_rest_is_cut_off() -> None:
    """Once: it would cost more than a new connection."""
    drain, transport = Drain(), Transport()
    drain.makeConnection(transport)
    for _ in range(3):
        drain.dataReceived(bytes(40 * 1024))
    assert transport.calls == ["stop"]


@pytest.mark.parametrize(
    ("pieces", "has_ended"),
    [
        ([b"data: [DONE]\n\n"], True),
        ([b"data: [DO", b"NE]\n\n"], True),
        ([b"data:[DONE]"], True),
        ([b"data: [DONE]\n\n", b"data: {}\n\n"], False),
        ([], False),
    ],
)
def test_the_last_event_is_known_unread(pieces: list[bytes], has_ended: bool) -> None:
    """Though it comes in two pieces."""
    reader = Unread()
    for data in pieces:
        assert reader.piece(data) == data
    assert reader.has_ended is has_ended
