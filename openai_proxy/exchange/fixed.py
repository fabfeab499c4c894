"""Answers of providers that differ from their dialect, made fit for it on their way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from openai_proxy.config.provider import Quirks
from openai_proxy.providers.stream_fixes import StreamFixes

MOST_BYTES: Final = 1024 * 1024
"""Of an answer that is held to be put right."""


class FixedStream:
    """Of a chat completion's events."""

    failed = False

    def __init__(self, quirks: Quirks) -> None:
        self._fixes = StreamFixes(quirks)
        self.feed = self._fixes.feed

    def end(self, whole: bool) -> bytes:
        """See :class:`~openai_proxy.exchange.reading.Converter`."""
        return self._fixes.end()


class FixedWhole:
    """Of JSON, which is given at its end; what is longer than ``MOST_BYTES`` as it came."""

    failed = False

    def __init__(self, fixed: Callable[[bytes], bytes]) -> None:
        self._fixed = fixed
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """See :class:`~openai_proxy.exchange.reading.Converter`."""
        self._pieces.append(data)
        self._size += len(data)
        return b"" if self._size <= MOST_BYTES else self._taken()

    def end(self, whole: bool) -> bytes:
        """See :class:`~openai_proxy.exchange.reading.Converter`."""
        is_long = self._size > MOST_BYTES
        body = self._taken()
        return self._fixed(body) if whole and not is_long else body

    def _taken(self) -> bytes:
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body
