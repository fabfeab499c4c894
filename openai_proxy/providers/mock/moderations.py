"""The moderations endpoint: nothing is ever flagged."""

from __future__ import annotations

import msgspec

from openai_proxy.providers.mock.ask import Ask, Refused
from openai_proxy.providers.mock.body import Content

MAX_INPUTS = 1024

_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors"),
    *("violence", "violence/graphic"),
)
_HARMLESS = {
    "flagged": False,
    "categories": dict.fromkeys(_CATEGORIES, False),
    "category_scores": dict.fromkeys(_CATEGORIES, 1e-6),
    "category_applied_input_types": {category: ["text"] for category in _CATEGORIES},
}


def moderation(ask: Ask) -> Content:
    """POST /v1/moderations: a result for each text of a list, else one. Raises ``Refused``."""
    given = ask.required("input")
    texts = len(given) if isinstance(given, list) and all(isinstance(one, str) for one in given) else 1
    if texts > MAX_INPUTS:
        message = f"Invalid 'input': array too long. Expected an array with maximum length {MAX_INPUTS}."
        raise Refused(400, message, "array_above_max_length", "input")
    answer = {"id": "modr-" + ask.seed.hex(), "model": ask.model, "results": [_HARMLESS] * texts}
    return Content(msgspec.json.encode(answer), 0)
