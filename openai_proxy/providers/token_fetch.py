"""One fetch of a token: a command's first line, or a file's. What came is in no error and no log."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from openai_proxy.config.provider import Token
from openai_proxy.config.secret import MAX_BYTES, Secret
from openai_proxy.wire.errors import NoKey

Fetch = Callable[[], "Deferred[Secret]"]
"""Begins one; fails with :class:`TokenUnavailable`. To cancel it ends it."""

COMMAND_VARIABLES: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "CREDENTIALS_DIRECTORY"}
    | {"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
    | {"GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "AWS_PROFILE", "AWS_REGION", "AZURE_CONFIG_DIR"}
)
"""What a command sees of the environment: the rest may be other providers' keys. More of it is given by
a command of ``/usr/bin/env NAME=value ...``."""

_KEY: Final = re.compile(rb"[\x21-\x7e]+")


class TokenUnavailable(NoKey):
    """No key could be fetched: the provider is not asked at all."""


def fetch_of(token: Token, reactor: Any, environment: Mapping[str, str]) -> Fetch:
    """What fetches the token that is configured."""
    if token.file is not None:
        return TokenFile(token.file, reactor)
    kept = {name: value for name, value in environment.items() if name in COMMAND_VARIABLES}
    return TokenCommand(token.command, reactor, kept)


def key_in(output: bytes, source: str) -> Secret:
    """The first line. Raises TokenUnavailable; ``source`` may be shown."""
    line = output.strip().partition(b"\n")[0].strip()
    # It goes into a header field: a control byte in it could begin another one.
    if not _KEY.fullmatch(line):
        raise TokenUnavailable("what came is no key" if line else "nothing came")
    return Secret(line.decode("ascii"), source)


class TokenFile:
    """Reads a file that something else keeps fresh, in a thread: it may lie on another machine."""

    def __init__(self, path: str, reactor: Any) -> None:
        self._path = path
        self._reactor = reactor
        self._is_reading = False

    def __call__(self) -> Deferred[Secret]:
        """See ``Fetch``. A thread cannot be cancelled: until it is back, there is no other."""
        if self._is_reading:
            return fail(TokenUnavailable("the file is still being read"))
        self._is_reading = True
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._read)

    def _read(self) -> Secret:
        try:
            # A FIFO without a writer would keep the thread, and with it the process, for ever.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                output = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise TokenUnavailable(f"the file cannot be read: {error.strerror}") from None
        finally:
            self._is_reading = False
        if len(output) > MAX_BYTES:
            raise TokenUnavailable(f"the file is longer than {MAX_BYTES} bytes")
        return key_in(output, f"file:{self._path}")


class TokenCommand:
    """Runs a program, without a shell and with no more of the environment than is given."""

    def __init__(self, command: Sequence[str], reactor: Any, environment: Mapping[str, str]) -> None:
        self._arguments = [os.fsencode(one) for one in command]
        self._reactor = reactor
        self._environment = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}

    def __call__(self) -> Deferred[Secret]:
        """See ``Fetch``."""
        # Not its arguments: they may hold a secret.
        run = _Run(f"command:{os.fsdecode(self._arguments[0])}")
        try:
            self._reactor.spawnProcess(run, self._arguments[0], self._arguments, self._environment, b"/")
        except OSError as error:
            return fail(TokenUnavailable(f"the command cannot be run: {error.strerror}"))
        return run.fetched


class _Run(ProcessProtocol):
    """One run of a command; ``fetched`` fires when it has ended."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._output = bytearray()
        self._is_done = False
        self.fetched: Deferred[Secret] = Deferred(lambda _: self._abandon())

    def connectionMade(self) -> None:
        """A program that asks for a password is told that nobody is there."""
        assert self.transport is not None
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:  # noqa: N802
        """Collect it, within a bound."""
        self._output += data
        if len(self._output) > MAX_BYTES and not self._is_done:
            self._abandon()
            self.fetched.errback(TokenUnavailable(f"the command printed more than {MAX_BYTES} bytes"))

    def errReceived(self, data: bytes) -> None:  # noqa: N802
        """It is not read: with tracing on, tools write their requests there, tokens and all."""

    def processEnded(self, reason: Failure) -> None:
        """All its output is here."""
        if self._is_done:
            return
        self._is_done = True
        if not reason.check(ProcessDone):
            self.fetched.errback(TokenUnavailable(f"the command {_end_of(reason.value)}"))
            return
        try:
            key = key_in(bytes(self._output), self._source)
        except TokenUnavailable as error:
            self.fetched.errback(error)
        else:
            self.fetched.callback(key)

    def _abandon(self) -> None:
        self._is_done = True
        self._output.clear()
        assert self.transport is not None
        # What it has begun may live on and hold the pipes open: they are not waited for.
        self.transport.loseConnection()
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass


def _end_of(reason: BaseException | None) -> str:
    if isinstance(reason, ProcessTerminated) and reason.signal is not None:
        return f"was ended by signal {reason.signal}"
    return f"failed with status {getattr(reason, 'exitCode', None)}"
