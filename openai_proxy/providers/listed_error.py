"""An error that comes in a list, as Google's services send it: no SDK of OpenAI's reads its message there."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from openai_proxy.observe.members import UNREADABLE


class _WithError(Struct):
    error: Raw


_list = msgspec.json.Decoder(list[Raw])
_with_error: Final = msgspec.json.Decoder(_WithError)


def first_error(body: bytes) -> bytes:
    """``{"error": ...}`` out of ``[{"error": ...}]``, byte for byte; anything else as it is."""
    try:
        first = _list.decode(body)[0]
        _with_error.decode(first)
    except (IndexError, *UNREADABLE):
        return body
    return bytes(first)
