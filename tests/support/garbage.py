"""What only the cyclic collector frees, which in the daemon seldom runs."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

EXCHANGES = 50


def garbage_of(work: Callable[[], None]) -> Counter[str]:
    """What ``EXCHANGES`` turns left that only the collector frees: type names, and how many."""
    for _ in range(3):
        work()
    gc.collect()
    gc.disable()
    try:
        for _ in range(EXCHANGES):
            work()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
