"""The page with an hour of made-up traffic, for README.md and docs.

Writes docs/page.png and docs/page-phone.png. The page, its site and the metrics are the daemon's own; the
exchanges are not. Needs chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from openai_proxy.observe.outcome import Outcome
from openai_proxy.process.operations import ErrorSeen, InFlight
from openai_proxy.wire.fields import Field
from tests.support.chromium import Chromium
from tests.support.operations import FLYING, SEEN
from tests.support.operator_page import OperatorPage, generation, record
from tools.png import shrink

ROOT: Final = Path(__file__).parents[1]
STEP_SECONDS: Final = 10
STEPS: Final = 360

PICTURES: Final = (("page", 1200, 10_000, 1.0), ("page-phone", 360, 1240, 2.0))
"""Name, width, most height, device pixels for each."""

MODELS: Final = (
    ("openai", "gpt-4o", 5.0, 0.45, 2_500_000, 10_000_000),
    ("openai", "gpt-4o-mini", 9.0, 0.3, 150_000, 600_000),
    ("anthropic", "claude-sonnet-4-5", 3.0, 0.8, 3_000_000, 15_000_000),
    ("groq", "llama-3.3-70b-versatile", 2.0, 0.12, 590_000, 790_000),
)
"""Provider, model, requests in ten seconds, seconds to the first token, pico-dollars a token in and out."""

FAILURES: Final = (
    (Outcome.UPSTREAM_RATE_LIMITED, 429, "rate_limit_error", "rate_limit_exceeded"),
    (Outcome.CLIENT_DISCONNECT, 499, "none", "none"),
    (Outcome.UPSTREAM_TIMEOUT, 504, "server_error", "upstream_timeout"),
    (Outcome.CLIENT_ERROR, 400, "invalid_request_error", "context_length_exceeded"),
)


def an_hour(page: OperatorPage, random: Random) -> None:
    """Of exchanges, with a bad quarter of an hour in it."""
    page.live.start()
    for step in range(STEPS):
        is_bad = 150 <= step < 185
        for provider, model, often, first, price_in, price_out in MODELS:
            swing = 1 + 0.4 * ((step % 120) / 120)
            for _ in range(round(random.gauss(often * swing, often**0.5) + 0.5)):
                if random.random() < (0.3 if is_bad and provider == "openai" else 0.012):
                    _fail(page, random, provider, model)
                else:
                    inputs, outputs = random.randint(200, 6000), random.randint(30, 900)
                    price = inputs * price_in + outputs * price_out
                    until = first * random.lognormvariate(0, 0.4)
                    made = generation(model, inputs, outputs, price, until)
                    seconds = until + outputs * random.uniform(0.008, 0.016)
                    page.ended(
                        record(
                            provider=provider,
                            model=model,
                            duration_seconds=seconds,
                            generation=made,
                            attempts=(),
                        )
                    )
        page.clock.advance(STEP_SECONDS)


def _fail(page: OperatorPage, random: Random, provider: str, model: str) -> None:
    outcome, status, error_type, error_code = random.choices(FAILURES, (5, 3, 1, 1))[0]
    seconds = random.uniform(0.1, 4)
    page.ended(
        record(outcome, provider=provider, model=model, status=status, duration_seconds=seconds, attempts=())
    )
    seen = replace(
        SEEN,
        at_seconds=page.clock.seconds(),
        id=_id(random),
        provider=provider,
        model=model,
        status=status,
        outcome=outcome.value,
        error_type=error_type,
        error_code=error_code,
        duration_seconds=seconds,
    )
    errors: list[ErrorSeen] = page.operations.errors
    page.operations.errors = [seen, *errors][:8]


def _id(random: Random) -> str:
    return f"req_{random.getrandbits(96):024x}"


def flying(random: Random) -> list[InFlight]:
    """What is in flight."""
    rows = []
    for number, (age, phase) in enumerate(
        (
            (184.2, "answer"),
            (61.0, "answer"),
            (22.7, "answer"),
            (9.4, "sent"),
            (2.1, "answer"),
            (0.3, "waiting"),
        )
    ):
        provider, model, *_ = MODELS[number % len(MODELS)]
        events = int(age * 40) if phase == "answer" else 0
        rows.append(
            replace(
                FLYING,
                id=_id(random),
                age_seconds=age,
                provider=provider,
                model=model,
                phase="client" if number == 1 else phase,
                is_stalled=number == 1,
                idle_seconds=14.8 if number == 1 else random.uniform(0.01, 0.2),
                output_events=events,
                received_bytes=random.randint(300, 20_000),
                sent_bytes=events * 220,
                attempts=0 if phase == "waiting" else 2 if number == 2 else 1,
            )
        )
    return rows


def limits(remaining: int, limit: int, tokens: int, token_limit: int) -> list[Field]:
    """The fields of an answer that say them."""
    return [
        (b"x-ratelimit-remaining-requests", b"%d" % remaining),
        (b"x-ratelimit-limit-requests", b"%d" % limit),
        (b"x-ratelimit-remaining-tokens", b"%d" % tokens),
        (b"x-ratelimit-limit-tokens", b"%d" % token_limit),
    ]


def providers(page: OperatorPage) -> None:
    """Their breakers, limits and streams."""
    metrics = page.metrics
    for provider, model, *_ in MODELS:
        state = "half_open" if model == "gpt-4o" else "closed"
        metrics.watch_circuit(provider, model, lambda state=state: state)  # type: ignore[misc]
        metrics.watch_rest(provider, model, lambda: False)
    metrics.rate_limits.keep("openai", "gpt-4o", limits(212, 10_000, 91_000, 2_000_000))
    metrics.rate_limits.keep("openai", "gpt-4o-mini", limits(9_410, 10_000, 1_710_000, 2_000_000))
    metrics.rate_limits.keep("anthropic", "claude-sonnet-4-5", limits(3_720, 4_000, 310_000, 400_000))
    metrics.http.streams_open.update({"openai": 3, "anthropic": 1, "groq": 1})


def draw(url: str, folder: Path, scheme: str, program: str) -> None:
    """Two pictures of what is there after two events."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        Chromium(program, Path(profile)) as browser,
    ):
        for name, width, height, scale in PICTURES:
            browser.open(url, width, scheme=scheme, scale=scale)
            browser.wait_for("document.querySelectorAll('#providers tbody tr').length > 2")
            browser.wait_for("document.querySelectorAll('#clocks tbody tr').length > 2")
            path = folder / f"{name}.png"
            browser.screenshot(path, height)
            shrink(path)


async def drawn(reactor: Any, options: argparse.Namespace) -> None:
    """Serve, draw, end."""
    random = Random(7)
    page = OperatorPage()
    # The hour ends now.
    page.clock.rightNow -= STEPS * STEP_SECONDS
    an_hour(page, random)
    page.operations.flying = flying(random)
    providers(page)
    url = page.start(reactor)
    page.run(reactor, 0.5)
    try:
        await deferToThread(draw, url, options.folder, options.scheme, options.chromium)
    finally:
        await page.stop(reactor)


def main() -> None:
    """Both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    options = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(drawn(reactor, options)))


if __name__ == "__main__":
    main()
