"""What the command line says: options to settings, over what a configuration file says."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from twisted.internet.endpoints import serverFromString
from twisted.python import usage

from openai_proxy import __version__
from openai_proxy.config.address import admin_description, listen_description, same_place
from openai_proxy.config.settings import Listen, Logging, Settings, with_limit
from openai_proxy.config.setup import Setup
from openai_proxy.config.url import root_url
from openai_proxy.observe.log_file import STDOUT

if TYPE_CHECKING:
    from openai_proxy.config.configuration import Configuration


def check_endpoint(reactor: Any, description: str, place: str) -> None:
    """Raise ValueError if Twisted cannot make an endpoint of a description, which stands at ``place``."""
    try:
        serverFromString(reactor, description)
    except Exception as error:
        # Each kind of endpoint parses its own words, and fails in its own way.
        raise ValueError(f"{place} {description}: not an endpoint description: {error}") from None


def seconds(value: str) -> float:
    """A positive number of seconds."""
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is not a positive number of seconds")
    return number


def seconds_or_none(value: str) -> float:
    """The same, or 0."""
    return 0.0 if float(value) == 0 else seconds(value)


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


def _listen(value: str) -> tuple[Listen, ...]:
    return (Listen(listen_description(value)),)


def _admin(value: str) -> Listen:
    return Listen(admin_description(value))


def _off(_: Any) -> bool:
    return False


def _one_of(section: type, field: str) -> Callable[[str], str]:
    """What checks that a value is one of those that a setting can have."""
    choices = get_args(get_type_hints(section)[field])

    def checked(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return checked


_SETS: tuple[tuple[str, str, str, Any], ...] = (
    ("port", "", "listen", _listen),
    ("admin", "admin", "listen", _admin),
    ("upstream", "", "upstream", root_url),
    ("ca-file", "", "ca_file", str),
    ("access-log", "", "access_log", log_path),
    ("access-log-sample", "", "access_log_sample", positive),
    ("no-mock", "", "mock", _off),
    ("connect-timeout", "timeouts", "connect_seconds", seconds),
    ("head-timeout", "timeouts", "head_seconds", seconds),
    ("idle-timeout", "timeouts", "idle_seconds", seconds),
    ("prices", "observation", "prices_file", str),
    ("no-observe", "observation", "answers", _off),
    ("no-include-usage", "observation", "include_usage", _off),
    ("drain-grace", "drain", "grace_seconds", seconds_or_none),
    ("drain-timeout", "drain", "timeout_seconds", seconds),
    ("workers", "", "workers", positive),
    ("log-format", "log", "format", _one_of(Logging, "format")),
    ("log-level", "log", "level", _one_of(Logging, "level")),
)
"""What an option sets: the option, the part of the settings, the field, and what makes its value."""

_PUT_INTO_FILE = frozenset({"port", "admin"})
"""Options that are read with the file, if there is one: its listener's other keys (``tls``) hold for them."""


def _replaced(settings: Settings, part: str, field: str, value: Any) -> Settings:
    if not part:
        return replace(settings, **{field: value})
    return replace(settings, **{part: replace(getattr(settings, part), **{field: value})})


def _end_with(problems: str) -> None:
    """End the process if there are any, each on a line of its own."""
    if problems:
        raise SystemExit("\n".join(f"openai_proxy: {line}" for line in problems.splitlines())) from None


def _failures(checks: Iterable[Callable[[], object]]) -> list[str]:
    """What each that fails says of it."""
    problems = []
    for check in checks:
        try:
            check()
        except OSError as error:
            problems.append(f"{error.filename}: {error.strerror}")
        except ValueError as error:
            problems.append(str(error))
    return problems


def _listen_checks(
    reactor: Any, listen: Listen, place: Callable[[str], str]
) -> Iterator[Callable[[], object]]:
    """Whether it can be listened there; ``place``: of a key of its, where that was said."""
    yield partial(check_endpoint, reactor, listen.description, place("address"))
    if listen.certificate is not None:
        yield partial(_check_certificate, listen.certificate, listen.key, place("tls"))


