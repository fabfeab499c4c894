"""What belongs to the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from openai_proxy.config.settings import Settings
from openai_proxy.tap import Options, call_plainly, upstream_url


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


@pytest.mark.parametrize(
    "url",
    [
        "http://foo,bar",
        "http://host:0",
        "http://h\\x",
        "http://host/\x7f",
        "ftp://host",
        "http://u:p@host",
        "http://h?q",
    ],
)
def test_an_upstream_that_cannot_be_asked_is_refused_at_start(url: str) -> None:
    """What every request would fail for is a ValueError before there is one."""
    with pytest.raises(ValueError, match=r"."):
        upstream_url(url)


def test_an_upstream_keeps_its_path_and_loses_its_last_slash() -> None:
    """The root is what request targets are put behind."""
    assert upstream_url("https://host:8443/base/") == "https://host:8443/base"
    assert upstream_url("http://[::1]:1") == "http://[::1]:1"


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
