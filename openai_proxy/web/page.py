"""The page: a file with its style and its script inside, and the policy that lets only these two run."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from openai_proxy.wire.fields import Field

PAGE: Final = Path(__file__).with_name("page.html")
HTML: Final[Field] = (b"Content-Type", b"text/html; charset=utf-8")


@cache
def page() -> tuple[bytes, bytes]:
    """The page and its Content-Security-Policy (level 3); read when it is first asked for."""
    text = PAGE.read_bytes()
    style, script = (_hash_of(text, tag) for tag in (b"style", b"script"))
    policy = (
        b"default-src 'none'; style-src %b; script-src %b; connect-src 'self'; img-src data:;"
        b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'" % (style, script)
    )
    return text, policy


def _hash_of(text: bytes, tag: bytes) -> bytes:
    found = re.search(rb"<%b>(.*?)</%b>" % (tag, tag), text, re.DOTALL)
    assert found is not None
    return b"'sha256-%b'" % b64encode(sha256(found[1]).digest())
