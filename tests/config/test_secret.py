"""Secrets: where they are read from, and that nothing shows them."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import os
import pickle
import pprint
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.provider import Provider
from openai_proxy.config.secret import MAX_BYTES, Secret, SecretReader

KEY = "sk-canary-0123456789"


@dataclasses.dataclass(frozen=True)
class Holder:
    """Somebody's own type with a secret in it."""

    key: Secret


@pytest.fixture
def secret() -> Secret:
    return Secret(KEY, "env:KEY")


SHOWN: list[Callable[[Any], object]] = [
    repr,
    str,
    "{}".format,
    "{:>20}".format,
    lambda one: "%s %r" % (one, one),  # noqa: UP031 (as logging does)
    lambda one: f"{one!s} {one!r} {one!a} {one:x<9}",
    lambda one: [one].__repr__(),
    lambda one: pprint.pformat({"key": one}),
    lambda one: repr(Holder(one)),
    lambda one: repr(dataclasses.asdict(Holder(one))),
    lambda one: json.dumps({"key": one}, default=str),
    lambda one: json.dumps({"key": one}, default=repr),
    lambda one: msgspec.json.encode({"key": one}, enc_hook=str),
    lambda one: repr(msgspec.to_builtins(Provider(api_key=one), enc_hook=str)),
    lambda one: repr(Provider(api_key=one)),
    lambda one: repr(msgspec.structs.asdict(Provider(api_key=one))),
    lambda one: logging.LogRecord("a", 1, "b", 1, "%s", (one,), None).getMessage(),
    lambda one: "".join(traceback.format_exception(ValueError(one))),
]


@pytest.mark.parametrize("show", SHOWN)
def test_it_is_shown_as_three_stars(show: Callable[[Any], object], secret: Secret) -> None:
    """Whatever prints or dumps it."""
    shown = str(show(secret))
    assert "canary" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "dump",
    [
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        pickle.dumps,
        vars,
        dataclasses.asdict,
        lambda one: msgspec.json.encode(Provider(api_key=one)),
        lambda one: msgspec.json.encode(Holder(one)),
    ],
)
def test_what_would_write_it_down_is_refused(dump: Callable[[Any], object], secret: Secret) -> None:
    """And the refusal does not have it."""
    with pytest.raises(TypeError) as refused:
        dump(secret)
    assert "canary" not in str(refused.value)


def test_it_is_given_out_by_one_name_only(secret: Secret) -> None:
    """And a copy is the thing itself; nothing can be set or taken by accident."""
    assert secret.reveal() == KEY
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": secret})["a"] is secret
    assert not hasattr(secret, "__dict__")
    assert [name for name in dir(secret) if getattr(secret, name, None) == KEY] == ["_Secret__text"]


def test_equal_texts_are_equal_secrets(secret: Secret) -> None:
    """So that a reload can tell whether a key is another one."""
    assert secret == Secret(KEY, "file:/k")
    assert hash(secret) == hash(Secret(KEY, "file:/k"))
    assert secret != Secret("other", "env:KEY")
    assert secret != KEY


def test_each_form_is_read(tmp_path: Path) -> None:
    """White space around is not of the key: editors end files with a line."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    reader = SecretReader({"KEY": f" {KEY}", "CREDENTIALS_DIRECTORY": str(tmp_path)})
    for reference in ("env:KEY", f"file:{tmp_path}/key", "credential:key"):
        secret = reader.read(reference)
        assert (secret.reveal(), secret.source) == (KEY, reference)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("env:GONE", "the environment has no GONE"),
        ("env:EMPTY", "env:EMPTY: empty"),
        ("env:TWO_LINES", "has characters that no key has"),
        ("env:BLANK_INSIDE", "has characters that no key has"),
        ("env:UMLAUT", "has characters that no key has"),
        ("file:/nonexistent/key", "file:/nonexistent/key: No such file or directory"),
        ("file:/", "file:/: Is a directory"),
        ("credential:key", "no CREDENTIALS_DIRECTORY"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_reference(reference: str, message: str) -> None:
    """Never by what was found there."""
    found = {
        "EMPTY": " \n",
        "TWO_LINES": "sk-canary\r\nX-Injected: 1",
        "BLANK_INSIDE": "sk canary",
        "UMLAUT": "sk-canary-ü",
    }
    with pytest.raises(ValueError, match=r".") as refused:
        SecretReader(found).read(reference)
    assert message in str(refused.value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "reference",
    [KEY, "", "env:", "env:sk-canary", "file:sk-canary", "file:", "credential:", "credential:../canary",
     "credential:..", "vault:canary", "ENV:CANARY", " env:CANARY", "env:CANARY "],
)  # fmt: skip
def test_what_is_no_reference_is_not_repeated(reference: str) -> None:
    """It may be the key itself, put there by mistake."""
    with pytest.raises(ValueError, match="not a reference to a secret") as refused:
        SecretReader({}).read(reference)
    assert "canary" not in str(refused.value).lower()


def test_a_long_file_is_no_key(tmp_path: Path) -> None:
    """A wrong path does not put a file of any size into memory."""
    (tmp_path / "long").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(ValueError, match="longer than"):
        SecretReader({}).read(f"file:{tmp_path}/long")


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """Without a writer it would stop the daemon for ever."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="fifo: Not a file"):
        SecretReader({}).read(f"file:{tmp_path}/fifo")


@given(st.text())
def test_any_text_is_a_secret_or_a_value_error(reference: str) -> None:
    """No other exception, and what is read is fit for a header field."""
    try:
        text = SecretReader({"A": "x"}).read(reference).reveal()
    except ValueError:
        return
    assert text.isascii() and text.isprintable() and text == text.strip()