def _check_certificate(certificate: str, key: str | None, place: str) -> None:
    from openai_proxy.wire.server_tls import ServerTLS

    try:
        prepared = ServerTLS(place, certificate, key).load()
    except OSError:
        # That a file is not there is told with the other files.
        return
    if warning := prepared.warning(time.time()):
        print(f"warning: {warning}")


class Options(usage.Options):
    """The options of ``twistd openaiproxy``."""

    synopsis = "[options]"
    longdesc = (
        "Forwards /v1/... and /openai/... to an OpenAI-like API, unchanged, and says at /metrics "
        "what happened. With --config there are several of them: /v1/... goes where the model is. "
        "/mock/v1/... answers without key or network."
    )
    optParameters = [  # noqa: RUF012 (usage.Options reads it)
        ["config", "c", None, "Configuration file (YAML); options of the command line come before it."],
        ["port", "p", "8080", "Port number, or endpoint description (tcp:8080:interface=127.0.0.1)."],
        [
            "admin",
            None,
            None,
            "Port for metrics, health and pages: a number (on loopback), or a description.",
        ],
        ["upstream", "u", "https://api.openai.com", "Root URL of the provider 'openai'."],
        ["ca-file", None, None, "PEM file of a private CA to trust besides the system's."],
        ["connect-timeout", None, "10", "Seconds to connect to an upstream."],
        ["head-timeout", None, "600", "Seconds to wait for an answer's head."],
        ["idle-timeout", None, "600", "Seconds between two pieces of an answer."],
        ["prices", None, None, "File of prices (.json or .toml) over the package's own."],
        ["access-log", None, None, "File for one line of JSON an exchange; - is stdout."],
        ["access-log-sample", None, "1", "Of exchanges that are ok, only one of so many has a line."],
        ["drain-grace", None, "0", "Seconds after SIGTERM in which new connections are accepted."],
        ["drain-timeout", None, "600", "Seconds after SIGTERM in which what is in flight may go on."],
        ["workers", None, "1", "Processes that serve: about one for each core."],
        ["log-format", None, "text", "The daemon's own log on stdout: text, or json."],
        ["log-level", None, "info", "The least that it says: debug, info, warn or error."],
    ]
    optFlags = [  # noqa: RUF012
        ["check", None, "Check the configuration file, print what it says, and exit."],
        ["no-mock", None, "Serve no /mock/v1."],
        ["no-observe", None, "Read no answer: no tokens, costs, clocks of tokens, errors in streams."],
        ["no-include-usage", None, "Do not ask streams for their usage."],
    ]

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._arguments: list[str] = []
        self._folder = Path()
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
        self._arguments = sys.argv[1:] if options is None else list(options)
        # twistd may change the folder.
        self._started_in = Path.cwd()
        try:
            super().parseOptions(self._arguments)
        except usage.UsageError as error:
            raise SystemExit(f"openai_proxy: {error} (twistd openaiproxy --help)") from None

    @property
    def setup(self) -> Setup:
        """All of it."""
        places = [self.listen_place(number) for number in range(len(self.settings.listen))]
        return Setup(self.settings, self.configuration, places, self.admin_place())

    def read_again(self) -> Setup:
        """What the same command line means now. Raises SystemExit with every problem, a line each."""
        again = Options()
        again.parent = self.parent
        again._folder = self._started_in
        again.parseOptions(self._arguments)
        return again.setup

    def __setitem__(self, name: str, value: Any) -> None:
        """As usage.Options sets what is given, and does not set what is left at its default."""
        self._given.add(name)
        super().__setitem__(name, value)

    def postOptions(self) -> None:
        """Check every value; the settings are in ``self.settings`` then."""
        configuration = self._configuration()
        self.settings = self._settings(configuration)
        if configuration is not None and "upstream" in self._given:
            if "openai" not in configuration.providers:
                raise usage.UsageError("--upstream: the configuration has no provider openai")
            configuration = configuration.with_upstream(self.settings.upstream)
        self.configuration = configuration
        if configuration is not None and self["check"]:
            self._check(configuration)

    def _settings(self, configuration: Configuration | None) -> Settings:
        """What the file says, or the defaults, and before it what the options say."""
        settings = Settings() if configuration is None else configuration.settings()
        read = frozenset() if configuration is None else _PUT_INTO_FILE
        for option, part, field, check in _SETS:
            if option in self._given - read:
                settings = _replaced(settings, part, field, self._checked(option, check))
        for setting in self._limits:
            try:
                settings = with_limit(settings, setting)
            except ValueError as error:
                raise usage.UsageError(f"--limit: {error}") from None
        admin = settings.admin.listen
        # Of a file's listeners the file's own check has told it.
        if configuration is None and admin and same_place(admin.description, settings.listen[0].description):
            raise usage.UsageError("--admin: clients are listened for there (--port)")
        return settings

    def _configuration(self) -> Configuration | None:
        """What the file says; one that is wrong ends the process with a line for each problem."""
        if self["config"] is None:
            if self["check"]:
                raise usage.UsageError("--check: there is nothing to check without --config")
            return None
        # YAML and the catalogue are memory that a daemon without a file is spared.
        from openai_proxy.config.configuration import load
        from openai_proxy.config.problems import ConfigError
        from openai_proxy.config.secret import SecretReader
        from openai_proxy.providers.catalogue import read_catalogue

        port = self._checked("port", listen_description) if "port" in self._given else None
        admin = self._checked("admin", admin_description) if "admin" in self._given else None
        try:
            path = self._folder / self["config"]
            return load(path, read_catalogue(), SecretReader(os.environ), port, admin)
        except ConfigError as error:
            _end_with(str(error))
            raise

    def listen_place(self, number: int, key: str = "address") -> str:
        """Where one of ``settings.listen`` was said, for an error about this ``key`` of it."""
        return self._place("port", f"listeners[{number}]", key)

    def admin_place(self, key: str = "address") -> str:
        """The same of ``settings.admin.listen``."""
        return self._place("admin", "admin", key)

    def _place(self, option: str, section: str, key: str) -> str:
        if self["config"] is None or (option in self._given and key == "address"):
            return f"--{option}"
        return f"{self['config']}: {section}.{key}:"

    def _check(self, configuration: Configuration) -> None:
        """Print what was understood, and end the process: 0 if a daemon can start with it, else 1."""
        from twisted.internet import reactor

        from openai_proxy.config.outside import missing
        from openai_proxy.config.problems import ConfigError
        from openai_proxy.config.report import circuits, report, targets
        from openai_proxy.observe.expected_series import expected_series
        from openai_proxy.policy.prices import Prices
        from openai_proxy.wire.tls import trust_root_from_file

        settings = self.settings
        series = expected_series(
            configuration.providers,
            targets(configuration),
            with_mock=settings.mock,
            routes=[[one.provider for one in route.targets] for route in configuration.file.models.values()],
            circuits=circuits(configuration),
        )
        for line in report(configuration, settings, series):
            print(line)
        checks: list[Callable[[], object]] = [partial(Prices.load, settings.observation.prices_file)]
        if settings.ca_file is not None:
            checks.append(partial(trust_root_from_file, settings.ca_file))
        if settings.tracing is not None:
            from openai_proxy.observe.tracing import exporter_of

            checks.append(partial(exporter_of, settings.tracing))
        for number, one in enumerate(settings.listen):
            checks += _listen_checks(reactor, one, partial(self.listen_place, number))
        if settings.admin.listen is not None:
            checks += _listen_checks(reactor, settings.admin.listen, self.admin_place)
        problems = _failures(checks)
        if outside := list(missing(configuration, settings)):
            problems.append(str(ConfigError(configuration.path, outside)))
        _end_with("\n".join(problems))
        raise SystemExit(0)

    def _checked(self, name: str, check: Any) -> Any:
        try:
            return check(self[name])
        except ValueError as error:
            raise usage.UsageError(f"--{name}: {error}") from None
