"""A provider's rules for requests: members renamed and taken out, every other byte left as it came."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

import msgspec

from openai_proxy.config.provider import Quirks
from openai_proxy.observe.json_spans import members

_NAME: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_COMMA: Final = 0x2C
_SPACE: Final = b" \t\n\r"
_STREAM_OPTIONS: Final = "stream_options"

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RequestRules:
    """What one provider's quirks do to the top of a JSON body. Made once, used for every request."""

    def __init__(self, quirks: Quirks) -> None:
        self._rename = {old: msgspec.json.encode(new) for old, new in quirks.rename.items()}
        self._instead = quirks.rename
        self._drop = frozenset(quirks.drop) | ({_STREAM_OPTIONS} if quirks.strip_stream_options else set())
        self._named = self._drop | self._rename.keys()

    def applied(self, body: bytes) -> tuple[bytes, tuple[str, ...]]:
        """The body as the provider takes it, and the names that were taken out: none of a renamed one.

        A member whose new name is there too is taken out: both would be one too many. What is no JSON
        object, or has none of the names, comes back as it is: the same object. Raises
        :class:`~openai_proxy.observe.json_spans.TangledJson`.
        """
        if not self._named:
            return body, ()
        try:
            there = _object.decode(body).keys()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return body, ()
        if there.isdisjoint(self._named):
            return body, ()
        return self._rewritten(body, there)

    def _rewritten(self, body: bytes, there: Set[str]) -> tuple[bytes, tuple[str, ...]]:
        begin = start = body.index(b"{") + 1
        kept: list[bytes] = []
        dropped: list[str] = []
        for name, _, value_end in members(body):
            end = value_end
            while body[end] in _SPACE:
                end += 1
            piece = self._member(name, body[start:end], there)
            if piece is not None:
                kept.append(piece)
            else:
                dropped.append(name)
            # The last one ends at the brace; nothing is cut there.
            start = end + 1 if body[end] == _COMMA else end
        return body[:begin] + b",".join(kept) + body[start:], tuple(dict.fromkeys(dropped))

    def _member(self, name: str, piece: bytes, there: Set[str]) -> bytes | None:
        """One member with the white space around it, as it is to be; None if it is not to be."""
        if name in self._drop:
            return None
        new = self._rename.get(name)
        if new is None:
            return piece
        if self._instead[name] in there:
            return None
        return _NAME.sub(lambda _: new, piece, count=1)
