"""What a multipart form asks of the mock provider: a few of its fields; a file's bytes are only counted."""

from __future__ import annotations

import re

from openai_proxy.providers.mock.ask import Ask, ask_of

SEARCHED_BYTES = 65536
"""From the beginning and from the end: some clients put the file first, some last."""
BYTES_A_SECOND = 16_000
"""Of audio: 128 kbit/s."""

# Of bounded length: no form makes the search long. A `;` before: a file may be called name="model".
_FIELD = re.compile(
    rb';[ \t]*name="?(model|stream)"?[ \t]*\r\n(?:[^\r\n]{1,200}\r\n){0,4}\r\n([^\r\n]{1,1024})\r\n--',
    re.IGNORECASE,
)


def parse_form(path: str, raw: bytes, chunks: int | None = None) -> Ask:
    """The request to ``path`` with the form ``raw`` (RFC 7578). Raises ``Refused``.

    Its body has ``model``, ``stream``, and ``seconds``: how long the audio is, were all of the
    form audio. A boundary, which is another each time, does not change the answer.
    """
    if len(raw) <= 2 * SEARCHED_BYTES:
        searched = raw
    else:
        searched = raw[:SEARCHED_BYTES] + b"\r\n" + raw[-SEARCHED_BYTES:]
    found = {name.lower(): value for name, value in _FIELD.findall(searched)}
    body = {"stream": found.get(b"stream") == b"true", "seconds": -(-len(raw) // BYTES_A_SECOND)}
    if b"model" in found:
        body |= {"model": found[b"model"].decode("utf-8", "replace")}
    return ask_of(path, body, chunks)
