"""What is changed in a request so that its answer can be read."""

from __future__ import annotations

import pytest

from openai_proxy.exchange.asking import is_read, narrow_encodings
from openai_proxy.providers.provider import Provider
from openai_proxy.wire.fields import Field
from tests.support.exchanges import Rig

OPENAI = Provider("openai", b"http://x")


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"gzip", b"gzip"),
        (b"gzip, deflate", b"gzip"),
        (b"gzip, deflate, br, zstd", b"gzip"),
        (b"GZIP;q=0.5 , br;q=1, identity", b"GZIP;q=0.5, identity"),
        (b"br", b"identity"),
        (b"*", b"identity"),
        (b"", b"identity"),
        (b"br," * 100, b"identity"),
        (b"x-gzip,identity;q=0", b"x-gzip,identity;q=0"),
    ],
)
def test_encodings_are_narrowed(value: bytes, left: bytes) -> None:
    """To what can be read; where its answer may be shortened, to none."""
    fields: list[Field] = [(b"A", b"br"), (b"accept-ENCODING", value), (b"B", b"br")]
    narrow_encodings(fields, plain=False)
    assert fields == [(b"A", b"br"), (b"accept-ENCODING", left), (b"B", b"br")]
    narrow_encodings(fields, plain=True)
    assert fields[1] == (b"accept-ENCODING", b"identity")


def test_no_field_is_added() -> None:
    """Who names no encoding is left alone."""
    fields: list[Field] = [(b"A", b"br")]
    narrow_encodings(fields, plain=True)
    assert fields == [(b"A", b"br")]


@pytest.mark.parametrize(
    ("generates", "endpoint", "read"),
    [
        (True, "chat_completions", True),
        (True, "embeddings", True),
        (True, "messages", True),
        (False, "responses", False),
        (True, "audio_translations", False),
    ],
)
def test_what_is_read(generates: bool, endpoint: str, read: bool) -> None:
    """Answers to a POST that costs something."""
    assert is_read(OPENAI, generates, endpoint) is read
    assert not is_read(Provider("p", b"http://x", observes=False), generates, endpoint)


def test_the_upstream_is_asked_for_what_can_be_read() -> None:
    """gzip for an answer, nothing for a stream that is asked for its usage, all where nobody reads."""
    offers = b"Accept-Encoding: gzip, br"
    for path, body, sent in (
        (b"/v1/chat/completions", b"{}", b"gzip"),
        (b"/v1/chat/completions", b'{"stream":true}', b"identity"),
        (b"/v1/responses", b'{"stream":true}', b"gzip"),
        (b"/v1/files", b"{}", b"gzip, br"),
    ):
        rig = Rig()
        rig.ask(body, path, offers)
        assert rig.agent.fields == [(b"Accept-Encoding", sent)]
        rig.client.done()
