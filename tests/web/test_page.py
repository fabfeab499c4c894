"""The page in a real browser: Debian's Chromium without a window, with real events from a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from openai_proxy.observe.outcome import Outcome
from tests.support.chromium import Chromium
from tests.support.operations import FLYING, SEEN
from tests.support.operator_page import TOKEN, OperatorPage, generation, record
from tests.support.tools import require_tool

pytestmark = pytest.mark.timeout_seconds(240)

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
LONG = "x" * 120


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    """One, with a profile of its own."""
    with Chromium(require_tool("chromium"), tmp_path) as chromium:
        yield chromium


@asynccontextmanager
async def serving(page: OperatorPage) -> AsyncIterator[str]:
    """The page on a socket, its time running; the URL."""
    from twisted.internet import reactor

    url = page.start(reactor)
    page.run(reactor)
    try:
        yield url
    finally:
        await page.stop(reactor)


async def in_thread(work: Callable[[], Any]) -> Any:
    """What drives the browser waits for it, and the reactor has to serve meanwhile."""
    return await deferToThread(work)


def busy() -> OperatorPage:
    """A page with something in each of its tables."""
    page = OperatorPage()
    page.live.start()
    for _ in range(8):
        page.ended(record(duration_seconds=0.7, generation=generation("gpt-4o", 1000, 500, 10**12, 0.06)))
    for _ in range(2):
        page.ended(record(Outcome.UPSTREAM_TIMEOUT, status=504))
    page.clock.advance(60)
    stalled = replace(FLYING, id="req_stalled", is_stalled=True, age_seconds=75.0, worker=2)
    page.operations.flying = [FLYING, stalled]
    page.operations.errors = [replace(SEEN, at_seconds=page.clock.seconds())]
    metrics = page.metrics
    metrics.watch_circuit("openai", "gpt-4o", lambda: "open")
    metrics.watch_circuit("openai", "gpt-4o-mini", lambda: "closed")
    metrics.http.streams_open["openai"] = 2
    metrics.rate_limits.keep(
        "openai", "gpt-4o", [(b"x-ratelimit-remaining-tokens", b"50"), (b"x-ratelimit-limit-tokens", b"1000")]
    )
    return page


def hostile() -> OperatorPage:
    """The same with labels and ids that are markup, or have no end."""
    page = busy()
    page.operations.flying = [
        replace(FLYING, id=HOSTILE, model=HOSTILE),
        replace(FLYING, id=LONG, model=LONG),
    ]
    page.operations.errors = [replace(SEEN, id=HOSTILE, error_type=HOSTILE, outcome=HOSTILE, model=LONG)]
    page.metrics.watch_circuit(HOSTILE, LONG, lambda: "open")
    page.metrics.watch_circuit(LONG, HOSTILE, lambda: "half_open")
    page.ended(record(provider=LONG, model=HOSTILE))
    page.clock.advance(10)
    return page


async def test_the_page_shows_what_is_so(browser: Chromium) -> None:
    """Each table has the rows and numbers of the operations, and the page says that it is live."""

    def look() -> dict[str, Any]:
        browser.open(url, 1200)
        browser.wait_for("document.getElementById('status').textContent === '● live'")
        browser.wait_for("document.querySelectorAll('#flight tbody tr').length === 2")
        browser.wait_for("document.querySelectorAll('#clocks td.number').length > 0")
        names = ("rates", "clocks", "used", "providers", "flight", "errors")
        found: dict[str, Any] = {name: browser.table(name) for name in names}
        found["figures"] = browser.evaluate("document.getElementById('figures').innerText")
        found["refused"] = [one for one in browser.messages if one["method"] == "Log.entryAdded"]
        found["asked"] = [
            one["params"]["request"]["url"]
            for one in browser.messages
            if one["method"] == "Network.requestWillBeSent"
        ]
        found["roles"] = browser.evaluate("document.querySelectorAll('th[scope=col]').length")
        return found

    page = busy()
    async with serving(page) as url:
        found = await in_thread(look)
    ok, failed = found["rates"]
    assert ok[:2] == ["● ok", "8"] and ok[3] == "80 %"
    assert failed[:2] == ["▲ upstream_timeout", "2"] and failed[3] == "20 %"
    assert found["clocks"] == [["gpt-4o | openai", "0.08 s", "0.10 s", "0.75 s", "0.97 s"]]
    # 8,000 and 4,000 tokens in 60 seconds and those that passed since.
    assert found["used"][0][0] == "gpt-4o | openai" and found["used"][0][3].startswith("$")
    assert found["providers"] == [
        [
            "openai",
            "○ open, left out: gpt-4o | ● 1 closed",
            "gpt-4o tokens: 50 of 1K, 5.0 %",
            "2",
            "0 busy | 0 idle",
        ]
    ]
    assert found["flight"] == [
        ["req_stalled | /v1 · chat_completions · worker 2", "gpt-4o | openai", "■ client stalled | stream",
         "1 m 15 s", "0.05 s", "210", "321 B", "65.4 kB", "1"],
        ["req_1 | /v1 · chat_completions", "gpt-4o | openai", "answer | stream",
         "12.3 s", "0.05 s", "210", "321 B", "65.4 kB", "1"],
    ]  # fmt: skip
    assert found["errors"][0][1:] == [
        "▲ upstream_rate_limited", "429", "gpt-4o | openai", "rate_limit_error | rate_limit_exceeded",
        "0.25 s", "req_9 | chat_completions",
    ]  # fmt: skip
    assert "1 stalled" in found["figures"] and "20 %" in found["figures"]
    # Nothing was refused by its policy, and nothing asked of anybody else.
    assert found["refused"] == []
    assert {one for one in found["asked"] if not one.startswith("data:")} == {url, url + "events"}
    assert found["roles"] == 34


@pytest.mark.parametrize("make", [busy, hostile])
@pytest.mark.parametrize("width", [320, 360, 800, 1200])
async def test_nothing_is_wider_than_the_window(
    browser: Chromium, make: Callable[[], OperatorPage], width: int
) -> None:
    """On a phone, and with labels without end: nothing has to be scrolled sideways, and no cell is cut."""

    def look() -> Any:
        browser.open(url, width)
        browser.wait_for("document.querySelectorAll('#flight tbody tr').length > 0")
        browser.wait_for("document.querySelectorAll('#providers tbody tr').length > 0")
        return browser.evaluate(
            """(() => {
                const wide = [...document.querySelectorAll('body *')].filter((one) =>
                    one.getBoundingClientRect().right > innerWidth + 0.5 && !one.closest('thead'));
                return [document.documentElement.scrollWidth, innerWidth,
                    wide.map((one) => `${one.tagName}.${one.className} ${one.textContent.slice(0, 40)}`)];
            })()"""
        )

    async with serving(make()) as url:
        scroll_width, inner_width, wide = await in_thread(look)
    assert inner_width == width and wide == [] and scroll_width <= inner_width


async def test_labels_are_text_whatever_they_are(browser: Chromium) -> None:
    """Markup is shown as it is written, makes no element, and runs nothing."""

    def look() -> tuple[str, int, str]:
        browser.open(url, 1200)
        browser.wait_for("document.querySelectorAll('#flight tbody tr').length === 2")
        browser.wait_for("document.querySelectorAll('#errors td.number').length > 0")
        browser.wait_for("document.getElementById('status').textContent === '● live'")
        tags = browser.evaluate("document.querySelectorAll('main img, main script, main iframe').length")
        return browser.text(), tags, browser.evaluate("document.title")

    async with serving(hostile()) as url:
        text, tags, title = await in_thread(look)
    assert text.count(HOSTILE) >= 5 and tags == 0 and title == "openai_proxy"


class Deaf(Factory):
    """Lets go of whoever connects."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> None:
        return None


