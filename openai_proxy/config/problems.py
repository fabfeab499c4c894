"""What is wrong with a configuration: all of it, each with its place."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")

Place = tuple[str | int, ...]
"""The way to a value: keys, and numbers of list entries from 0."""


def dotted(place: Place) -> str:
    """``providers.azure.base_url``, ``models['gpt-4.1'].targets[0].model``."""
    text = ""
    for part in place:
        if isinstance(part, int) or not _WORD.fullmatch(part):
            text += f"[{part!r}]"
        else:
            text += f".{part}" if text else part
    return text


class Problem(NamedTuple):
    """One thing to mend. The message holds no value that could be a secret."""

    place: Place
    line: int | None
    """From 1; None where the file has no line for it."""
    message: str

    def __str__(self) -> str:
        where = dotted(self.place)
        return f"{where}: {self.message}" if where else self.message


class ConfigError(ValueError):
    """A configuration that cannot be used."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        """``problems``: at least one; they are put in the order of the file."""
        self.path = path
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Each problem as ``file:line: place: message``, as compilers write them."""
        return [
            f"{self.path}:{problem.line}: {problem}" if problem.line else f"{self.path}: {problem}"
            for problem in self.problems
        ]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``; did you mean 'base_url'?``, or nothing if no name is near."""
    near = get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
