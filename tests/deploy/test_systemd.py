"""The units: systemd knows every word of them, what they start is a command we have, and times fit."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from openai_proxy.config.settings import Listen, Settings
from openai_proxy.process.listening import BACKLOG
from openai_proxy.tap import Options
from tests.support.daemon import ROOT, command, environment
from tests.support.program import Program
from tests.support.sockets import Peer
from tests.support.tools import require_tool

ETC = Path(__file__).parents[2] / "etc"
UNIT = ETC / "systemd" / "openai-proxy.service"
SOCKET = ETC / "systemd" / "openai-proxy.socket"
DEFAULTS = ETC / "default" / "openai-proxy"
TWISTD = "/opt/openai-proxy/bin/twistd"


def values(key: str) -> list[str]:
    """What the unit says for ``key``, in order."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def installed(folder: Path) -> list[Path]:
    """Both units, as on a machine where the daemon's program exists."""
    for unit in (UNIT, SOCKET):
        (folder / unit.name).write_text(unit.read_text().replace(TWISTD, require_tool("true")))
    return [folder / UNIT.name, folder / SOCKET.name]


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """No key is unknown, no value is of the wrong kind."""
    line = (require_tool("systemd-analyze"), "verify", *map(str, installed(tmp_path)))
    done = subprocess.run(line, text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # An unknown key is only a warning; other units of the machine have theirs.
    about_ours = [line for line in done.stdout.splitlines() if "openai-proxy" in line]
    assert (done.returncode, about_ours) == (0, []), done.stdout


def test_it_is_exposed_to_little(tmp_path: Path) -> None:
    """By systemd's own sum, of 10 at most: below 2.0."""
    unit, _ = installed(tmp_path)
    line = (require_tool("systemd-analyze"), "security", "--offline=true", "--no-pager", str(unit))
    done = subprocess.run(line, text=True, timeout=60, capture_output=True)
    found = re.search(r"Overall exposure level for openai-proxy\.service: (\d+\.\d+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) < 2.0


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
    assert values("Restart") == ["on-failure"]


def test_systemd_hears_of_its_state() -> None:
    """READY and the rest come from the main process alone; at an upgrade it names the next one.

    Were all of them heard, what drains after an upgrade would end the service with its STOPPING.
    """
    assert values("Type") == ["notify"]
    assert values("NotifyAccess") == ["main"]
    (seconds,) = values("WatchdogSec")
    # Past a collection of garbage, a file on a slow disk, a machine that is short of CPU.
    assert 10 <= int(seconds) <= 60


def test_a_reload_is_a_signal() -> None:
    """`systemctl reload` sends SIGHUP, to the main process alone, on systemd 252 too."""
    assert values("ExecReload") == ["/bin/kill -HUP $MAINPID"]


def test_a_stop_leaves_time_to_drain() -> None:
    """What is in flight ends by itself; what is cut at the end of the drain is cut by us, and is no failure.

    With KillMode=control-group a worker would get the signal twice, which ends it at once.
    """
    (seconds,) = values("TimeoutStopSec")
    drain = Settings().drain
    assert int(seconds) >= drain.grace_seconds + drain.timeout_seconds + 30
    assert values("KillSignal") == ["SIGTERM"]
    assert values("KillMode") == ["mixed"]
    assert values("SuccessExitStatus") == ["3"]


def test_a_daemon_that_hangs_is_ended_soon_and_tells_where() -> None:
    """The watchdog's signal is SIGABRT, at which Python writes where it was; no key is written to a core."""
    assert values("TimeoutAbortSec") == ["10"]
    assert "PYTHONFAULTHANDLER=1" in " ".join(values("Environment"))
    assert values("LimitCORE") == ["0"]
    code = "import os, signal\ndef hangs(): os.kill(os.getpid(), signal.SIGABRT)\nhangs()"
    run = (sys.executable, "-c", code)
    limited = ("sh", "-c", 'ulimit -c 0; exec "$@"', "sh", *run)
    done = subprocess.run(limited, env=environment(PYTHONFAULTHANDLER="1"), capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGABRT and b"in hangs" in done.stderr


def test_a_worker_without_memory_ends_alone() -> None:
    """By default the kernel's end of one process would end the service, and every stream of all workers."""
    assert values("OOMPolicy") == ["continue"]


def test_the_socket_is_the_services_under_the_name_that_the_page_says() -> None:
    """docs/operations.md has the endpoint that takes it; both units have one name, which joins them."""
    text = SOCKET.read_text()
    (name,) = re.findall(r"^FileDescriptorName=(\w+)$", text, re.MULTILINE)
    (address,) = re.findall(r"^ListenStream=(.+)$", text, re.MULTILINE)
    assert UNIT.stem == SOCKET.stem
    assert "Accept=" not in text
    endpoint = f"systemd:domain=INET:name={name}"
    assert endpoint in text
    assert endpoint in (ETC.parent / "docs" / "operations.md").read_text()
    # An address with its family: a port alone is IPv6 to systemd, and Twisted was told INET.
    assert address == "0.0.0.0:8080"
    backlog = re.findall(r"^Backlog=(\d+)$", text, re.MULTILINE)
    assert backlog == [str(BACKLOG)]


WITH_SOCKET = """
import os, sys
held, *command = sys.argv[1:]
os.dup2(int(held), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "clients"}
os.execv(command[0], command)
"""
"""As systemd does it: the descriptor is number 3, and the variables name the process that is to have it."""


def socket_activated(held: socket.socket, endpoint: str) -> Program:
    """A daemon that systemd starts for a socket of its own."""
    options = command("--port", endpoint)
    arguments = [sys.executable, "-c", WITH_SOCKET, str(held.fileno()), *options]
    return Program(arguments, re.compile(r"serves on (\S+)$"), ROOT, environment(), pass_fds=(held.fileno(),))


@pytest.mark.parametrize("endpoint", ["systemd:domain=INET:name=clients", "systemd:domain=INET:index=0"])
def test_the_socket_outlives_the_daemon(endpoint: str) -> None:
    """A connection that is made while no daemon runs is served by the next one: none is refused."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        for _ in range(2):
            with Peer.connect(held.getsockname()[1]) as client:
                client.send_request("GET", "/readyz")
                with socket_activated(held, endpoint) as daemon:
                    assert client.read_answer("GET").status == 200
                    assert daemon.stop() == 0


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
