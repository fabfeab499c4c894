"""What a daemon tells its operator: where it listens, and why it does not."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from openai_proxy.process.doors import CannotOpen
from openai_proxy.process.operations import Reloaded


def url_of(address: Any, scheme: str) -> str:
    """Where clients find a listening port: ``http://127.0.0.1:8080``, or ``unix:/run/proxy``."""
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}"
    return f"unix:{os.fsdecode(address.name or b'')}" if isinstance(address, UNIXAddress) else str(address)


def reason_of(error: BaseException | None) -> str:
    """Why something failed, in the system's words where it has some: ``Address already in use``."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__


def tell_reloaded(log: Logger, reloaded: Reloaded) -> None:
    """Say in the log what came of a reload."""
    # In one event: of many alike the log says a few, and every problem is to be said.
    lines = "".join(f"\n    {line}" for line in reloaded.lines)
    if reloaded.is_done:
        log.info(
            "The configuration was read again: {count} changes{lines}", count=len(reloaded.lines), lines=lines
        )
    else:
        log.error("The configuration is not right, and nothing has changed:{lines}", lines=lines)


def end_with(problem: str) -> NoReturn:
    """End the process with one line, before it serves."""
    print(f"openai_proxy: {problem}", file=sys.__stderr__, flush=True)
    raise SystemExit(1) from None


def problem_of(error: CannotOpen) -> str:
    """What is told of it."""
    return f"{error.place} {error.listen.description}: {reason_of(error.cause)}"


def problems_of(error: BaseException) -> list[str]:
    """What kept a configuration from being taken, line by line."""
    if isinstance(error, CannotOpen):
        return [problem_of(error)]
    if isinstance(error, OSError):
        return [f"{error.filename}: {reason_of(error)}"]
    return [line.removeprefix("openai_proxy: ") for line in str(error).splitlines()]
