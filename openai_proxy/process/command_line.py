"""The command line that has started this process, for another process like it."""

from __future__ import annotations

import os
import sys
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
    def by_name(self) -> CommandLine:
        """The same by the name of its script, if that says the interpreter: of a successor.

        Where each version has a virtualenv of its own behind a link (``/opt/openai-proxy``), the interpreter
        that runs is the old one's, and would run the old version again. Workers stay with it: they are parts
        of this version.
        """
        interpreter, *rest = self.arguments
        if not rest:
            return self
        script = os.path.join(self.folder, rest[0])
        try:
            with open(script, "rb") as file:
                first = file.readline(4096)
        except OSError:
            return self
        if first.rstrip() != b"#!" + os.fsencode(interpreter) or not os.access(script, os.X_OK):
            # An interpreter that was chosen by hand is the next one's, too.
            return self
        return CommandLine((script, *rest[1:]), self.folder)

    @property
    def child(self) -> tuple[str, ...]:
        """Of a child: with no file for its number, which is its parent's."""
        return self._with("--pidfile=")

    @property
    def in_foreground(self) -> CommandLine:
        """Of a child that does not make itself a daemon: its parent has to know when it ends."""
        return CommandLine(self._with("--nodaemon"), self.folder)

    def _with(self, option: str) -> tuple[str, ...]:
        if NAME not in self.arguments:
            return self.arguments
        place = self.arguments.index(NAME)
        if self.arguments[place - 1] == option:
            # One that was started so has children too.
            return self.arguments
        return (*self.arguments[:place], option, *self.arguments[place:])
