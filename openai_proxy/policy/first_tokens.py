"""How long a route's streams take to their first token: enough to know a quantile."""

from __future__ import annotations

import math
from typing import Final

_SMALLEST_SECONDS: Final = 0.01
_STEP: Final = 1.1
_LAST: Final = 116
"""The bucket of 600 s and more."""
_MOST: Final = 1000


class FirstTokens:
    """Times in buckets that grow by a tenth; what is older weighs less.

    Whenever the weights are 1000, all are halved: the last thousand or so decide.
    """

    __slots__ = ("_weight", "_weights", "count")

    def __init__(self) -> None:
        self.count = 0
        """All that were added."""
        self._weights = [0.0] * (_LAST + 1)
        self._weight = 0.0

    def add(self, seconds: float) -> None:
        """Of one stream."""
        if seconds <= _SMALLEST_SECONDS:
            bucket = 0
        else:
            bucket = min(math.ceil(math.log(seconds / _SMALLEST_SECONDS, _STEP)), _LAST)
        self._weights[bucket] += 1
        self.count += 1
        self._weight += 1
        if self._weight >= _MOST:
            self._weights = [weight / 2 for weight in self._weights]
            self._weight = sum(self._weights)

    def quantile(self, share: float) -> float | None:
        """Seconds that so large a share did not take longer than, at most a tenth too many.

        None: no samples. What took more than ten minutes counts as ten minutes.
        """
        wanted = share * self._weight
        below = 0.0
        found = None
        for bucket, weight in enumerate(self._weights):
            if weight:
                below += weight
                found = _SMALLEST_SECONDS * _STEP**bucket
                if below >= wanted:
                    break
        return found
