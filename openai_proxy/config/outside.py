"""What a configuration names outside of itself, and a daemon needs only later: is it there?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from openai_proxy.config.configuration import Configuration
from openai_proxy.config.problems import Problem
from openai_proxy.config.provider import Token


def missing(configuration: Configuration, access_log: str | None) -> Iterator[Problem]:
    """A problem for each program, file or folder that this process cannot use now. It runs and makes none.

    :param access_log: as in the settings: an absolute path, ``-`` or None.
    """
    for name, provider in configuration.providers.items():
        if provider.token is not None:
            for key, message in _of_token(provider.token):
                yield Problem(("providers", name, "token", key), None, message)
    if access_log not in (None, "-"):
        folder = Path(access_log).parent
        if not folder.is_dir():
            yield Problem(("access_log", "file"), None, f"there is no folder {folder}")


def _of_token(token: Token) -> Iterator[tuple[str, str]]:
    if token.command:
        program = Path(token.command[0])
        if not program.is_file():
            yield "command", f"there is no program {program}"
        elif not os.access(program, os.X_OK):
            yield "command", f"{program} cannot be executed by who checks it"
    elif token.file is not None:
        file = Path(token.file)
        if not file.is_file():
            yield "file", f"there is no file {file}"
        elif not os.access(file, os.R_OK):
            yield "file", f"{file} cannot be read by who checks it"
