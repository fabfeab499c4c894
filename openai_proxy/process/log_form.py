"""An event of the log as a line: for people, or as JSON."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, Final

from twisted.logger import LogEvent, LogLevel, formatEvent, formatEventAsClassicLogText
from twisted.python.failure import Failure

MAX_CHARACTERS: Final = 32 * 1024
"""Of a message, a field or a traceback; what is longer is cut."""
_CONTROL: Final = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
}
"""What would move a terminal's cursor, or end a line that does not end."""
_LEGACY: Final = frozenset({"message", "time", "system", "format", "isError", "failure", "why", "printed"})
"""Keys of Twisted's log before 15.2, which say what others say."""


def level_of(event: LogEvent) -> Any:
    """Its level; one without is taken for information."""
    return event.get("log_level") or LogLevel.info


def text_line(event: LogEvent) -> str:
    """As twistd writes it, without characters that a terminal obeys; empty if it says nothing."""
    line = formatEventAsClassicLogText(event)
    return "" if line is None else _cut(line[:-1]).translate(_CONTROL) + "\n"


def json_line(event: LogEvent) -> str:
    """One object in one line of ASCII; empty if it says nothing.

    ``time`` (RFC 3339, UTC), ``level``, ``namespace``, ``message``, the event's own fields, and ``failure``
    (``type``, ``text``, ``traceback``).
    """
    message, failure = formatEvent(event), event.get("log_failure")
    if not message and failure is None:
        return ""
    line: dict[str, Any] = {
        "time": _time(event.get("log_time")),
        "level": level_of(event).name,
        "namespace": _plain(event.get("log_namespace", "-")),
        "message": _cut(message),
    }
    for key, value in event.items():
        if not key.startswith("log_") and key not in _LEGACY:
            line.setdefault(key, _plain(value))
    if isinstance(failure, Failure):
        line["failure"] = _failure(failure)
    return json.dumps(line) + "\n"


FORMS: Final = {"text": text_line, "json": json_line}


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "..."


def _plain(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    # Exact types: one that inherits from them may raise when it is written.
    if type(value) is int and abs(value) < 1 << 53:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, bytes):
        return _cut(value.decode("utf-8", "backslashreplace"))
    try:
        return _cut(str(value))
    except Exception as error:
        return f"unprintable {type(value).__name__}: {type(error).__name__}"


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "type": _plain(getattr(failure.type, "__qualname__", failure.type)),
        "text": _plain(failure.value),
        "traceback": _plain(_Traceback(failure)),
    }


class _Traceback:
    """Its text, made when it is wanted: that may fail too."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure

    def __str__(self) -> str:
        return self._failure.getTraceback()
