"""docs/translation.md says what is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from openai_proxy.providers.translate.dropped import NAMES, OTHER
from openai_proxy.providers.translate.estimate import BYTES_PER_TOKEN, DOCUMENT_TOKENS, IMAGE_TOKENS

PAGE = (Path(__file__).parents[3] / "docs" / "translation.md").read_text()


@pytest.mark.parametrize("name", sorted({*NAMES, OTHER}))
def test_what_is_left_out_is_named(name: str) -> None:
    """A user who reads a name in the numbers finds it there."""
    assert f"`{name}`" in PAGE.partition("## What is left out")[2]


def test_the_estimates_numbers() -> None:
    """They are as the code has them."""
    assert BYTES_PER_TOKEN == 4 and "four bytes" in PAGE
    assert f"{IMAGE_TOKENS:,} for an image, {DOCUMENT_TOKENS:,} for a PDF" in PAGE
