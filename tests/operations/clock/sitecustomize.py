"""A wall clock that another process can step: the seconds in the file ``CLOCK_STEP`` are added to it.

Python imports this at its start, before anything has taken ``time.time`` for its own. The monotonic clock
goes on as it is, as it does where a system's clock is set.
"""

import os
import time

_wall_seconds = time.time
_file = os.open(os.environ["CLOCK_STEP"], os.O_RDONLY)


def _stepped_seconds() -> float:
    return _wall_seconds() + float(os.pread(_file, 32, 0))


time.time = _stepped_seconds
