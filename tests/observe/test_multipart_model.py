"""The model in a form: found in bounded work, and another one put there."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from openai_proxy.observe.multipart_model import (
    MOST_PARTS,
    boundary_in,
    model_in_form,
    model_spans,
    splice_form_model,
)

MODEL_HEAD = b'Content-Disposition: form-data; name="model"'
FILE_HEAD = b'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg'


def form(*parts: tuple[bytes, bytes], boundary: bytes = b"B") -> bytes:
    """A body of ``(head, content)``."""
    pieces = [b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts]
    return b"".join(pieces) + b"--" + boundary + b"--\r\n"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data ;charset=utf-8; Boundary="a b:c"', b"a b:c"),
        (b"multipart/form-data; boundary=abc; charset=utf-8", b"abc"),
        (b"multipart/form-data", None),
        (b"multipart/form-data; xboundary=abc", None),
        (b"multipart/form-data; boundary=" + b"x" * 600, None),
        (b"multipart/mixed; boundary=abc", None),
        (b"application/json", None),
        (b"", None),
    ],
)
def test_boundary(content_type: bytes, boundary: bytes | None) -> None:
    """Of a form's Content-Type."""
    assert boundary_in(content_type) == boundary


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (form((MODEL_HEAD, b"whisper-1"), (FILE_HEAD, b"\x00\r\n--b\r\n")), "whisper-1"),
        (form((FILE_HEAD, b"\r\n\r\nmodel"), (MODEL_HEAD, b"whisper-1")), "whisper-1"),
        (b"preamble\r\n" + form((MODEL_HEAD, b"m")), "m"),
        (form((b"content-disposition:form-data;name=model", b"m")), "m"),
        (form((b"X: y\r\n" + MODEL_HEAD + b"\r\nContent-Type: text/plain", b"m")), "m"),
        (form((MODEL_HEAD, b"a"), (MODEL_HEAD, b"b")), "b"),
        (form((FILE_HEAD, b"x\r\n--BB\r\n" + MODEL_HEAD + b"\r\n\r\nno"), (MODEL_HEAD, b"m")), "m"),
        (form((MODEL_HEAD, "modèle".encode())), "modèle"),
        (form((MODEL_HEAD, b"\xff")), ""),
        (form((MODEL_HEAD, b"")), ""),
        (form((MODEL_HEAD, b"x" * 257)), ""),
        (form((b'Content-Disposition: form-data; name="model"; filename="m"', b"m")), ""),
        (form((b'Content-Disposition: form-data; name="xmodel"', b"m")), ""),
        (form((b'Content-Disposition: form-data; x="name=model"; name="y"', b"m")), ""),
        (form((b'Content-Disposition: attachment; name="model"', b"m")), ""),
        (form((b"X: " + b"y" * 5000 + b"\r\n" + MODEL_HEAD, b"m")), ""),
        (form(*[(FILE_HEAD, b"x")] * MOST_PARTS, (MODEL_HEAD, b"m")), ""),
        (form((MODEL_HEAD, b"m"))[:-6], ""),
        (form((MODEL_HEAD, b"m"), (FILE_HEAD, b"x"))[:-8], "m"),
        (b"--B--\r\n" + form((MODEL_HEAD, b"m")), ""),
        (b"--B\r\n\r\n--B\r\n" + MODEL_HEAD + b"\r\n\r\nm\r\n--B--", "m"),
        (b"", ""),
        (b"--B", ""),
        (b"--B\r\n", ""),
    ],
)  # fmt: skip
def test_found(body: bytes, model: str) -> None:
    """In any place, whole parts only, and files are none."""
    assert model_in_form(body, b"B") == model


@pytest.mark.parametrize(
    ("parts", "spliced"),
    [
        ([(MODEL_HEAD, b"a")], [(MODEL_HEAD, b"new")]),
        ([(FILE_HEAD, b"a"), (MODEL_HEAD, b"")], [(FILE_HEAD, b"a"), (MODEL_HEAD, b"new")]),
        (
            [(MODEL_HEAD, b"a"), (FILE_HEAD, b"\r\n"), (MODEL_HEAD, b"bcd")],
            [(MODEL_HEAD, b"new"), (FILE_HEAD, b"\r\n"), (MODEL_HEAD, b"new")],
        ),
    ],
)
def test_spliced(parts: list[tuple[bytes, bytes]], spliced: list[tuple[bytes, bytes]]) -> None:
    """Every field of the name: nobody knows which one a server takes."""
    assert splice_form_model(form(*parts), b"B", "new") == form(*spliced)


def test_not_spliced() -> None:
    """Where there is no model, and where a name would end the field."""
    assert splice_form_model(form((FILE_HEAD, b"a")), b"B", "new") is None
    assert splice_form_model(form((MODEL_HEAD, b"a")), b"B", "a\r\n--B--") is None


HEADS = st.sampled_from([MODEL_HEAD, FILE_HEAD, b"Content-Disposition: form-data; name=n"])
PARTS = st.lists(st.tuples(HEADS, st.binary(max_size=20)), min_size=1, max_size=6)


@given(PARTS, st.text("abc/-é", max_size=8))
def test_any_form(parts: list[tuple[bytes, bytes]], model: str) -> None:
    """The form says the same but for the model, as another parser reads it too."""
    assume(all(b"\r\n--B" not in b"\r\n" + content for _, content in parts))
    body = form(*parts)
    spliced = splice_form_model(body, b"B", model)
    if all(head != MODEL_HEAD for head, _ in parts):
        assert spliced is None
        return
    assert spliced == form(*[(head, model.encode() if head == MODEL_HEAD else old) for head, old in parts])
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" + spliced
    )
    assert len(list(message.iter_parts())) == len(parts)


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"--B", b"\r\n", b"--", MODEL_HEAD, b"x"])).map(b"".join)
)
def test_any_bytes(body: bytes) -> None:
    """Whatever comes, nothing is raised, and spans are in order and inside."""
    spans = model_spans(body, b"B")
    places = [place for span in spans for place in span]
    assert places == sorted(places)
    assert all(0 <= place <= len(body) for place in places)
    splice_form_model(body, b"B", "new")


def test_bounded_work() -> None:
    """A body of nothing but beginnings of delimiters is gone through once."""
    assert model_spans(b"\r\n--Bx" * 200_000, b"B") == []
    assert model_spans(form((MODEL_HEAD, b"m")) + b"\r\n--B\r\n" * 200_000, b"B") != []
