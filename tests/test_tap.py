"""What belongs to the process."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from openai_proxy.config.settings import Listen, Observation, Settings
from openai_proxy.tap import Options, call_plainly


def test_an_event_is_called_and_its_error_is_logged(nothing_left: list[object]) -> None:
    """The result comes back; an error is in the log and does not end the reactor's loop."""
    assert call_plainly(object(), divmod, 7, 2) == (3, 1)
    assert call_plainly(object(), divmod, 7, 0) is None
    assert len(nothing_left) == 1
    nothing_left.clear()


def test_a_keyboard_interrupt_is_nobodys_error() -> None:
    """Ctrl-C goes on up."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_plainly(object(), interrupted)


def settings_of(*words: str) -> Settings:
    """What a command line says."""
    options = Options()
    options.parseOptions(words)
    return options.settings


def test_there_is_no_access_log_unless_it_is_asked_for() -> None:
    """Off, and if on, with every request."""
    settings = settings_of()
    assert (settings.access_log, settings.access_log_sample) == (None, 1)


def test_an_access_log_has_an_absolute_path_or_is_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """twistd may change the folder after the options were read."""
    monkeypatch.chdir(tmp_path)
    assert settings_of("--access-log", "a/b.log").access_log == str(tmp_path / "a/b.log")
    assert settings_of("--access-log=-", "--access-log-sample=20").access_log == "-"
    assert settings_of("--access-log=-", "--access-log-sample=20").access_log_sample == 20


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "", "\u0663"])
def test_a_sample_is_one_of_a_whole_number(value: str) -> None:
    """Anything else is refused with the option's name."""
    with pytest.raises(SystemExit, match="--access-log-sample"):
        settings_of(f"--access-log-sample={value}")


def test_what_is_not_given_is_the_settings_own_default() -> None:
    """An option shows its default in --help; the settings have it in truth."""
    assert settings_of() == Settings()
    parameters: list[Any] = list(Options.optParameters)
    defaults = [f"--{name}={default}" for name, _, default, _ in parameters if default is not None]
    assert len(defaults) > 5
    assert settings_of(*defaults) == Settings()


FILE = """
listeners: [{address: "tcp:9:interface=127.0.0.1"}]
providers: {openai: {base_url: http://file.example}}
mock: false
ca_file: /file.pem
timeouts: {connect_seconds: 11, head_seconds: 12, idle_seconds: 13}
limits: {body_bytes: 14}
observation: {answers: false, include_usage: false}
prices: {file: /file.toml}
access_log: {file: /file.json, sample: 15}
admin: {address: "18", token: env:PATH}
drain: {grace_seconds: 19, timeout_seconds: 20}
workers: 21
log: {format: json, level: warn}
"""
LINE = {
    "port": ("1", "listen", (Listen("tcp:1"),)),
    "admin": ("2", "admin.listen", Listen("tcp:2:interface=127.0.0.1")),
    "drain-grace": ("0", "drain.grace_seconds", 0.0),
    "drain-timeout": ("600", "drain.timeout_seconds", 600.0),
    "workers": ("1", "workers", 1),
    "upstream": ("http://line.example/", "upstream", "http://line.example"),
    "ca-file": ("/line.pem", "ca_file", "/line.pem"),
    "access-log": ("-", "access_log", "-"),
    "access-log-sample": ("1", "access_log_sample", 1),
    "log-format": ("text", "log.format", "text"),
    "log-level": ("info", "log.level", "info"),
    "connect-timeout": ("10", "timeouts.connect_seconds", 10.0),
    "head-timeout": ("600", "timeouts.head_seconds", 600.0),
    "idle-timeout": ("600", "timeouts.idle_seconds", 600.0),
    "prices": ("/line.toml", "observation.prices_file", "/line.toml"),
    "limit": ("body_bytes=16", "limits.body_bytes", 16),
}


