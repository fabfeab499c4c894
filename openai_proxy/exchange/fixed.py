"""Answers of providers that differ from their dialect, made fit for it on their way."""

from __future__ import annotations

from openai_proxy.config.provider import Quirks
from openai_proxy.providers.stream_fixes import StreamFixes, fixed_completion


class FixedStream:
    """Of a chat completion's events."""

    failed = False

    def __init__(self, quirks: Quirks) -> None:
        self._fixes = StreamFixes(quirks)
        self.feed = self._fixes.feed

    def end(self, whole: bool) -> bytes:
        """See :class:`~openai_proxy.exchange.reading.Converter`."""
        return self._fixes.end()


class FixedCompletion:
    """Of a whole one, which is given at its end."""

    failed = False

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """See :class:`~openai_proxy.exchange.reading.Converter`."""
        self._pieces.append(data)
        return b""

    def end(self, whole: bool) -> bytes:
        """See :class:`~openai_proxy.exchange.reading.Converter`."""
        body = b"".join(self._pieces)
        return fixed_completion(body, self._quirks) if whole else body
