"""Every proxy that we compare ourselves with, and ourselves."""

import compileall
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.peers.peer import FOLDER, INSTALLED, Missing, Peer, Place, installed, missing
from benchmarks.processes import ROOT

# LiteLLM does not start without a key that nobody can guess.
LITELLM_KEY = "sk-" + secrets.token_hex(24)


def _ours(place: Place, *more: str) -> list[str]:
    twistd = Path(sys.executable).parent / "twistd"
    if not twistd.exists() or not (ROOT / "openai_proxy" / "tap.py").exists():
        raise Missing("no twistd beside this Python, or no openai_proxy/tap.py")
    # pip writes the bytecode of what it installs, as it did for the peers. Ours runs from its tree, and
    # under PYTHONDONTWRITEBYTECODE each start would compile it: 0.1 s and 1 MB that no user sees.
    for package in ("openai_proxy", "twisted"):
        compileall.compile_dir(ROOT / package, quiet=1)
    options = ["--port", f"tcp:{place.port}:interface=127.0.0.1:backlog=4096"]
    if "--config" not in more:
        options += ["--upstream", f"http://127.0.0.1:{place.upstream_port}"]
    return [str(twistd), "-n", "--pidfile=", "--logfile=/dev/null", "openaiproxy", *options, *more]


def _bare(place: Place) -> list[str]:
    return _ours(place, "--no-observe")


def _configured(name: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        return _ours(place, "--config", place.template(name))

    return command


def _stock_twisted(place: Place) -> list[str]:
    arguments = [str(place.port), f"http://127.0.0.1:{place.upstream_port}"]
    return [sys.executable, "-m", "benchmarks.stock_twisted", *arguments]


def _go(place: Place) -> list[str]:
    program = installed("go", INSTALLED / "go-reference")
    upstream = f"http://127.0.0.1:{place.upstream_port}"
    return [program, "-listen", f"127.0.0.1:{place.port}", "-upstream", upstream]


def _nginx(place: Place) -> list[str]:
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        raise missing("nginx")
    config = place.template("nginx.conf")
    return [program, "-p", str(place.folder), "-e", "error.log", "-c", config]


def _envoy(place: Place) -> list[str]:
    found = list(INSTALLED.glob("envoy/lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        raise missing("envoy")
    config = place.template("envoy.yaml")
    return [str(found[0]), "--concurrency", "1", "-l", "error", "--use-dynamic-base-id", "-c", config]


def _litellm(place: Place) -> list[str]:
    program = installed("litellm", INSTALLED / "litellm" / "bin" / "litellm")
    config = place.template("litellm.yaml")
    options = ["--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1"]
    return [program, "--config", config, *options]


def _portkey(place: Place) -> list[str]:
    package = INSTALLED / "portkey" / "node_modules" / "@portkey-ai" / "gateway"
    program = installed("portkey", package / "build" / "start-server.js")
    node = shutil.which("node")
    if node is None:
        raise Missing("no node")
    preload = ["--require", str(FOLDER / "loopback.cjs")]
    return [node, *preload, program, f"--port={place.port}", "--headless"]


def _portkey_headers(place: Place) -> Mapping[str, str]:
    return {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{place.upstream_port}/v1",
    }


def _bifrost(place: Place) -> list[str]:
    program = installed("bifrost", INSTALLED / "bin" / "bifrost-http")
    place.template("config.json")
    options = ["-host", "127.0.0.1", "-port", str(place.port), "-app-dir", str(place.folder)]
    return [program, *options]


# The plugin is found on the path, so a Python that has only the dependencies will do.
OURS = Peer("ours", "openai_proxy", _ours, env={"PYTHONPATH": str(ROOT)}, metrics=True)

PEERS = (
    OURS,
    Peer("bare", "the same, --no-observe", _bare, env=OURS.env, metrics=True),
    Peer("routed", "the same, one target by a file", _configured("routed.yaml"), env=OURS.env, metrics=True),
    Peer(
        "translated",
        "the same, to Anthropic's dialect",
        _configured("translated.yaml"),
        env=OURS.env,
        model="claude-haiku-4-5",
        metrics=True,
    ),
    Peer("go", "Go ReverseProxy + client_golang", _go, metrics=True),
    Peer("go1", "the same, GOMAXPROCS=1", _go, env={"GOMAXPROCS": "1"}, metrics=True),
    Peer("stock", "stock Twisted + treq", _stock_twisted, metrics=True),
    Peer("nginx", "nginx, one worker", _nginx),
    Peer("envoy", "Envoy, one worker", _envoy),
    Peer(
        "portkey",
        "Portkey gateway",
        _portkey,
        env={"NODE_ENV": "production"},
        headers=_portkey_headers,
        most_streams=200,
        files=False,
    ),
    Peer(
        "litellm",
        "LiteLLM proxy, one worker",
        _litellm,
        # Without these it looks for a price list, and a place to report to, on the network.
        env={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MASTER_KEY": LITELLM_KEY,
        },
        headers=lambda place: {"authorization": f"Bearer {LITELLM_KEY}"},
        start_seconds=120,
        most_streams=100,
        files=False,
    ),
    Peer("bifrost", "Bifrost", _bifrost, model="openai/gpt-4o-mini", most_streams=1000, files=False),
)
