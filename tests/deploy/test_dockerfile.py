"""The Dockerfile: what can be known of an image without building it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from openai_proxy.config.settings import Listen
from openai_proxy.tap import Options
from tests.support.daemon import environment

ROOT = Path(__file__).parents[2]


class Instruction(NamedTuple):
    """One instruction: its word, and the rest of its lines as one."""

    word: str
    rest: str


def read_dockerfile() -> list[Instruction]:
    """The instructions, without comments, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


DOCKERFILE = read_dockerfile()
LAST_STAGE = DOCKERFILE[max(n for n, one in enumerate(DOCKERFILE) if one.word == "FROM") :]


def only(word: str) -> str:
    """The rest of the one such instruction of the image."""
    (found,) = (one.rest for one in LAST_STAGE if one.word == word)
    return found


def health_check() -> list[str]:
    """The command that tells whether the image is healthy."""
    command: list[str] = json.loads(only("HEALTHCHECK").split("CMD", 1)[1])
    return command


@contextmanager
def server_that_answers(status: int) -> Iterator[int]:
    """The port of a server on the loopback that answers every GET with ``status``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_both_stages_stand_on_the_base_that_is_given() -> None:
    """A virtualenv works where it was made; and no registry's host is in the file."""
    assert Instruction("ARG", "BASE_IMAGE=python:3.13-slim") == DOCKERFILE[0]
    bases = [one.rest.split()[0] for one in DOCKERFILE if one.word == "FROM"]
    assert bases == ["${BASE_IMAGE}"] * 2
    assert not re.search(
        r"://|--(extra-)?index-url|--trusted-host", "\n".join(one.rest for one in DOCKERFILE[1:])
    )


def test_nothing_is_installed_that_the_lock_does_not_name() -> None:
    """pip checks every hash, or has no index to ask."""
    calls = [
        call for one in DOCKERFILE if one.word == "RUN" for call in one.rest.split("&&") if "/pip " in call
    ]
    assert len(calls) == 4
    assert all("--require-hashes" in call or "--no-index" in call for call in calls)
    assert "--requirement requirements/run.txt" in calls[0]


def test_what_is_copied_exists_and_is_in_the_build_context() -> None:
    """.dockerignore lets through all that the file asks for."""
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for one in DOCKERFILE:
        if one.word == "COPY" and not one.rest.startswith("--from"):
            for source in one.rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert any(source == allowed or source.startswith(f"{allowed}/") for allowed in let_through)


def test_it_is_a_number_that_is_not_root() -> None:
    """Kubernetes' runAsNonRoot can only judge a number."""
    user, group = only("USER").split(":")
    assert int(user) > 0 and int(group) > 0


def test_sigterm_reaches_twistd() -> None:
    """No shell stands between, and the default arguments are ones that it takes."""
    entry, arguments = json.loads(only("ENTRYPOINT")), json.loads(only("CMD"))
    assert entry == ["/opt/openai-proxy/bin/twistd", "--nodaemon", "--pidfile=", "openaiproxy"]
    options = Options()
    options.parseOptions(arguments)
    assert options.settings.listen == (Listen(f"tcp:{only('EXPOSE')}"),)
    assert only("STOPSIGNAL") == "SIGTERM"


def test_the_plugin_cache_is_made_while_it_can_be_written() -> None:
    """The virtualenv is root's; its last step is the cache that twistd would otherwise miss."""
    building = DOCKERFILE[: len(DOCKERFILE) - len(LAST_STAGE)]
    assert building[-1].word == "RUN"
    assert "getPlugins(IPlugin)" in building[-1].rest
    assert not any(one.word == "USER" for one in building)


# As twistd does it. Each module's bytecode is where the image keeps it, or the module is named.
NAME_WHAT_IS_NOT_COMPILED = """
import os, sys
import twisted.scripts.twistd
from openai_proxy.tap import Options, makeService
options = Options()
options.parseOptions([])
makeService(options)
for name, module in list(sys.modules.items()):
    cached = getattr(getattr(module, "__spec__", None), "cached", None)
    if cached and not os.path.exists(cached):
        print(name)
"""


def test_a_start_has_nothing_left_to_compile(tmp_path: Path) -> None:
    """The image's own step writes the bytecode of all that a daemon imports, ahead of the switch that
    forbids it and of the user who may not.
    """
    (step,) = (n for n, one in enumerate(LAST_STAGE) if "openai-proxy/bin/python -c" in one.rest)
    words = [one.word for one in LAST_STAGE]
    assert words.index("COPY") < step < min(words.index("ENV"), words.index("USER"))
    python, _, code = shlex.split(LAST_STAGE[step].rest)
    assert python == "/opt/openai-proxy/bin/python"
    folder = environment(PYTHONPYCACHEPREFIX=str(tmp_path))
    writing = folder | {"PYTHONDONTWRITEBYTECODE": ""}
    reading = folder | {"PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], env=writing, cwd=ROOT, timeout=60, check=True)
    done = subprocess.run(
        [sys.executable, "-c", NAME_WHAT_IS_NOT_COMPILED],
        env=reading,
        cwd=ROOT,
        timeout=60,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_the_well_from_the_ill(status: int, healthy: bool) -> None:
    """Its exit status is what /healthz says."""
    *_, code = health_check()
    with server_that_answers(status) as port:
        command = (sys.executable, "-IS", "-c", code.replace("8080", str(port)))
        done = subprocess.run(command, timeout=30, capture_output=True)
    assert (done.returncode == 0) is healthy


def test_compose_checks_health_as_the_image_does() -> None:
    """The same, at the admin port, which answers to the end of a drain."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    *words, code = health_check()
    wanted = ["CMD", *words, code.replace("8080", "9091")]
    assert services["proxy"]["healthcheck"]["test"] == wanted
