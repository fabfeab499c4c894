"""Reads one JSON body."""

from __future__ import annotations

from typing import Final

import msgspec

from openai_proxy.observe.answer import AnyAnswer
from openai_proxy.observe.inflate import Inflate
from openai_proxy.observe.members import Named, decoded, error_in_body
from openai_proxy.observe.message_events import SaidByMessage
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.said import Said

MAX_JSON_BYTES: Final = 16 * 1024 * 1024
"""What is kept of a JSON answer to be decoded at its end; of a longer one nothing is known."""

_named = msgspec.json.Decoder(Named)


class JsonObserver(Observer):
    """Of one JSON body, decoded once when it is whole."""

    def __init__(
        self,
        said: Said,
        inflate: Inflate | None,
        usage_expected: bool,
        is_error: bool,
        answers: msgspec.json.Decoder[AnyAnswer] | None = None,
    ) -> None:
        """:param answers: of the form that is expected; what has another is read with more care"""
        super().__init__(said, inflate, usage_expected)
        self._is_error = is_error
        self._answers = answers
        self._pieces: list[bytes] = []
        self._size = 0

    def _read(self, data: bytes, now: float) -> bool:
        self._size += len(data)
        if self._size > MAX_JSON_BYTES:
            self._stop()
        else:
            self._pieces.append(data)
        return False

    def _finish(self, whole: bool) -> None:
        body = b"".join(self._pieces)
        self._forget()
        said = self.said
        answer = decoded(self._answers, body) if self._answers is not None else None
        if answer is not None:
            said.ended = True
            said.take_answer(answer)
        else:
            self._read_named(body, whole)
        if self._is_error and said.error is None:
            said.error = error_in_body(body)

    def _read_named(self, body: bytes, whole: bool) -> None:
        said = self.said
        named = decoded(_named, body)
        if named is not None:
            said.ended = True
            said.take(named)
            if isinstance(said, SaidByMessage):
                said.overwrite(named.usage)
        elif whole:
            said.unread = True

    def _forget(self) -> None:
        self._pieces = []
