"""Secrets: where they come from, and a type that does not show them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from openai_proxy.config.content import content_of

MAX_BYTES: Final = 64 * 1024
MASK: Final = "***"

_FORMS: Final = "env:NAME, file:/path or credential:NAME is wanted"
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


class Secret:
    """A text that ``repr``, ``str``, ``format`` and every dump show as ``***``.

    ``reveal`` alone gives it out. It has no ``__dict__``, cannot be pickled, and msgspec and json
    refuse it; a copy (``dataclasses.asdict``) is the same object. Two are equal if their texts are.
    """

    __slots__ = ("__text", "source")

    def __init__(self, text: str, source: str) -> None:
        """``source``: the reference that it was read from (``env:OPENAI_API_KEY``), which may be shown."""
        self.__text = text
        self.source = source

    def reveal(self) -> str:
        """The text itself: for a header field on its way to its provider, and nothing else."""
        return self.__text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return self.__text == other.__text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.__text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not written down")


class SecretReader:
    """Reads references. What it raises names the reference, if it has a known form, never the text."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """``environment`` has the variables, ``CREDENTIALS_DIRECTORY`` (systemd.exec(5)) among them."""
        self._environment = environment

    def read(self, reference: str) -> Secret:
        """The secret behind ``env:NAME``, ``file:/path`` or ``credential:NAME``. Raises ValueError."""
        form, colon, name = reference.partition(":")
        if colon and form == "env" and _ENV_NAME.fullmatch(name):
            text = self._environment.get(name)
            if text is None:
                raise ValueError(f"the environment has no {name}")
        elif colon and form == "file" and name.startswith("/"):
            text = _text_of(Path(name), reference)
        elif colon and form == "credential" and _CREDENTIAL_NAME.fullmatch(name) and name.strip("."):
            folder = self._environment.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise ValueError(f"{reference}: no CREDENTIALS_DIRECTORY; systemd sets it (LoadCredential=)")
            text = _text_of(Path(folder, name), reference)
        else:
            # It may be the key itself: not a word of it.
            raise ValueError(f"not a reference to a secret: {_FORMS}, never the secret itself")
        return Secret(_checked(text.strip("\r\n\t "), reference), reference)


def _text_of(path: Path, reference: str) -> str:
    try:
        return content_of(path, MAX_BYTES).decode("latin-1")
    except OSError as error:
        raise ValueError(f"{reference}: {error.strerror}") from None


def _checked(text: str, reference: str) -> str:
    if not text:
        raise ValueError(f"{reference}: empty")
    # It goes into a header field: a line end in it would begin another one.
    if not _VISIBLE.fullmatch(text):
        raise ValueError(f"{reference}: has characters that no key has (visible ASCII is wanted)")
    return text
