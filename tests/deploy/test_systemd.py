"""The unit file: systemd knows every word of it, and what it starts is a command we have."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from openai_proxy.config.settings import Listen
from openai_proxy.tap import Options
from tests.support.tools import require_tool

ETC = Path(__file__).parents[2] / "etc"
UNIT = ETC / "systemd" / "openai-proxy.service"
DEFAULTS = ETC / "default" / "openai-proxy"
TWISTD = "/opt/openai-proxy/bin/twistd"


def values(key: str) -> list[str]:
    """What the unit says for ``key``, in order."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """No key is unknown, no value is of the wrong kind."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(TWISTD, require_tool("true")))
    command = (require_tool("systemd-analyze"), "verify", str(unit))
    done = subprocess.run(command, text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # An unknown key is only a warning; other units of the machine have theirs.
    about_ours = [line for line in done.stdout.splitlines() if unit.name in line]
    assert (done.returncode, about_ours) == (0, []), done.stdout


@pytest.mark.parametrize(
    "setting",
    [
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "CapabilityBoundingSet=",
        "SystemCallFilter=@system-service",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    ],
)
def test_the_service_is_shut_in(setting: str) -> None:
    """A daemon taken over can read no home, write no file and gain no right."""
    assert setting in UNIT.read_text().splitlines()


def test_memory_may_be_executed() -> None:
    """MemoryDenyWriteExecute breaks TLS: pyOpenSSL's callbacks are cffi closures."""
    assert values("MemoryDenyWriteExecute") == []


def test_it_runs_in_the_foreground_with_the_arguments_of_the_environment() -> None:
    """systemd sees the daemon itself, and a file in /etc/default changes its options."""
    (start,) = values("ExecStart")
    assert start.split() == [TWISTD, "--nodaemon", "--pidfile=", "openaiproxy", "$OPENAI_PROXY_ARGS"]
    assert values("EnvironmentFile") == ["-/etc/default/openai-proxy"]
    assert values("Type") == ["exec"]
    assert values("Restart") == ["on-failure"]


def test_the_defaults_are_options_that_exist() -> None:
    """The unit and the sample file start the daemon on 8080, and every option named is one."""
    inline = dict(word.split("=", 1) for line in values("Environment") for word in shlex.split(line))
    sample = dict(word.split("=", 1) for word in shlex.split(DEFAULTS.read_text(), comments=True))
    for arguments in (inline["OPENAI_PROXY_ARGS"], sample["OPENAI_PROXY_ARGS"]):
        options = Options()
        options.parseOptions(arguments.split())
        assert options.settings.listen == (Listen("tcp:8080"),)
    named = set(re.findall(r"--([a-z][a-z-]+)", DEFAULTS.read_text())) - {"help"}
    assert named <= Options().keys()
