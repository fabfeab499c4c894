"""What a request costs in function calls: counts that are the same in every run.

Run as ``python -m benchmarks.micro``. A whole proxy in memory (channel, exchange, client
connection; no socket, no clock) relays chat requests and streams under cProfile, which counts
Python's and C's functions. Seconds depend on the machine, these numbers on the code and on the
version of Python alone, so that a commit which makes the hot path longer shows.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType

from tests.support.memory import MemoryProxy, post

CHATS = 2000
STREAMS = 50
CHUNKS = 100

Calls = dict[str, int]


def _name(code: CodeType | str) -> str:
    """A function as ``file.py:line(name)``, or as cProfile calls one of C."""
    if isinstance(code, str):
        return code
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}({code.co_name})"


def counted(work: Callable[[], None]) -> Calls:
    """How often each function was called."""
    profile = cProfile.Profile()
    gc.collect()
    gc.disable()
    try:
        profile.enable()
        work()
        profile.disable()
    finally:
        gc.enable()
    calls: Calls = {}
    for entry in profile.getstats():
        name = _name(entry.code)
        calls[name] = calls.get(name, 0) + entry.callcount
    return calls


def repeated(times: int, work: Callable[[], None]) -> Calls:
    """The calls of ``times`` turns, the first of which fills what is made once."""
    work()

    def all_turns() -> None:
        for _ in range(times):
            work()

    return counted(all_turns)


def report(title: str, calls: Calls, units: int, top: int) -> None:
    """One line, and below it the functions that are called most."""
    print(f"{title:<32}{sum(calls.values()) / units:10.2f}")
    for name, count in sorted(calls.items(), key=lambda item: (-item[1], item[0]))[:top]:
        print(f"    {count / units:10.2f}  {name}")


def main(argv: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--top", type=int, default=0, metavar="N", help="name the N most called functions")
    top = parser.parse_args(argv).top
    proxy = MemoryProxy()
    chat, stream = post(), post(stream=True)
    print(f"function calls, Python {platform.python_version()}")
    report("per chat request", repeated(CHATS, lambda: proxy.chat(chat)), CHATS, top)
    whole = repeated(STREAMS, lambda: proxy.stream(stream, CHUNKS))
    report(f"per stream of {CHUNKS} chunks", whole, STREAMS, 0)
    without = repeated(STREAMS, lambda: proxy.stream(stream, 0))
    chunks = {name: count - without.get(name, 0) for name, count in whole.items()}
    report("per chunk", chunks, STREAMS * CHUNKS, top)
    burst = repeated(STREAMS, lambda: proxy.stream(stream, CHUNKS, CHUNKS // 4))
    report("per stream in 4 reads", burst, STREAMS, 0)
    proxy.close()


if __name__ == "__main__":
    main(sys.argv[1:])
