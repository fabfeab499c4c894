"""Each signal's promise, with a child daemon under load, in small: ``make proof`` plays the same in full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations import scenes
from tests.operations.load import Provider
from tests.operations.scenes import Upgrades
from tests.operations.served import Rows
from tests.operations.table import tell


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """The upstream."""
    with Provider() as running:
        yield running


def say(rows: Rows) -> None:
    """What was counted."""
    for row in rows:
        tell(row.name, row.counts, **row.more)


@pytest.mark.parametrize("workers", [1, 2])
def test_reloads_lose_nothing(provider: Provider, tmp_path: Path, workers: int) -> None:
    """Good and bad files, new keys: every request is answered, each key is taken up."""
    say(scenes.reloads(tmp_path, provider, 6000, 6, workers))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_ends_what_is_in_flight(provider: Provider, tmp_path: Path, workers: int) -> None:
    """Not ready, each connection closed in good order, each stream whole, exit status 0."""
    say(scenes.drain(tmp_path, provider, 20, 100, workers))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("twice", [False, True], ids=["timeout", "second-sigterm"])
def test_what_is_cut_is_told(provider: Provider, tmp_path: Path, twice: bool, workers: int) -> None:
    """An event of an error ends each stream that cannot end by itself, and the exit status is 3."""
    say(scenes.cut(tmp_path, provider, 20, twice, workers))


@pytest.mark.parametrize("workers", [1, 2])
def test_upgrades_lose_nothing(provider: Provider, tmp_path: Path, workers: int) -> None:
    """Two in a row, with streams that live through both."""
    say(scenes.upgrades(tmp_path, provider, Upgrades(2, 3000, 10, 80, 50, workers)))


def test_a_failed_upgrade_changes_nothing(provider: Provider, tmp_path: Path) -> None:
    """The successor's configuration is not right."""
    say(scenes.failed_upgrade(tmp_path, provider))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_storm_of_reloads_loses_nothing(provider: Provider, tmp_path: Path, workers: int) -> None:
    """A hundred signals, with a new key each: the last one is in use."""
    say(scenes.storm(tmp_path, provider, 100, workers))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_successor_changes_nothing(provider: Provider, tmp_path: Path, workers: int) -> None:
    """And the next one takes over."""
    say(scenes.killed_successor(tmp_path, provider, workers))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_end_in_an_upgrade_is_an_end(provider: Provider, tmp_path: Path, workers: int) -> None:
    """Each stream whole, exit status 0, and nobody left who would serve on."""
    say(scenes.ended_in_an_upgrade(tmp_path, provider, workers))


def test_a_killed_worker_loses_its_own(provider: Provider, tmp_path: Path) -> None:
    """And no count that it had told."""
    say(scenes.killed_worker(tmp_path, provider, 1000, 20))
