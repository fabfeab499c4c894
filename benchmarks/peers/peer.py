"""One proxy to measure, as data."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
INSTALLED = FOLDER / ".peers"
REASONS = INSTALLED / "missing.json"


class Missing(Exception):
    """The peer is not installed here; the text says why, as far as that is known."""


@dataclass(frozen=True)
class Place:
    """Where a peer runs: its own port, the upstream's, and a folder for its files."""

    port: int
    upstream_port: int
    folder: Path

    def write(self, name: str, text: str) -> str:
        """A configuration file made of ``text``, where ``@NAME@`` stands for a value."""
        values = {
            "PORT": str(self.port),
            "UPSTREAM": str(self.upstream_port),
            "FOLDER": str(self.folder),
        }
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def template(self, name: str) -> str:
        """A configuration file made of ``benchmarks/etc/NAME``."""
        return self.write(name, (FOLDER / "etc" / name).read_text())


@dataclass(frozen=True)
class Peer:
    """A proxy, and how to run it."""

    name: str
    title: str
    command: Callable[[Place], list[str]]
    """The program and its arguments. Raises Missing."""
    env: Mapping[str, str] = field(default_factory=dict)
    model: str = "gpt-4o-mini"
    headers: Callable[[Place], Mapping[str, str]] = lambda place: {}
    start_seconds: float = 15
    most_streams: int = 100_000
    """It is known to break, or to need minutes, above so many paced streams."""
    files: bool = True
    """It relays any path, so 200 MB can be sent through it."""
    metrics: bool = False
    """It serves /metrics on the port that it relays on."""


def missing(name: str) -> Missing:
    """Why a peer is not there: what its installation said, if it was tried."""
    reasons: dict[str, str] = json.loads(REASONS.read_text()) if REASONS.exists() else {}
    return Missing(reasons.get(name, "not installed; try make bench-peers"))


def installed(name: str, path: Path) -> str:
    """The path, if it is there. Raises Missing."""
    if not path.exists():
        raise missing(name)
    return str(path)
