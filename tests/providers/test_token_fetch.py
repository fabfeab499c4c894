"""Tokens from real files and real programs; what they print is in no error."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from openai_proxy.config.provider import Token
from openai_proxy.config.secret import MAX_BYTES
from openai_proxy.providers.token_fetch import TokenCommand, TokenUnavailable, fetch_of, key_in

CANARY = "sk-canary"
SHELL = "/bin/sh"


def fetch(reactor: Any, *command: str, environment: dict[str, str] | None = None) -> Deferred[Any]:
    """Run one."""
    return TokenCommand(command, reactor, environment or {})()


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


@pytest.mark.parametrize(
    ("output", "key"),
    [
        (b"abc", "abc"),
        (b"abc\n", "abc"),
        (b"\xef", None),
        (b"abc\r\nrest of it\n", "abc"),
        (b"\n\n abc \nx", "abc"),
        (b"", None),
        (b" \n", None),
        (b"a b\n", None),
        (b"a\x00b", None),
        (b"a\rb", None),
    ],
)
def test_the_first_line_is_the_key(output: bytes, key: str | None) -> None:
    """Without the blanks around it; what could not stand in a header field is refused, not repeated."""
    if key is not None:
        assert key_in(output, "file:/t").reveal() == key
        return
    with pytest.raises(TokenUnavailable) as refused:
        key_in(output, "file:/t")
    assert str(refused.value) in ("what came is no key", "nothing came")


async def test_a_file(tmp_path: Path, reactor: Any) -> None:
    """It is read each time, for it changes."""
    path = tmp_path / "token"
    fetch_file = fetch_of(Token(file=str(path)), reactor, {})
    for text in ("one\n", "two\n"):
        path.write_text(text)
        key = await fetch_file()
        assert key.reveal() == text.strip()
        assert key.source == f"file:{path}"


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "long", "fifo"])
async def test_a_file_that_has_no_key(kind: str, tmp_path: Path, reactor: Any) -> None:
    """It is told why, and the next fetch is a new one."""
    path = tmp_path / "token"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"x" * (MAX_BYTES + 1))
    fetch_file = fetch_of(Token(file=str(path)), reactor, {})
    reasons = {
        "missing": "the file cannot be read: No such file or directory",
        "folder": "the file cannot be read: Is a directory",
        "empty": "nothing came",
        "long": "the file is longer than 65536 bytes",
        "fifo": "nothing came",
    }
    for _ in range(2):
        with pytest.raises(TokenUnavailable) as refused:
            await fetch_file()
        assert str(refused.value) == reasons[kind]


async def test_a_file_is_read_by_one_thread_at_a_time(tmp_path: Path, reactor: Any) -> None:
    """A disk that does not answer must not take all threads."""
    path = tmp_path / "token"
    path.write_text("one")
    fetch_file = fetch_of(Token(file=str(path)), reactor, {})
    fetch_file._is_reading = True  # type: ignore[attr-defined]
    with pytest.raises(TokenUnavailable, match="still being read"):
        await fetch_file()


async def test_a_command(reactor: Any) -> None:
    """Its first line, whatever it says besides; its name is known, its arguments are not."""
    script = "echo $0; echo more; echo $0 >&2; cat"
    key = await fetch(reactor, SHELL, "-c", script, CANARY)
    assert key.reveal() == CANARY
    assert key.source == "command:/bin/sh"


async def test_a_command_has_no_more_of_the_environment_than_it_needs(reactor: Any) -> None:
    """Other providers' keys are not shown to it."""
    environment = {"PATH": "/bin:/usr/bin", "OPENAI_API_KEY": CANARY, "HOME": "/h"}
    script = 'echo "$PATH|$HOME|$OPENAI_API_KEY|$(pwd)"'
    key = await fetch_of(Token(command=(SHELL, "-c", script)), reactor, environment)()
    assert key.reveal() == "/bin:/usr/bin|/h||/"


async def test_no_shell_reads_the_arguments(reactor: Any) -> None:
    """They come as they are written."""
    key = await fetch(reactor, SHELL, "-c", 'echo "$1"', "sh", "$(id);*")
    assert key.reveal() == "$(id);*"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo sk-canary; echo sk-canary >&2; exit 3", "the command failed with status 3"),
        ("kill -9 $$", "the command was ended by signal 9"),
        ("true", "nothing came"),
        ("echo sk canary", "what came is no key"),
        ("while :; do echo sk-canary; done", "the command printed more than 65536 bytes"),
    ],
)
async def test_a_command_that_fails(script: str, reason: str, reactor: Any) -> None:
    """It is told how, in our words only."""
    with pytest.raises(TokenUnavailable) as refused:
        await fetch(reactor, SHELL, "-c", script)
    assert str(refused.value) == reason
    assert refused.value.__cause__ is None


async def test_a_program_that_is_not_there(reactor: Any) -> None:
    """As one that fails."""
    with pytest.raises(TokenUnavailable, match=r"^the command (failed|cannot be run)"):
        await fetch(reactor, "/no/such/program")


class Spy:
    """A reactor that tells how the program ended that it has begun."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.ended: Deferred[Any] = Deferred()

    def spawnProcess(self, protocol: Any, *arguments: Any) -> Any:  # noqa: N802
        told = protocol.processEnded

        def ended(reason: Any) -> None:
            told(reason)
            self.ended.callback(reason.value)

        protocol.processEnded = ended
        return self._reactor.spawnProcess(protocol, *arguments)


async def test_a_cancelled_command_is_killed(reactor: Any) -> None:
    """It does not run on for nobody."""
    spy = Spy(reactor)
    running = fetch(spy, SHELL, "-c", "trap '' TERM; exec /bin/sleep 600")
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    reason = await spy.ended
    assert reason.signal == signal.SIGKILL
