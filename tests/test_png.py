"""The smaller pictures of the documents: the same pixels, as long as there are few colours."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from tools.png import SIGNATURE, _chunk, _chunks, shrink

WIDTH, HEIGHT = 4, 5
PIXELS = [[(9 * x + y, 40 * y, 255 if (x + y) % 2 else 3) for x in range(WIDTH)] for y in range(HEIGHT)]


def filtered(kind: int, line: list[int], above: list[int]) -> bytes:
    """As an encoder does it, from the specification's table."""
    found = bytearray([kind])
    for at, value in enumerate(line):
        a, c = (line[at - 3], above[at - 3]) if at >= 3 else (0, 0)
        b = above[at]
        p = a + b - c
        pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
        paeth = a if pa <= pb and pa <= pc else b if pb <= pc else c
        found.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
    return bytes(found)


def picture(depth: int = 8) -> bytes:
    """A line with each filter."""
    lines = [[part for pixel in row for part in pixel] for row in PIXELS]
    above = [[0] * (WIDTH * 3), *lines]
    data = b"".join(filtered(kind, line, above[kind]) for kind, line in enumerate(lines))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, 2, 0, 0, 0)
    body = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(data)) + _chunk(b"IEND", b"")
    return SIGNATURE + body


def test_few_colours_stay_what_they_are(tmp_path: Path) -> None:
    """Through every filter of the format, each pixel is found again in the palette."""
    file = tmp_path / "picture.png"
    file.write_bytes(picture())
    shrink(file)
    chunks = dict(_chunks(file.read_bytes()))
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (WIDTH, HEIGHT, 8, 3, 0, 0, 0)
    flat = list(chunks[b"PLTE"])
    palette = list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    data = zlib.decompress(chunks[b"IDAT"])
    rows = [data[at + 1 : at + 1 + WIDTH] for at in range(0, len(data), WIDTH + 1)]
    assert [[palette[index] for index in row] for row in rows] == PIXELS


def test_another_form_is_refused(tmp_path: Path) -> None:
    """A picture that would be read wrongly is left as it is."""
    file = tmp_path / "picture.png"
    file.write_bytes(picture(depth=16))
    with pytest.raises(ValueError, match="not RGB"):
        shrink(file)
    assert file.read_bytes() == picture(depth=16)


@pytest.mark.parametrize("name", ["overview", "tokens-and-cost"])
def test_the_pictures_of_the_documents_are_small(name: str) -> None:
    """They are loaded with README.md."""
    assert (Path(__file__).parents[1] / "docs" / f"{name}.png").stat().st_size < 300_000