def parsed(path: Path, *options: str) -> Settings:
    """The settings of a command line with a file."""
    return settings_of("--config", str(path), *options)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file with another value for all that an option sets."""
    path = tmp_path / "proxy.yaml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("option", LINE)
def test_an_option_comes_before_the_file_and_changes_nothing_else(option: str, config: Path) -> None:
    """Also where it says the default: it was given."""
    value, path, expected = LINE[option]
    from_file, settings = parsed(config), parsed(config, f"--{option}={value}")
    read = attrgetter(path)
    assert read(settings) == expected != read(from_file)
    for _, other, _ in LINE.values():
        assert other == path or attrgetter(other)(settings) == attrgetter(other)(from_file)


def test_an_upstream_on_the_line_is_that_of_the_files_openai(config: Path) -> None:
    """The daemon that has a file asks its providers and not the setting; without an openai it is refused."""
    options = Options()
    options.parseOptions(["--config", str(config), "--upstream", "http://line.example/"])
    assert options.configuration is not None
    assert options.configuration.providers["openai"].base_url == "http://line.example"
    config.write_text("providers: {groq: }")
    with pytest.raises(SystemExit, match="--upstream: the configuration has no provider openai"):
        parsed(config, "--upstream", "http://line.example/")


def test_a_port_on_the_line_is_the_only_one(config: Path) -> None:
    """Whatever listeners the file has; an error about one says where it was said."""
    config.write_text("listeners: [{address: '1'}, {address: '2'}]")
    assert parsed(config).listen == (Listen("tcp:1"), Listen("tcp:2"))
    assert parsed(config, "--port", "3").listen == (Listen("tcp:3"),)
    options = Options()
    options.parseOptions(["--config", str(config)])
    assert options.listen_place(1) == f"{config}: listeners[1].address:"
    options.parseOptions(["--config", str(config), "--port", "3"])
    assert options.listen_place(0) == "--port"
    assert options.listen_place(0, "tls") == f"{config}: listeners[0].tls:"


def test_the_operators_port_is_the_files_or_the_lines(config: Path) -> None:
    """Its token and its TLS are the file's in any case; an error says where it was said."""
    config.write_text("admin: {address: '1', token: env:KEY, tls: {certificate: a.pem}}")
    file = str(config.parent / "a.pem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEY", "canary")
        options = Options()
        options.parseOptions(["--config", str(config)])
        assert options.settings.admin.listen == Listen("tcp:1:interface=127.0.0.1", file)
        assert options.admin_place() == f"{config}: admin.address:"
        options.parseOptions(["--config", str(config), "--admin", "tcp:2"])
        assert options.settings.admin.listen == Listen("tcp:2", file)
        assert options.settings.admin.token is not None
        assert options.admin_place() == "--admin"
        assert options.admin_place("tls") == f"{config}: admin.tls:"


def test_a_port_on_the_line_keeps_the_tls_of_the_file(config: Path) -> None:
    """Clients who are used to it are not met in the clear by a number."""
    config.write_text("listeners: [{address: '1', tls: {certificate: /a.pem}}]")
    assert parsed(config, "--port", "3").listen == (Listen("tcp:3", "/a.pem"),)


@pytest.mark.parametrize("admin", ["8080", "tcp:8080", "tcp:8080:interface=10.0.0.1"])
def test_the_operators_port_is_not_the_clients(admin: str, config: Path) -> None:
    """It is told before either is bound; with a file, at its place there."""
    with pytest.raises(SystemExit, match=r"--admin: clients are listened for there"):
        settings_of("--admin", admin)
    assert settings_of("--admin", admin, "--port", "1").admin.listen is not None
    config.write_text("{}")
    with pytest.raises(SystemExit, match=r"admin\.address: cannot be listened at beside listeners\[0\]"):
        parsed(config, "--admin", admin)


@pytest.mark.parametrize(
    "option", ["--admin=65536", "--drain-grace=-1", "--drain-grace=x", "--drain-timeout=0", "--workers=0"]
)
def test_what_an_option_cannot_be(option: str) -> None:
    """Each is refused with its name."""
    with pytest.raises(SystemExit, match=option.partition("=")[0]):
        settings_of(option)


def test_options_that_take_away_do_so_whatever_the_file_says(tmp_path: Path) -> None:
    """There is no option to give back: without it the file holds."""
    path = tmp_path / "proxy.yaml"
    path.write_text("mock: true\nobservation: {answers: true, include_usage: true}\n")
    assert parsed(path) == Settings()
    settings = parsed(path, "--no-mock", "--no-observe", "--no-include-usage")
    assert (settings.mock, settings.observation) == (False, Observation(False, False))


def test_every_option_of_a_value_is_tried_against_the_file() -> None:
    """One that is added later would be ignored beside a file, or the file beside it."""
    parameters: list[Any] = [*Options.optParameters, *Options.optFlags]
    flags = {"check", "no-mock", "no-observe", "no-include-usage"}
    assert {name for name, *_ in parameters} == (LINE.keys() - {"limit"}) | flags | {"config"}
