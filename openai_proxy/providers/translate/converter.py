"""What turns an upstream's answer into the client's, piece by piece or at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from openai_proxy.observe.inflate import Inflate, InflateError
from openai_proxy.providers.translate.event import decoded_text, encode
from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
MOST_BRACKETS: Final = 250_000
"""Of a text's arrays and objects, and in its strings: each may be a part, and a part is some microseconds in
which everybody else waits. A million tokens of JSON have fewer."""
_GZIP_BEGINS: Final = b"\x1f\x8b"
_DATA: Final = b"data:"
_SAID_BY_BODY: Final = 500
"""The status that an error stands for which came as a success."""

_any = msgspec.json.Decoder()


class Converter(Protocol):
    """Of one answer's body. All that it raises is :class:`UnreadableAnswer`."""

    failed: bool
    """Whether what was given is an error, or ended in one."""

    def feed(self, data: bytes) -> bytes:
        """Some bytes came; what the client is to have now, perhaps nothing."""

    def end(self, whole: bool) -> bytes:
        """No more will come; the rest, which is an error where the answer is not whole."""


class GatheredConverter:
    """Of JSON, which is given as a whole at the end.

    Nothing is given before :meth:`end`, so whoever holds the head until then can still answer with
    another: for what is raised, and for an error that came as a success (``failed``).
    """

    __slots__ = ("_answer", "_error", "_pieces", "_size", "_status", "failed")

    def __init__(
        self, status: int, answer: Callable[[Json], Json], error: Callable[[int, Any], Json]
    ) -> None:
        """:param answer: of a status below 400; it may raise :class:`UnreadableAnswer`.

        :param error: takes the status and whatever was decoded, None for what is no JSON.
        """
        self.failed = False
        self._status = status
        self._answer = answer
        self._error = error
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size > MAX_ANSWER_BYTES:
            self._pieces = []
            raise UnreadableAnswer("the answer is too long to be translated")
        self._pieces.append(data)
        return b""

    def end(self, whole: bool) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        if self._status >= 400:
            return self._failed(self._status, _decoded(data) if whole else None)
        if not whole:
            raise UnreadableAnswer("the answer was cut")
        body = _decoded(data)
        if not isinstance(body, dict):
            raise UnreadableAnswer("expected a JSON object")
        if body.get("error") or body.get("type") == "error":
            return self._failed(_SAID_BY_BODY, body)
        try:
            return encode(self._answer(body))
        except RecursionError:
            raise UnreadableAnswer("the answer is nested too deeply") from None

    def _failed(self, status: int, body: Any) -> bytes:
        self.failed = True
        return encode(self._error(status, body))


def _decoded(data: bytes) -> Any:
    """JSON, though it be zipped unasked, or the data of an event; None for all else."""
    if data.startswith(_GZIP_BEGINS):
        try:
            data = Inflate(MAX_ANSWER_BYTES).feed(data)
        except InflateError:
            return None
    if data.startswith((_DATA, b"event:")):
        data = data[data.find(_DATA) + len(_DATA) :].partition(b"\n")[0] if _DATA in data else b""
    return None if is_tangled(data) else decoded_text(_any, data)


def is_tangled(text: bytes) -> bool:
    """Whether it has more than ``MOST_BRACKETS``."""
    return text.count(b"{") + text.count(b"[") > MOST_BRACKETS
