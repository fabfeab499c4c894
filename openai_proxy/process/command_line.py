"""The command line that has started this process, for another process like it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

NAME = "openaiproxy"
"""The word before which twistd's own options stand."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What to start, and where."""

    arguments: tuple[str, ...]
    """The program first."""
    folder: str

    @classmethod
    def own(cls) -> CommandLine:
        """This process's, as it is now: twistd may change the folder later."""
        return cls((sys.executable, *sys.orig_argv[1:]), os.getcwd())

    @property
    def child(self) -> tuple[str, ...]:
        """Of a child: with no file for its number, which is its parent's."""
        arguments: Sequence[str] = self.arguments
        if NAME not in arguments:
            return tuple(arguments)
        place = arguments.index(NAME)
        return (*arguments[:place], "--pidfile=", *arguments[place:])
