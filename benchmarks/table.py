"""Results as Markdown."""

from collections.abc import Iterable

from benchmarks.results import (
    DIRECT,
    GO,
    MEBIBYTE,
    OURS,
    STOCK,
    Result,
    Results,
    added_by_scrape,
    added_delay,
    added_p50,
    over,
    ratio,
)
from benchmarks.targets import TARGETS

NOTHING = "-"


def number(value: float | None, digits: int = 0) -> str:
    """A number for a cell, a dash if there is none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def megabytes(value: float | None) -> str:
    """Bytes as MiB."""
    return number(over(value, MEBIBYTE), 1)


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """One table, columns padded so that it also reads well as text."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["| " + " | ".join(_pad(row, widths)) + " |" for row in cells]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def _pad(row: list[str], widths: list[int]) -> list[str]:
    padded = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    padded[0] = row[0].ljust(widths[0])
    return padded


SUMMARY = [
    *(
        "",
        "CPU µs / request",
        "/ Go",
        "/ stock",
        "requests/s, c=1",
        "requests/s, c=32",
        "p50 c=1 µs",
        "added p50 µs",
    ),
    *("p99 c=1 µs", "p50 c=32 ms", "p99 c=32 ms", "CPU µs / 100-chunk stream", "/ Go", "/ stock"),
    *("idle MB", "loaded MB", "with streams MB", "added chunk delay p99 ms", "failed requests"),
]


def summary(results: Results) -> str:
    """The table of all tables: one line a peer."""
    return markdown(SUMMARY, (_summary(results, name) for name in results))


def _summary(results: Results, name: str) -> list[str]:
    one = results[name]
    if one.missing:
        return [f"{one.title}: missing", *([NOTHING] * (len(SUMMARY) - 1))]
    direct = name == DIRECT
    return [
        one.title,
        number(one.middle("chat32", "cpu_us")),
        number(None if direct else ratio(results, name, GO, "chat32"), 2),
        number(None if direct else ratio(results, name, STOCK, "chat32"), 2),
        number(one.middle("chat1", "requests_per_second")),
        number(one.middle("chat32", "requests_per_second")),
        number(one.middle("chat1", "p50_us")),
        number(added_p50(results, name)),
        number(one.middle("chat1", "p99_us")),
        number(over(one.middle("chat32", "p50_us"), 1000), 2),
        number(over(one.middle("chat32", "p99_us"), 1000), 2),
        number(one.middle("stream32", "cpu_us")),
        number(None if direct else ratio(results, name, GO, "stream32"), 2),
        number(None if direct else ratio(results, name, STOCK, "stream32"), 2),
        megabytes(one.idle_bytes),
        megabytes(one.loaded_bytes()),
        megabytes(one.held.resident_most if one.held else None),
        number(added_delay(results, name, "delay_p99_ms"), 2),
        number(one.failed_requests()),
    ]


STREAMS = [
    *("", "streams", "whole", "KB / stream", "CPU µs / 100 paced chunks", "delay p50 ms", "delay p99 ms"),
    *("added p50", "added p99", "delay max ms", "first chunk p99 ms"),
]


def streams(results: Results) -> str:
    """Paced streams, one line a peer."""
    return markdown(STREAMS, (_streams(results, name) for name in results if results[name].held))


def _streams(results: Results, name: str) -> list[str]:
    held = results[name].held
    assert held is not None
    report = held.report
    return [
        results[name].title,
        number(report.streams),
        number(report.whole),
        number(held.bytes_per_stream() / 1000, 1),
        number(held.cpu_us_per_100_chunks),
        number(report.delay_p50_ms, 2),
        number(report.delay_p99_ms, 2),
        number(added_delay(results, name, "delay_p50_ms"), 2),
        number(added_delay(results, name, "delay_p99_ms"), 2),
        number(report.delay_max_ms, 1),
        number(report.first_chunk_p99_ms, 1),
    ]


def transfers(results: Results) -> str:
    """The large file, one line a peer and direction."""
    head = ["", "direction", "sha256 equal", "added MB", "seconds", "CPU µs / MiB"]
    rows = []
    for one in results.values():
        for direction, move in one.transfers.items():
            cells = [direction, "yes" if move.equal else "NO", megabytes(move.added_bytes)]
            cells += [number(move.seconds, 2), number(move.cpu_us_per_mebibyte)]
            rows.append([one.title, *cells])
    return markdown(head, rows)


def scrapes(results: Results) -> str:
    """Scraped and not, one line a peer."""
    head = ["", "samples", "scrapes", "failed", "scrape ms", "p99 ms", "p99 scraped ms", "added p99 ms"]
    head += ["max ms", "max scraped ms"]
    return markdown(head, (_scraped(one) for one in results.values() if one.scraped))


def _scraped(one: Result) -> list[str]:
    scraped = one.scraped
    assert scraped is not None
    return [
        one.title,
        number(scraped.samples),
        number(scraped.scrapes),
        number(scraped.failures),
        number(scraped.scrape_ms_median, 1),
        number(scraped.quiet.delay_p99_ms, 2),
        number(scraped.scraped.delay_p99_ms, 2),
        number(added_by_scrape(one, "delay_p99_ms"), 2),
        number(scraped.quiet.delay_max_ms, 1),
        number(scraped.scraped.delay_max_ms, 1),
    ]


def targets(results: Results) -> str:
    """Our promises, one a line; empty if we were not measured."""
    if OURS not in results or results[OURS].missing:
        return ""
    rows = []
    for target in TARGETS:
        value = target.value(results)
        bounds = [number(target.must, 2), number(target.aim, 2)]
        rows.append([target.title, number(value, 2), *bounds, target.verdict(value)])
    return markdown(["", "measured", "must be at most", "aim", "verdict"], rows)


def notes(results: Results) -> str:
    """Who is missing and why, and what failed while it was measured."""
    lines = [f"- {one.title}: missing: {one.missing}" for one in results.values() if one.missing]
    lines += [f"- {one.title}: {failure}" for one in results.values() for failure in one.failures]
    for one in results.values():
        if one.held and one.held.report.failures:
            told = ", ".join(f"{count} x {why}" for why, count in one.held.report.failures.items())
            lines.append(f"- {one.title}: streams that did not end whole: {told}")
    return "\n".join(lines)
