"""What these tests and ``make proof`` print of what they counted: a line for each load."""

from __future__ import annotations

from tests.operations.load import Counts

_LOSSES = ("refused", "reset", "cut", "told", "wrong", "late")


def line(name: str, counts: Counts, **more: object) -> str:
    """``name``, what was sent, answered and lost, where, and at what pace."""
    places = [f"{place} {count}" for place in _LOSSES if (count := getattr(counts, place))]
    places += [f"status {status}: {count}" for status, count in sorted(counts.statuses.items())]
    parts = [
        f"{name:<44}",
        f"sent {counts.sent:>7}",
        f"answered {counts.answered:>7}",
        f"lost {counts.lost:>5}" + (f" ({', '.join(places)})" if places else ""),
        f"retried {counts.retried}",
        f"{counts.per_second:.0f}/s",
        *(f"{key} {value}" for key, value in more.items()),
    ]
    return "  ".join(parts)


def tell(name: str, counts: Counts, **more: object) -> None:
    """Print the line."""
    print(line(name, counts, **more), flush=True)
