"""What the command line says."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import PEERS

SCENARIOS = ("chat", "stream", "streams", "transfer", "scrape")
RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Options:
    """The size of a run."""

    peers: list[str]
    scenarios: list[str]
    seconds: float
    rounds: int
    streams: int
    chunks: int
    gap_ms: int
    megabytes: int
    scrape_seconds: float
    scrape_streams: int
    output: Path
    json: Path | None


def _listed(known: tuple[str, ...]) -> "type[argparse.Action]":
    """An action that splits at commas and knows its words."""

    class Listed(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: object,
            option_string: str | None = None,
        ) -> None:
            words = str(values).split(",")
            if unknown := set(words) - set(known):
                parser.error(f"{option_string}: not {', '.join(sorted(unknown))}: {', '.join(known)}")
            setattr(namespace, self.dest, words)

    return Listed


def parse(argv: list[str]) -> Options:
    """Read the command line; ends the program on a wrong one."""
    names = tuple(peer.name for peer in PEERS)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measure proxies side by side."
    )
    add = parser.add_argument
    add("--peers", action=_listed(names), default=list(names), help=f"of {','.join(names)}")
    add("--scenarios", action=_listed(SCENARIOS), default=list(SCENARIOS), help=f"of {','.join(SCENARIOS)}")
    add("--seconds", type=float, default=5, help="of each load of each round (%(default)s)")
    add("--rounds", type=int, default=5, help="each measures every peer once (%(default)s)")
    add("--streams", type=int, default=5000, help="paced streams in one process (%(default)s)")
    add("--chunks", type=int, default=15, help="of each paced stream (%(default)s)")
    add("--gap-ms", type=int, default=1000, help="between two chunks (%(default)s)")
    add("--megabytes", type=int, default=200, help="up and down (%(default)s)")
    add("--scrape-seconds", type=float, default=5, help="between two scrapes (%(default)s)")
    add("--scrape-streams", type=int, default=200, help="paced streams while scraping (%(default)s)")
    add("--quick", action="store_true", help="one short round, few streams: does it work at all?")
    add("--output", type=Path, default=RESULTS, help="Markdown; '-' for none (%(default)s)")
    add("--json", type=Path, help="everything measured, as JSON")
    return _options(parser.parse_args(argv))


def _options(said: argparse.Namespace) -> Options:
    quick = vars(said).pop("quick")
    if quick:
        said.seconds, said.rounds = 2, 1
        said.streams, said.chunks, said.gap_ms = min(said.streams, 100), 10, 200
        said.scrape_seconds, said.scrape_streams = 0.5, 50
        said.megabytes = min(said.megabytes, 50)
    return Options(**vars(said))
