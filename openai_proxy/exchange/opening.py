"""An answer's beginning, held back until it is known to be one: until then another may take its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from openai_proxy.exchange.reading import Converting, Reading
from openai_proxy.observe.inflate import Inflate, InflateError

_DATA: Final = b"data:"
_GZIP_BEGINS: Final = b"\x1f\x8b"

MOST_BYTES: Final = 64 * 1024
"""Of a stream: behind so much it has begun, whatever it says."""
MOST_JSON_BYTES: Final = 1024 * 1024
"""Of JSON, which no client can use before it is whole."""
MOST_SECONDS: Final = 10.0
"""Of a stream that says nothing but that it is alive: who waits for bytes on its way (a proxy's idle limit)
is to have them.
"""


class Opened(Protocol):
    """Who decides what becomes of an answer that has begun."""

    def opened(self) -> None:
        """Its first event (or first token, if that is waited for) has come, or it is too long to be held."""

    def refused(self) -> None:
        """It says that it is an error, or nothing can be made of it for the client."""


class Opening:
    """Reads the first pieces of a 2xx answer, and keeps them.

    Behind ``opened``, what is held is the next result of ``piece``.
    """

    def __init__(
        self,
        reading: Reading | Converting,
        waits_for_token: bool,
        is_gathered: bool,
        owner: Opened,
        seconds: Callable[[], float],
    ) -> None:
        """:param is_gathered: whether the client gets nothing of JSON before all of it is there.
        :param seconds: the time.
        """
        self._reading = reading
        self._is_whole_only = is_gathered and not reading.is_stream
        self._waits_for_token = waits_for_token
        self._owner: Opened | None = owner
        self._seconds = seconds
        self._began = seconds()
        self._raw: list[bytes] = []
        self._made: list[bytes] = []
        self._size = 0
        self._has_data = False
        self._last = b""

    @property
    def has_ended(self) -> bool:
        """See :class:`~openai_proxy.relay.download.Reader`."""
        return self._reading.has_ended

    def beginning(self) -> bytes:
        """What the upstream said first, plain: of a stream the data of its first event, else all of it."""
        raw = _plain(b"".join(self._raw))
        return _data(raw, raw.find(_DATA)) if self._reading.is_stream else raw

    def ending(self) -> bytes:
        """What it said last: the data of the last event, where an error is, or all that is no stream."""
        raw = _plain(b"".join(self._raw))
        return _data(raw, raw.rfind(_DATA)) if self._reading.is_stream else raw

    def held(self) -> bytes:
        """All that the client is to have of it; it is kept no longer."""
        made = b"".join(self._made)
        self.close()
        return made

    def close(self) -> None:
        """Nothing is held, and its owner is told nothing more."""
        self._raw.clear()
        self._made.clear()
        # The two know each other, and a cycle is work for the collector.
        self._owner = None

    def piece(self, data: bytes) -> bytes:
        """See :class:`~openai_proxy.relay.download.Reader`."""
        owner, reading = self._owner, self._reading
        if owner is None:
            return b""
        self._raw.append(data)
        self._made.append(reading.piece(data))
        self._size += len(data)
        if reading.broken is not None or (reading.is_stream and reading.error is not None):
            owner.refused()
        elif self._has_begun(data):
            # The head goes out first.
            owner.opened()
            return self.held()
        return b""

    def _has_begun(self, data: bytes) -> bool:
        reading = self._reading
        if not reading.is_stream:
            return self._size > MOST_JSON_BYTES and not self._is_whole_only
        if reading.has_tokens or reading.has_ended or self._size > MOST_BYTES:
            return True
        if self._waits_for_token:
            return False
        return self._has_event(data) or self._seconds() - self._began >= MOST_SECONDS

    def _has_event(self, data: bytes) -> bool:
        """Whether an event with data has come whole; comments alone are none."""
        joined = self._last + data
        if not self._has_data:
            place = joined.find(b"data:")
            self._has_data = place >= 0
            joined = joined[max(place, 0) :]
        self._last = joined[-4:]
        return self._has_data and (b"\n\n" in joined or b"\r\n\r\n" in joined or b"\r\r" in joined)


def _plain(raw: bytes) -> bytes:
    """Unzipped, where it is gzip: of what cannot be unzipped nothing is said."""
    if not raw.startswith(_GZIP_BEGINS):
        return raw
    try:
        return Inflate().feed(raw)
    except InflateError:
        return b""


def _data(raw: bytes, place: int) -> bytes:
    if place < 0:
        return b""
    event = raw[place + len(_DATA) :]
    return event.partition(b"\n\n")[0].partition(b"\r\n\r\n")[0].strip()
