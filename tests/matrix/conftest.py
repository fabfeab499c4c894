"""One stage for each module of the matrix."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.matrix.stage import Stage

HAS_ROUTING = True
"""Whether the daemon has several providers, `/v1` by model, and translation. Without it only what
`--upstream` can do is run, and the SDKs straight at the upstreams."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The daemon and its upstreams."""
    with Stage(tmp_path_factory.mktemp("matrix"), HAS_ROUTING) as stage:
        yield stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the cells whose way needs what the daemon has not."""
    for item in items:
        way = getattr(item, "callspec", None) and item.callspec.params.get("way")  # type: ignore[attr-defined]
        if getattr(way, "needs_routing", False) and not HAS_ROUTING:
            item.add_marker(pytest.mark.skip(reason="the daemon has no routing yet: HAS_ROUTING"))
