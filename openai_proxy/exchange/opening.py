"""An answer's beginning, held back until it is known to be one: until then another may take its place."""

from __future__ import annotations

from typing import Final, Protocol

from openai_proxy.exchange.reading import Converting, Reading

_DATA: Final = b"data:"

MOST_BYTES: Final = 64 * 1024
"""Of a stream: behind so much it has begun, whatever it says."""
MOST_JSON_BYTES: Final = 1024 * 1024
"""Of JSON, which no client can use before it is whole."""


class Opened(Protocol):
    """Who decides what becomes of an answer that has begun."""

    def opened(self) -> None:
        """Its first event (or first token, if that is waited for) has come, or it is too long to be held."""

    def refused(self) -> None:
        """It says that it is an error."""


class Opening:
    """Reads the first pieces of a 2xx answer, and keeps them.

    Behind ``opened``, what is held is the next result of ``piece``.
    """

    def __init__(
        self, reading: Reading | Converting, waits_for_token: bool, is_gathered: bool, owner: Opened
    ) -> None:
        """:param is_gathered: whether the client gets nothing of JSON before all of it is there."""
        self._reading = reading
        self._is_whole_only = is_gathered and not reading.is_stream
        self._waits_for_token = waits_for_token
        self._owner = owner
        self._raw: list[bytes] = []
        self._made: list[bytes] = []
        self._size = 0
        self._has_data = False
        self._last = b""
        self._is_over = False

    @property
    def has_ended(self) -> bool:
        """See :class:`~openai_proxy.relay.download.Reader`."""
        return self._reading.has_ended

    @property
    def raw(self) -> bytes:
        """All that the upstream sent."""
        return b"".join(self._raw)

    def held(self) -> bytes:
        """All that the client is to have of it; it is kept no longer."""
        made = b"".join(self._made)
        self._raw.clear()
        self._made.clear()
        self._is_over = True
        return made

    def piece(self, data: bytes) -> bytes:
        """See :class:`~openai_proxy.relay.download.Reader`."""
        if self._is_over:
            return b""
        reading = self._reading
        self._raw.append(data)
        self._made.append(reading.piece(data))
        self._size += len(data)
        if reading.is_stream and reading.error is not None:
            self._is_over = True
            self._owner.refused()
        elif self._has_begun(data):
            # The head goes out first.
            self._owner.opened()
            return self.held()
        return b""

    def _has_begun(self, data: bytes) -> bool:
        reading = self._reading
        if not reading.is_stream:
            return self._size > MOST_JSON_BYTES and not self._is_whole_only
        if reading.has_tokens or reading.has_ended or self._size > MOST_BYTES:
            return True
        return not self._waits_for_token and self._has_event(data)

    def _has_event(self, data: bytes) -> bool:
        """Whether an event with data has come whole; comments alone are none."""
        joined = self._last + data
        if not self._has_data:
            place = joined.find(b"data:")
            self._has_data = place >= 0
            joined = joined[max(place, 0) :]
        self._last = joined[-4:]
        return self._has_data and (b"\n\n" in joined or b"\r\n\r\n" in joined or b"\r\r" in joined)


def first_event(raw: bytes) -> bytes:
    """The data of the first event."""
    return _data(raw, raw.find(_DATA))


def last_event(raw: bytes) -> bytes:
    """The data of the last one: what a stream said that it failed with."""
    return _data(raw, raw.rfind(_DATA))


def _data(raw: bytes, place: int) -> bytes:
    if place < 0:
        return b""
    event = raw[place + len(_DATA) :]
    return event.partition(b"\n\n")[0].partition(b"\r\n\r\n")[0].strip()
