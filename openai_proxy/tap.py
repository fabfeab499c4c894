"""``twistd openaiproxy``: options to settings, settings to the service."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any
from urllib.parse import urlsplit

from twisted.application.service import IService, Service
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python import log, usage

from openai_proxy import __version__
from openai_proxy.config.settings import Observation, Settings, Timeouts, with_limit
from openai_proxy.observe.log_file import STDOUT
from openai_proxy.wire.agent import check_uri

_log = Logger()


def listen_description(port: str) -> str:
    """A port number, or a Twisted endpoint description, as a description."""
    if port.isascii() and port.isdecimal():
        if int(port) > 65535:
            raise ValueError(f"{port} is not a port number (0 to 65535)")
        return f"tcp:{port}"
    return port


def check_endpoint(reactor: Any, description: str) -> None:
    """Raise ValueError if Twisted cannot make an endpoint of a description."""
    try:
        serverFromString(reactor, description)
    except Exception as error:
        # Each kind of endpoint parses its own words, and fails in its own way.
        raise ValueError(f"--port {description}: not an endpoint description: {error}") from None


def upstream_url(url: str) -> str:
    """A provider's root: http or https, no query, no credentials; without a slash at its end."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http:// or https:// URL")
    if parts.username or parts.password:
        raise ValueError("a URL with credentials in it is not taken: clients bring their own")
    if parts.query or parts.fragment or "?" in url:
        raise ValueError(f"{url!r} has a query or a fragment")
    if not url.isascii() or any(character <= " " for character in url):
        raise ValueError(f"{url!r} has characters that a URL cannot have")
    try:
        check_uri(url.encode("ascii"))
    except ValueError as error:
        raise ValueError(f"{url!r}: {error}") from None
    return url.rstrip("/")


def seconds(value: str) -> float:
    """A positive number of seconds."""
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is not a positive number of seconds")
    return number


def positive(value: str) -> int:
    """A whole number above 0."""
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise ValueError(f"{value!r} is not a whole number above 0")
    return int(value)


def log_path(path: str | None) -> str | None:
    """A file's absolute path (twistd may change the folder), or ``-``."""
    if path == "":
        raise ValueError("a file, or - for stdout, is wanted")
    return path if path in (None, STDOUT) else os.path.abspath(path)


class Options(usage.Options):
    """The options of ``twistd openaiproxy``."""

    synopsis = "[options]"
    longdesc = (
        "Forwards /v1/... and /openai/... to an OpenAI-like API, unchanged, and says at /metrics "
        "what happened. /mock/v1/... answers without key or network."
    )
    optParameters = [  # noqa: RUF012 (usage.Options reads it)
        ["port", "p", "8080", "Port number, or endpoint description (tcp:8080:interface=127.0.0.1)."],
        ["upstream", "u", "https://api.openai.com", "Root URL of the provider 'openai'."],
        ["ca-file", None, None, "PEM file of a private CA to trust besides the system's."],
        ["connect-timeout", None, "10", "Seconds to connect to an upstream."],
        ["head-timeout", None, "600", "Seconds to wait for an answer's head."],
        ["idle-timeout", None, "600", "Seconds between two pieces of an answer."],
        ["prices", None, None, "File of prices (.json or .toml) over the package's own."],
        ["access-log", None, None, "File for one line of JSON an exchange; - is stdout."],
        ["access-log-sample", None, "1", "Of exchanges that are ok, only one of so many has a line."],
    ]
    optFlags = [  # noqa: RUF012
        ["no-mock", None, "Serve no /mock/v1."],
        ["no-observe", None, "Read no answer: no tokens, costs, clocks of tokens, errors in streams."],
        ["no-include-usage", None, "Do not ask streams for their usage."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self._limits: list[str] = []

    def opt_limit(self, setting: str) -> None:
        """Change a limit: NAME=VALUE, as often as needed. docs/architecture.md lists them."""
        self._limits.append(setting)

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"openai_proxy {__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Any = None) -> None:
        """A bad option ends the process with one line; twistd would print all of the usage."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(f"openai_proxy: {error} (twistd openaiproxy --help)") from None

    def postOptions(self) -> None:
        """Check every value; the settings are in ``self.settings`` then."""
        self.settings = Settings(
            listen=self._checked("port", listen_description),
            upstream=self._checked("upstream", upstream_url),
            ca_file=self["ca-file"],
            mock=not self["no-mock"],
            access_log=self._checked("access-log", log_path),
            access_log_sample=self._checked("access-log-sample", positive),
            timeouts=Timeouts(
                connect_seconds=self._checked("connect-timeout", seconds),
                head_seconds=self._checked("head-timeout", seconds),
                idle_seconds=self._checked("idle-timeout", seconds),
            ),
            observation=Observation(
                answers=not self["no-observe"],
                include_usage=not self["no-include-usage"],
                prices_file=self["prices"],
            ),
        )
        for setting in self._limits:
            try:
                self.settings = with_limit(self.settings, setting)
            except ValueError as error:
                raise usage.UsageError(f"--limit: {error}") from None

    def _checked(self, name: str, check: Any) -> Any:
        try:
            return check(self[name])
        except ValueError as error:
            raise usage.UsageError(f"--{name}: {error}") from None


def call_plainly(logger: Any, func: Any, *args: Any, **kw: Any) -> Any:
    """What the reactor calls for each event, without the context that names the connection to
    log events of Twisted's old kind: there are none here, and it costs 3 % of a request.
    """
    try:
        return func(*args, **kw)
    except KeyboardInterrupt:
        raise
    except BaseException:
        _log.failure("Unhandled error in {kind}", kind=type(logger).__name__)


def _exit(*_: Any) -> None:
    raise SystemExit(0)


class Process(Service):
    """What belongs to the process, not to the proxy: its signals, its collector, its log's context.

    SIGTERM is how a daemon is ended, not a failure: the exit status is 0. Left to itself,
    twistd dies of the signal that stopped its reactor.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # Until the reactor runs, nothing has to be stopped.
        signal.signal(signal.SIGTERM, _exit)
        # An exchange leaves no cycles behind (a test says so), so the collector has next to
        # nothing to do; by default it would take a tenth of the time, and with thousands of
        # streams stop them all for a tenth of a second to find that out.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        log.callWithLogger = call_plainly

    def startService(self) -> None:
        """From now on the reactor takes the signal, and stops."""
        super().startService()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._forget_signal)

    def _forget_signal(self) -> None:
        if self._reactor._exitSignal == signal.SIGTERM:
            self._reactor._exitSignal = None


def makeService(options: Options) -> IService:
    """The daemon that these options describe. A bad value ends the process with one line."""
    from twisted.internet import reactor

    from openai_proxy.service import ProxyService

    try:
        check_endpoint(reactor, options.settings.listen)
        service = ProxyService(options.settings, reactor)
    except (ValueError, OSError) as error:
        print(f"openai_proxy: {error}", file=sys.__stderr__, flush=True)
        raise SystemExit(1) from None
    Process(reactor).setServiceParent(service)
    return service
