"""Load on a daemon, by a child process, and an exact count of what became of every request.

:class:`Load` is a running child (``tests/operations/asking.py``), told by an :class:`Order` what to ask, and
:class:`Counts` is what it saw. :class:`Provider` is the upstream of these tests, a child as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Self

from tests.operations.answering import Truth
from tests.support.daemon import ROOT, environment
from tests.support.program import Program
from tests.support.sockets import Peer

SECONDS = 60.0
"""The limit of each wait in these tests: what takes longer hangs."""


@dataclass(frozen=True)
class Order:
    """What to ask."""

    port: int
    requests: int = 0
    """How many; 0: until :meth:`Load.stop`."""
    connections: int = 16
    """Requests in flight at a time."""
    keeps: bool = True
    """Whether a connection is used again, or each request has one of its own."""
    events: int = 0
    """Of each stream; 0: answers that are no streams."""
    gap_ms: int = 0
    path: str = "/v1/chat/completions"
    model: str = "load"
    host: str = "127.0.0.1"
    pause_ms: float = 0.0
    """Between an answer and the next request of the same connection."""
    patience_seconds: float = 30.0
    """What has not ended by then is ``late``."""
    fault: str = ""
    fault_every: int = 0
    """Every so many-th request asks the provider for ``fault``."""
    unix: str = ""
    """A socket's path, instead of the port."""


@dataclass
class Counts:
    """What became of the requests. Each one that was begun is in one place: ``sent`` is the sum of those
    from ``answered`` to ``statuses``.
    """

    sent: int = 0
    """Requests, and those that could not be sent because there was no connection."""
    answered: int = 0
    """Whole, with status 200, and its own: marks, events and their order were right."""
    refused: int = 0
    """No connection."""
    reset: int = 0
    """The connection ended before a byte of an answer."""
    cut: int = 0
    """An answer began and did not end."""
    told: int = 0
    """The same, but the stream said so in an event first."""
    wrong: int = 0
    """Not the answer to this request, or events missing, swapped, more, or no ``[DONE]``."""
    late: int = 0
    """Nothing more came in ``Order.patience_seconds``."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Whole answers of another status than 200, by status."""

    retried: int = 0
    """Sent again, as every client does: a connection that had served before closed before any byte."""
    closes: int = 0
    """Answers with ``Connection: close``."""
    keys: dict[str, int] = field(default_factory=dict)
    """Right answers by the key that the provider saw."""
    notes: list[str] = field(default_factory=list)
    """The first few losses, in words."""
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        """Every request without a right answer."""
        return self.sent - self.answered

    @property
    def per_second(self) -> float:
        """Right answers."""
        return self.answered / self.seconds if self.seconds else 0.0

    def __add__(self, other: Counts) -> Counts:
        """Of two loads that ran at the same time."""
        total = Counts()
        for one in fields(Counts):
            mine, others = getattr(self, one.name), getattr(other, one.name)
            both = dict(Counter(mine) + Counter(others)) if isinstance(mine, dict) else mine + others
            setattr(total, one.name, both)
        total.seconds = max(self.seconds, other.seconds)
        return total

    def check(self) -> None:
        """AssertionError unless every request is counted once."""
        places = self.answered + self.refused + self.reset + self.cut + self.told + self.wrong + self.late
        assert self.sent == places + sum(self.statuses.values()), self


class _Child:
    """A program of this folder that speaks JSON lines and ends when its input does."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.operations.{module}", *arguments],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def kill(self) -> None:
        """End it by force, if it is still there."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Load(_Child):
    """Begins when it is made; ``end`` or ``stop`` gives the counts."""

    def __init__(self, order: Order) -> None:
        super().__init__("asking", json.dumps(asdict(order)))
        self._changed = threading.Condition()
        self._now = (0, 0)
        self._counts: Counts | None = None
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, answered: int = 0, in_flight: int = 0) -> None:
        """Wait until so many are answered, and so many have got a byte of their answers and no end."""
        self._wait(lambda: self._now[0] >= answered and self._now[1] >= in_flight)

    def answered(self) -> int:
        """So far, as of some milliseconds ago."""
        with self._changed:
            return self._now[0]

    def more(self, answered: int) -> None:
        """Wait until so many more are answered."""
        self.wait_for(self.answered() + answered)

    def stop(self) -> Counts:
        """Ask nothing more, wait for what is in flight."""
        self._say("stop")
        return self.end()

    def end(self, seconds: float = 0.0) -> Counts:
        """Wait for the end of what was ordered. Checked: each request is in one place."""
        self._wait(lambda: self._counts is not None, seconds)
        assert self._counts is not None
        self._counts.check()
        return self._counts

    def _wait(self, is_so: Callable[[], bool], seconds: float = 0.0) -> None:
        with self._changed:
            # A place at a time: a long run may take long, a standstill may not.
            until, seen = time.monotonic() + (seconds or SECONDS), self._now
            while not is_so():
                if self._now != seen and not seconds:
                    until, seen = time.monotonic() + SECONDS, self._now
                left = until - time.monotonic()
                assert left > 0, f"no progress at {self._now}"
                assert not self._ended, f"the load ended at {self._now}: {self._counts}"
                self._changed.wait(left)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._changed:
                if "counts" in said:
                    self._counts = Counts(**said["counts"])
                else:
                    self._now = (said["answered"], said["in_flight"])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Provider(Program):
    """The upstream: it answers, streams and fails as it is asked to (``answering.py``)."""

    def __init__(self) -> None:
        arguments = [sys.executable, "-m", "tests.operations.answering"]
        super().__init__(arguments, re.compile(r"serves on (\S+)$"), ROOT, environment())

    @property
    def truth(self) -> Truth:
        """What was asked there so far."""
        with Peer.connect(self.port) as client:
            client.send_request("GET", "/truth")
            return Truth(**json.loads(client.read_answer().body))


@contextmanager
def loads(*orders: Order) -> Iterator[list[Load]]:
    """Several at a time."""
    running = [Load(order) for order in orders]
    try:
        yield running
    finally:
        for load in running:
            load.kill()
