"""What belongs to the process."""

from __future__ import annotations

import pytest

from openai_proxy.tap import call_plainly, upstream_url


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
