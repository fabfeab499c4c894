"""What a request's body asks for, of what is read in every request: decoded once."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from openai_proxy.observe.members import NOTHING, UNREADABLE, decoded


class Asked(Struct, frozen=True, gc=False):
    """Members of a JSON object; all are empty if the body is none. It keeps the body in memory."""

    model: str = ""
    """Empty if it is no string or not there. The client's text, not a label."""
    stream: Raw = NOTHING
    stream_options: Raw = NOTHING

    @property
    def is_stream(self) -> bool:
        """Whether an answer in pieces is asked for."""
        return len(self.stream) == 4 and bytes(self.stream) == b"true"


class _Odd(Struct, gc=False):
    stream: Raw = NOTHING
    stream_options: Raw = NOTHING


_decode = msgspec.json.Decoder(Asked).decode
_odd = msgspec.json.Decoder(_Odd)
_NOTHING_ASKED: Final = Asked()


def asked_in(body: bytes) -> Asked:
    """What is asked for in ``body``, whatever it is."""
    try:
        return _decode(body)
    except UNREADABLE:
        # A model that is no string hides nothing else.
        odd = decoded(_odd, body)
        return _NOTHING_ASKED if odd is None else Asked("", odd.stream, odd.stream_options)
