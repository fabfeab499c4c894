"""Lines in batches, by a thread: nothing waits, nothing is lost in silence, memory is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, cast

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher

from openai_proxy.observe.line_writer import (
    FLUSH_BYTES,
    FLUSH_SECONDS,
    MAX_WAITING_BYTES,
    STOP_SECONDS,
    LineWriter,
)
from openai_proxy.observe.log_file import Loss

FULL = Loss(1, "No space left on device")


class FakeFile:
    """Keeps what is written; ``losses`` are given back in turn; a write waits for ``may_write``."""

    def __init__(self, is_stdout: bool = False) -> None:
        self.is_stdout = is_stdout
        self.batches: list[bytes] = []
        self.losses: SimpleQueue[Loss | None] = SimpleQueue()
        self.may_write = threading.Event()
        self.may_write.set()
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def write(self, batch: bytes) -> Loss | None:
        assert self.may_write.wait(20)
        self.batches.append(batch)
        return None if self.losses.empty() else self.losses.get()

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What our log says meanwhile."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_namespace", "").endswith("LineWriter"):
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(cast(Any, observe))
    yield lines
    globalLogPublisher.removeObserver(cast(Any, observe))


def writer_of(file: FakeFile, clock: Clock) -> LineWriter:
    """Started; its thread tells the reactor of the tests."""
    writer = LineWriter(file, cast(Any, clock), cast(Any, reactor).callFromThread)
    writer.start()
    return writer


async def written(writer: LineWriter) -> None:
    """When the thread has done all that it was given."""
    while writer._waiting_bytes:
        await deferLater(cast(Any, reactor), 0)


async def gone(file: FakeFile) -> None:
    """When a thread that was given up has ended, and has told so."""
    file.may_write.set()
    while file.is_open:
        await deferLater(cast(Any, reactor), 0)
    for _ in range(3):
        await deferLater(cast(Any, reactor), 0)


def stopping(writer: LineWriter) -> Deferred[None]:
    """The stop, begun."""
    return Deferred.fromCoroutine(writer.stop())


async def test_lines_are_gathered_for_a_while() -> None:
    """One write for all lines of a quarter of a second, and no timer where there are none."""
    file, clock = FakeFile(), Clock()
    writer = writer_of(file, clock)
    writer.line(b"1\n")
    clock.advance(FLUSH_SECONDS / 2)
    writer.line(b"2\n")
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(FLUSH_SECONDS / 2)
    assert clock.getDelayedCalls() == []
    writer.line(b"3\n")
    clock.advance(FLUSH_SECONDS)
    await writer.stop()
    assert file.batches == [b"1\n2\n", b"3\n"]
    assert not file.is_open


async def test_many_bytes_are_written_at_once() -> None:
    """They do not wait for the time."""
    file, clock = FakeFile(), Clock()
    writer = writer_of(file, clock)
    line = b"x" * 1023 + b"\n"
    for _ in range(FLUSH_BYTES // len(line) + 1):
        writer.line(line)
    await written(writer)
    assert file.batches == [line * (FLUSH_BYTES // len(line))]
    await writer.stop()
    assert file.batches[1:] == [line]
    assert clock.getDelayedCalls() == []


async def test_the_end_loses_nothing() -> None:
    """What was gathered is written, and no timer is left."""
    file, clock = FakeFile(), Clock()
    writer = writer_of(file, clock)
    writer.line(b"1\n")
    await writer.stop()
    assert (file.batches, clock.getDelayedCalls(), writer.dropped_lines) == ([b"1\n"], [], 0)
    await writer.stop()


async def test_one_that_was_not_started_stops() -> None:
    """A daemon that could not listen has no thread to wait for."""
    clock = Clock()
    writer = LineWriter(FakeFile(), cast(Any, clock), cast(Any, reactor).callFromThread)
    await writer.stop()
    assert clock.getDelayedCalls() == []


async def test_a_line_after_the_end_is_counted() -> None:
    """Nobody would write it."""
    file, clock = FakeFile(), Clock()
    writer = writer_of(file, clock)
    await writer.stop()
    writer.line(b"late\n")
    assert (writer.dropped_lines, file.batches, clock.getDelayedCalls()) == (1, [], [])


async def test_losses_are_said_once_when_they_begin_and_once_when_they_end(said: list[str]) -> None:
    """With the reason, and the count."""
    file, clock = FakeFile(), Clock()
    writer = writer_of(file, clock)
    for loss in (FULL, Loss(2, "another"), None, FULL, None):
        file.losses.put(loss)
        writer.line(b"1\n")
        writer.line(b"2\n")
        clock.advance(FLUSH_SECONDS)
        await written(writer)
    assert writer.dropped_lines == 4
    begin = "The access log drops lines: No space left on device"
    end = "The access log drops no more lines: {} were dropped"
    assert said == [begin, end.format(3), begin, end.format(1)]
    await writer.stop()
    assert len(said) == 4


async def test_a_loss_that_lasts_to_the_end_has_its_count(said: list[str]) -> None:
    """The end of the daemon is the end of the loss."""
    file, clock = FakeFile(), Clock()
    writer = writer_of(file, clock)
    file.losses.put(FULL)
    writer.line(b"1\n")
    await writer.stop()
    assert said[1:] == ["The access log drops no more lines: 1 were dropped"]


async def test_a_file_that_waits_stops_nobody_and_has_a_bound(said: list[str]) -> None:
    """Lines beyond the bound are dropped and counted; when it goes on, those below are all there."""
    file, clock = FakeFile(), Clock()
    writer = writer_of(file, clock)
    file.may_write.clear()
    line = b"x" * 1023 + b"\n"
    fitting = MAX_WAITING_BYTES // len(line)
    for _ in range(fitting + 5):
        writer.line(line)
    assert writer.dropped_lines == 5
    assert said == ["The access log drops lines: they are not taken as fast as they come"]
    file.may_write.set()
    await written(writer)
    assert said[1:] == ["The access log drops no more lines: 5 were dropped"]
    writer.line(line)
    await writer.stop()
    assert sum(map(len, file.batches)) == (fitting + 1) * len(line)


async def test_a_file_that_waits_does_not_keep_the_daemon(said: list[str]) -> None:
    """The end waits so long and no longer; what was not taken is counted, once."""
    file, clock = FakeFile(), Clock()
    writer = writer_of(file, clock)
    file.may_write.clear()
    writer.line(b"1\n")
    writer.line(b"2\n")
    clock.advance(FLUSH_SECONDS)
    writer.line(b"3\n")
    end = stopping(writer)
    clock.advance(STOP_SECONDS / 2)
    assert not end.called
    clock.advance(STOP_SECONDS / 2)
    await end
    assert clock.getDelayedCalls() == []
    assert writer.dropped_lines == 3
    assert len(said) == 2
    await gone(file)
    assert writer.dropped_lines == 3


async def test_our_log_may_be_the_stdout_that_nobody_reads(said: list[str]) -> None:
    """Nothing is said while it is not taken: to say it would be to wait too."""
    file, clock = FakeFile(is_stdout=True), Clock()
    writer = writer_of(file, clock)
    file.may_write.clear()
    writer.line(b"x" * MAX_WAITING_BYTES)
    writer.line(b"1\n")
    end = stopping(writer)
    clock.advance(STOP_SECONDS)
    await end
    assert writer.dropped_lines == 2
    assert said == []
    await gone(file)


async def test_losses_of_stdout_are_said_when_it_is_taken_again(said: list[str]) -> None:
    """With the count."""
    file, clock = FakeFile(is_stdout=True), Clock()
    writer = writer_of(file, clock)
    file.losses.put(FULL)
    for _ in range(2):
        writer.line(b"1\n")
        clock.advance(FLUSH_SECONDS)
        await written(writer)
    assert said == ["The access log drops no more lines: 1 were dropped"]
    await writer.stop()


async def test_a_file_that_cannot_be_opened_is_said_at_start() -> None:
    """And there is nothing to stop."""

    class Closed(FakeFile):
        def open(self) -> None:
            raise PermissionError(13, "Permission denied")

    writer = LineWriter(Closed(), cast(Any, Clock()), cast(Any, reactor).callFromThread)
    with pytest.raises(PermissionError):
        writer.start()
    await writer.stop()
