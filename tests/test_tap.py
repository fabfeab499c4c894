"""What belongs to the process."""

from __future__ import annotations

import pytest

from openai_proxy.tap import call_plainly


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
