"""An answer's beginning: held until it is one, and given on once."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.exchange.opening import MOST_BYTES, MOST_JSON_BYTES, MOST_SECONDS, Opening
from openai_proxy.exchange.reading import Converting, Reading, Unchanged
from openai_proxy.observe.choice import observer_for
from openai_proxy.wire.body import HeldBodies
from tests.support.routed import DONE, ERROR, TOKEN

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'


class Told:
    """Who is told, and gets what was held."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def opened(self) -> None:
        self.told.append("opened")

    def refused(self) -> None:
        self.told.append("refused")


def opening(
    waits_for_token: bool = False, is_gathered: bool = False, media: bytes = b"text/event-stream", **more: Any
) -> tuple[Opening, Told]:
    """Of a chat completion."""
    observer = observer_for("chat_completions", 200, media, more.get("encoding"))
    assert observer is not None
    reading = Reading(observer, None, True, lambda: 0.0, HeldBodies(1 << 24))
    told = Told()
    seconds = more.get("seconds", lambda: 0.0)
    return Opening(reading, waits_for_token, is_gathered, told, seconds), told


@pytest.mark.parametrize(
    "held", [b": a comment\n\n", b"event: x\n", b"data: {", ROLE[:-1], b": a\n\n" * 50, b"\n\n"]
)
def test_what_is_no_event_is_held(held: bytes) -> None:
    """Comments, and halves of events."""
    made, told = opening()
    assert made.piece(held) == b""
    assert not told.told


def test_comments_are_given_on_in_the_end() -> None:
    """A queue may be long, and somebody may wait for bytes; not where another target would be asked."""
    now = iter([0.0, MOST_SECONDS - 1, MOST_SECONDS])
    made, told = opening(seconds=lambda: next(now))
    assert made.piece(b": ping\n\n") == b""
    assert made.piece(b": pong\n\n") == b": ping\n\n: pong\n\n"
    assert told.told == ["opened"]
    made, told = opening(waits_for_token=True, seconds=lambda: 2 * MOST_SECONDS)
    assert made.piece(b": ping\n\n") == b""


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("cut", range(8))
def test_the_first_event_opens(end: bytes, cut: int) -> None:
    """Wherever it is cut, and whichever its line ends; all that was held comes with it, once."""
    event = b": a\n\n" + ROLE[:-2] + end
    made, told = opening()
    place = len(event) - cut
    given = made.piece(event[:place])
    assert given + made.piece(event[place:]) == event
    assert told.told == ["opened"]
    assert made.piece(b"more") == b"", "it is somebody else's now"


def test_the_first_token_opens_where_that_is_waited_for() -> None:
    """Events before it do not."""
    made, told = opening(waits_for_token=True)
    assert made.piece(ROLE) == b""
    assert not told.told
    assert made.piece(TOKEN) == ROLE + TOKEN
    assert told.told == ["opened"]


@pytest.mark.parametrize("last", [DONE, b": x\n" * (MOST_BYTES // 4 + 1)])
def test_a_stream_without_tokens_opens_at_its_end_or_when_it_is_long(last: bytes) -> None:
    """It has begun, whatever it says."""
    made, told = opening(waits_for_token=True)
    assert made.piece(ROLE) == b""
    assert made.piece(last) == ROLE + last
    assert told.told == ["opened"]


@pytest.mark.parametrize("is_zipped", [True, False])
def test_an_error_refuses(is_zipped: bool) -> None:
    """What it says can be told to the client, plain."""
    made, told = opening(encoding=b"gzip" if is_zipped else None)
    said = b": a\n\n" + b"event: error\ndata: " + ERROR + b"\n\n"
    assert made.piece(gzip.compress(said) if is_zipped else said) == b""
    assert told.told == ["refused"]
    assert made.ending() == ERROR


def test_json_is_held_to_its_end_or_until_it_is_long() -> None:
    """But what is gathered is held however long it is: the client gets another body."""
    data = b" " * MOST_JSON_BYTES
    made, told = opening(media=b"application/json")
    assert made.piece(data) == b""
    assert made.piece(b"a") == data + b"a"
    assert told.told == ["opened"]
    gathered, told = opening(media=b"application/json", is_gathered=True)
    assert gathered.piece(data + b"a") == b""
    assert not told.told
    assert gathered.held() == data + b"a"


def test_the_beginning_is_the_first_event_or_all_json() -> None:
    """Where the ids of what was made are."""
    made, _ = opening(waits_for_token=True)
    made.piece(b"event: a\r\ndata: {1}\r\n\r\ndata: {2}\n\n")
    assert (made.beginning(), made.ending()) == (b"{1}", b"{2}")
    made, _ = opening(media=b"application/json")
    made.piece(b'{"id":')
    made.piece(b"1}")
    assert made.beginning() == made.ending() == b'{"id":1}'
    made, _ = opening(waits_for_token=True)
    made.piece(b": nothing\n\n")
    assert made.beginning() == b""


def test_what_is_no_gzip_says_nothing() -> None:
    """Though it begins so."""
    told = Told()
    made = Opening(Converting(Unchanged(), False), False, False, told, lambda: 0.0)
    made.piece(b"\x1f\x8b no gzip")
    assert made.ending() == b""


def test_what_is_closed_tells_nobody() -> None:
    """A race was lost: what still comes is nobody's."""
    made, told = opening()
    made.close()
    assert made.piece(TOKEN) == b""
    assert not told.told
    assert made.held() == b""


@given(st.lists(st.sampled_from([ROLE, TOKEN, b": a\n\n", b"\n", b"data: {", b"}\n\n", DONE]), max_size=8))
def test_no_byte_is_lost_or_said_twice(pieces: list[bytes]) -> None:
    """What was given on and what is held are all that came, in its order."""
    made, told = opening()
    said = b""
    for data in pieces:
        said += data
        out = made.piece(data)
        if told.told:
            assert told.told == ["opened"]
            assert out == said
            return
        assert out == b""
    assert made.held() == said
