"""Limits by name."""

import pytest

from openai_proxy.config.settings import LIMIT_FIELDS, Settings, with_limit


def test_each_limit_can_be_set() -> None:
    """Every name reaches its own field, and no other changes."""
    for name, (part, field, kind) in LIMIT_FIELDS.items():
        changed = with_limit(Settings(), f"{name}=7")
        assert getattr(getattr(changed, part), field) == 7
        assert type(getattr(getattr(changed, part), field)) is kind
        assert with_limit(changed, f"{name}=8") == with_limit(Settings(), f"{name}=8")


@pytest.mark.parametrize(
    "setting", ["body_bytes", "body_bytes=", "body_bytes=x", "body_bytes=-1", "body_bytes=0"]
)
def test_bad_values_are_named(setting: str) -> None:
    """The message has the name and what is wanted."""
    with pytest.raises(ValueError, match=r"body_bytes=.*whole number above 0"):
        with_limit(Settings(), setting)


def test_seconds_are_finite() -> None:
    """No NaN and no infinity."""
    for value in ("nan", "inf", "-inf"):
        with pytest.raises(ValueError, match="seconds above 0"):
            with_limit(Settings(), f"header_seconds={value}")


def test_a_near_miss_is_suggested() -> None:
    """A misspelt name gets the right one, if there is one near."""
    with pytest.raises(ValueError, match="did you mean 'body_bytes'"):
        with_limit(Settings(), "body_byte=1")
    with pytest.raises(ValueError, match=r"no limit 'zzz'$"):
        with_limit(Settings(), "zzz=1")