async def test_a_page_whose_daemon_goes_says_so_and_comes_back(browser: Chromium) -> None:
    """It must not look as if all were quiet; and nobody has to load it again."""
    status = "document.getElementById('status')"

    def open_it() -> None:
        browser.open(url, 1200)
        browser.wait_for(f"{status}.textContent === '● live'")

    def see_it_lost() -> tuple[str, str]:
        browser.wait_for(f"{status}.textContent.startsWith('○ connection lost, retrying')")
        return browser.evaluate(f"{status}.textContent"), browser.evaluate("document.body.className")

    page = busy()
    async with serving(page) as url:
        await in_thread(open_it)
        port: Any = page.port
        port.factory = Deaf()
        page.site.abort_all()
        text, style = await in_thread(see_it_lost)
        assert "what is shown is of" in text and style == "stale"
        page.operations.flying = [replace(FLYING, id="req_after")]
        port.factory = page.site
        await in_thread(lambda: browser.wait_for(f"{status}.textContent === '● live'"))
        rows = await in_thread(lambda: browser.table("flight"))
    assert rows[0][0].startswith("req_after")


async def test_a_page_that_nobody_sees_asks_nothing(browser: Chromium) -> None:
    """A tab that is left open for days costs nothing; it is live again when somebody looks."""
    from twisted.internet import reactor

    status = "document.getElementById('status').textContent"

    def turn(is_hidden: bool) -> None:
        value = "true" if is_hidden else "false"
        browser.evaluate(
            f"Object.defineProperty(document, 'hidden', {{value: {value}, configurable: true}});"
            "document.dispatchEvent(new Event('visibilitychange')); 1"
        )

    def open_it() -> None:
        browser.open(url, 1200)
        browser.wait_for(f"{status} === '● live'")

    page = busy()
    async with serving(page) as url:
        await in_thread(open_it)
        await in_thread(lambda: turn(True))
        while page.live.watchers:
            await deferLater(reactor, 0.01)
        await in_thread(lambda: turn(False))
        await in_thread(lambda: browser.wait_for(f"{status} === '● live'"))


async def test_a_browser_with_the_token(browser: Chromium) -> None:
    """The password that it is asked for opens the page, and its events too."""

    def look() -> int:
        browser.open(url.replace("//", f"//me:{TOKEN}@"), 1200)
        browser.wait_for("document.getElementById('status').textContent === '● live'")
        return len(browser.table("flight"))

    page = OperatorPage(TOKEN)
    page.operations.flying = [FLYING]
    async with serving(page) as url:
        assert await in_thread(look) == 1


async def test_a_selection_stays_while_numbers_change(browser: Chromium) -> None:
    """What has not changed is left alone: an id can be copied."""

    def mark() -> None:
        browser.open(url, 1200)
        browser.wait_for("document.querySelectorAll('#flight tbody tr').length === 2")
        browser.evaluate("document.querySelector('#flight td > .id').marked = true; 1")

    def is_marked() -> Any:
        age = "document.querySelector('#flight tbody td:nth-child(4)').textContent"
        browser.wait_for(f"{age} === '1 m 20 s'")
        return browser.evaluate("document.querySelector('#flight td > .id').marked")

    page = busy()
    async with serving(page) as url:
        await in_thread(mark)
        page.operations.flying = [
            replace(row, age_seconds=row.age_seconds + 5) for row in page.operations.flying
        ]
        assert await in_thread(is_marked) is True
