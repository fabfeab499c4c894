"""A child is started as its parent was; a successor by the name that may lead to another version now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from openai_proxy.process.command_line import CommandLine

OPTIONS = ("--nodaemon", "openaiproxy", "--port", "0")


def script(path: Path, interpreter: str, mode: int = 0o755) -> str:
    """A program whose first line names its interpreter."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{interpreter}\nraise SystemExit\n")
    path.chmod(mode)
    return str(path)


def test_a_child_has_no_pid_file_and_the_rest_as_it_was() -> None:
    """The options of twistd stand before the daemon's name."""
    line = CommandLine(("/python", "/twistd", *OPTIONS), "/")
    assert line.child == ("/python", "/twistd", "--nodaemon", "--pidfile=", *OPTIONS[1:])
    assert line.in_foreground == line
    assert CommandLine(line.child, "/").child == line.child
    assert CommandLine(("/twistd", "openaiproxy"), "/").in_foreground.arguments[1] == "--nodaemon"
    assert CommandLine(("/python", "other"), "/").child == ("/python", "other")


def test_its_own_has_the_interpreter_first() -> None:
    """And the folder, for names that are relative to it."""
    own = CommandLine.own()
    assert own.arguments == (sys.executable, *sys.orig_argv[1:])
    assert own.folder == str(Path.cwd())


def test_a_successor_is_what_the_name_leads_to(tmp_path: Path) -> None:
    """Two versions in virtualenvs of their own, and a link that is changed: the interpreter goes with it."""
    link = tmp_path / "current"
    for version in ("v1", "v2"):
        script(tmp_path / version / "twistd", f"{tmp_path}/{version}/python")
    link.symlink_to("v1")
    line = CommandLine((f"{tmp_path}/v1/python", str(link / "twistd"), *OPTIONS), "/")
    assert line.by_name.arguments == (str(link / "twistd"), *OPTIONS)
    assert line.child[:2] == (f"{tmp_path}/v1/python", str(link / "twistd"))


def test_a_relative_name_is_found_in_the_folder(tmp_path: Path) -> None:
    """Wherever the daemon is later."""
    name = script(tmp_path / "twistd", "/python")
    assert CommandLine(("/python", "twistd", *OPTIONS), str(tmp_path)).by_name.arguments[0] == name


@pytest.mark.parametrize(
    ("first_line", "arguments", "mode"),
    [
        ("/another/python", ("twistd",), 0o755),
        ("/python", ("twistd",), 0o644),
        ("/python", ("-X", "twistd"), 0o755),
        ("/python", ("missing",), 0o755),
        ("/python", (), 0o755),
    ],
)
def test_an_interpreter_that_was_chosen_by_hand_stays(
    tmp_path: Path, first_line: str, arguments: tuple[str, ...], mode: int
) -> None:
    """Another than the script's, or with options; and where the script is none that can be started."""
    script(tmp_path / "twistd", first_line, mode)
    line = CommandLine(("/python", *arguments), str(tmp_path))
    assert line.by_name is line
