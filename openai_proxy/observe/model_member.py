"""Another model's name in a JSON request, every other byte as it came."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from openai_proxy.observe.asked import asked_in
from openai_proxy.observe.json_spans import members

_MODEL: Final = "model"
_NAMED: Final = re.compile(rb'"model"[ \t\n\r]*+:[ \t\n\r]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)


def splice_model(body: bytes, model: str) -> bytes | None:
    """``body`` with ``model`` as its top's ``model``; of several members called so, the last one counts.

    The same object if it says so already. None if it names no model, or is no valid JSON object. Raises
    :class:`~openai_proxy.observe.json_spans.TangledJson`.
    """
    asked = asked_in(body).model
    if not asked:
        return None
    if asked == model:
        return body
    value = msgspec.json.encode(model)
    # Nearly always it is the first one so called, which saves going through a long prompt. It may
    # stand deeper, or not count: then the top's own says the old name still.
    first = _NAMED.search(body)
    if first is not None:
        spliced = _spliced(body, first.start(1), first.end(1), value)
        if asked_in(spliced).model == model:
            return spliced
    begin, end = [(one.begin, one.end) for one in members(body) if one.name == _MODEL][-1]
    return _spliced(body, begin, end, value)


def _spliced(body: bytes, begin: int, end: int, value: bytes) -> bytes:
    return b"%b%b%b" % (body[:begin], value, body[end:])
