"""What the model says behind each scripted upstream, whatever the form: one thing for each question."""

from __future__ import annotations

import json
from typing import Any

WORDS = ("Hello", " wörld", "!")
TEXT = "".join(WORDS)
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("get_weather", {"city": "Zürich"}),
    ("get_time", {"zone": "Europe/Zurich", "at": [1.5, None]}),
)
"""Two calls at once, where there are tools and the last message is the user's."""
STRUCTURE = {"city": "Zürich", "degrees": 21}
"""Where a JSON schema is asked for."""
RESULTS = ("21 degrees", "noon")
"""What a client's tools say, in the order of the calls."""
SUMMED_UP = "It is 21 degrees at noon."
"""After the results."""

INPUT, CACHED, WRITTEN, OUTPUT, REASONING = 31, 8, 3, 17, 5
"""Tokens of each generation, in OpenAI's sense: the parts are within the totals."""
EMBEDDED = 6
HEARD, TRANSCRIBED = 14, 9
DRAWN_OF, DRAWN = 12, 272
"""Tokens of an embedding, of a transcription's audio and text, of a picture's prompt and the picture."""

VECTOR = (0.25, -1.0, 3.5)
SPEECH = bytes(range(256)) * 40
PICTURE = "iVBORw0KGgo="
HEARD_TEXT = "Grüezi"


def compact(value: object) -> str:
    """JSON as models write arguments."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def pieces(text: str) -> tuple[str, ...]:
    """As it comes in a stream: in three parts, none of them valid by itself."""
    third = max(1, len(text) // 3)
    return (text[:third], text[third : 2 * third], text[2 * third :])
