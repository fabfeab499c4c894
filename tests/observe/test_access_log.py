"""What stands in a line, and which exchanges have one."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.access_log import AccessLog, Line
from openai_proxy.observe.errors import CODES, TYPES
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import (
    Attempt,
    AttemptResult,
    DisconnectPhase,
    Error,
    ErrorSource,
    Generation,
    Move,
    MoveKind,
    Record,
)
from openai_proxy.observe.usage import Usage, UsageMissing
from openai_proxy.wire.response import Timings

NOW = 1_767_225_599.9996
LEAST = Record(
    provider="openai",
    endpoint="chat_completions",
    model="gpt-4o",
    status=200,
    outcome=Outcome.OK,
    duration_seconds=1.0,
    received_bytes=3,
    sent_bytes=4,
)


def written(*records: Record, one_in: int = 1, now: float = NOW) -> list[dict[str, Any]]:
    """The lines of some records."""
    lines: list[bytes] = []
    log = AccessLog(lines.append, lambda: now, one_in, Random(7))
    for record in records:
        log.exchange_began(record.endpoint)
        log.answer_began(record.provider, record.model, [(b"Set-Cookie", b"secret")], record.is_stream)
        log.exchange_ended(record)
    assert all(line.count(b"\n") == 1 and line.endswith(b"}\n") for line in lines)
    return [json.loads(line) for line in lines]


def line_of(**changes: Any) -> dict[str, Any]:
    """The line of a record that differs from the least one."""
    (line,) = written(msgspec.structs.replace(LEAST, **changes))
    return line


def test_a_line_has_all_that_a_record_knows() -> None:
    """Every member, under its name, in its unit."""
    attempts = (
        Attempt("openai", AttemptResult.HTTP_5XX, 0.5, Timings(repeated=True)),
        Attempt("openai", AttemptResult.OK, 0.7, Timings(reused=True)),
    )
    generation = Generation(
        model="gpt-4o-mini",
        usage=Usage(
            input_tokens=10, cached_input_tokens=4, cache_write_tokens=2, output_tokens=7, reasoning_tokens=3
        ),
        cost_picodollars=1_234_500_000,
        first_token_seconds=0.3,
        first_visible_seconds=0.4000004,
    )
    assert line_of(
        route="/v1",
        method=b"POST",
        request_id=b"req_1",
        duration_seconds=1.23456789,
        first_byte_seconds=0.25,
        overhead_seconds=0.00012345,
        is_stream=True,
        attempts=attempts,
        generation=generation,
    ) == {
        "time": "2025-12-31T23:59:59.999Z",
        "weight": 1,
        "request_id": "req_1",
        "route": "/v1",
        "provider": "openai",
        "endpoint": "chat_completions",
        "model": "gpt-4o",
        "answer_model": "gpt-4o-mini",
        "method": "POST",
        "status": 200,
        "outcome": "ok",
        "phase": None,
        "is_stream": True,
        "duration_seconds": 1.234568,
        "first_byte_seconds": 0.25,
        "first_token_seconds": 0.3,
        "first_visible_seconds": 0.4,
        "overhead_seconds": 0.000123,
        "received_bytes": 3,
        "sent_bytes": 4,
        "input_tokens": 10,
        "cached_input_tokens": 4,
        "cache_write_tokens": 2,
        "output_tokens": 7,
        "reasoning_tokens": 3,
        "usage_missing": None,
        "cost_microdollars": 1235,
        "retries": 2,
        "attempts": 2,
        "attempt_results": ["http_5xx", "ok"],
        "tried": None,
        "connection_reused": True,
        "error_source": None,
        "error_type": None,
        "error_code": None,
    }


def test_what_is_not_known_is_null() -> None:
    """Not 0, which would be a number that somebody adds up; and every member is there."""
    line = line_of()
    assert list(line) == list(Line.__struct_fields__)
    known = {name for name, value in line.items() if value is not None}
    assert known == {
        "time", "weight", "provider", "endpoint", "model", "status", "outcome", "is_stream",
        "duration_seconds", "received_bytes", "sent_bytes", "retries", "attempts", "attempt_results",
    }  # fmt: skip
    assert (line["retries"], line["attempts"], line["attempt_results"]) == (0, 0, [])


def test_who_was_tried_is_told_where_there_was_a_move() -> None:
    """Also where the first target was passed over; the provider is the last one's."""
    limited = AttemptResult.HTTP_429
    moved = Attempt("azure", AttemptResult.OK, 1.0, move=Move(MoveKind.FALLBACK, "openai", limited))
    line = line_of(provider="azure", attempts=(Attempt("openai", limited, 0.1), moved))
    assert (line["provider"], line["attempts"]) == ("azure", 2)
    assert line["tried"] == [["openai", "http_429"], ["azure", "ok"]]
    line = line_of(provider="azure", attempts=(moved,))
    assert (line["attempts"], line["retries"], line["tried"]) == (1, 0, [["azure", "ok"]])
    assert line_of(attempts=(Attempt("openai", AttemptResult.OK, 1.0),))["tried"] is None


def test_a_failure_says_who_and_why() -> None:
    """The phase, the missing usage's reason and the error's names."""
    line = line_of(
        outcome=Outcome.CLIENT_DISCONNECT,
        phase=DisconnectPhase.MID_STREAM,
        generation=Generation(model="other", usage_missing=UsageMissing.DISCONNECT),
        error=Error(ErrorSource.UPSTREAM, "server_error", "model_not_found"),
        attempts=(Attempt("openai", AttemptResult.ABORTED, 1.0),),
    )
    assert (line["phase"], line["usage_missing"], line["answer_model"]) == (
        "mid_stream",
        "disconnect",
        "other",
    )
    assert line["error_source"] == "upstream"
    assert (line["error_type"], line["error_code"]) == ("server_error", "model_not_found")
    assert (line["connection_reused"], line["input_tokens"], line["cost_microdollars"]) == (None, None, None)


@pytest.mark.parametrize(
    ("picodollars", "microdollars"), [(0, 0), (499_999, 0), (500_000, 1), (1_499_999, 1), (1_500_000, 2)]
)
def test_cost_is_rounded_half_up(picodollars: int, microdollars: int) -> None:
    """To whole micro-dollars."""
    line = line_of(generation=Generation(model="gpt-4o", cost_picodollars=picodollars))
    assert line["cost_microdollars"] == microdollars


@given(st.text(), st.text(), st.binary(), st.binary())
def test_no_text_of_others_is_repeated(kind: str, code: str, request_id: bytes, method: bytes) -> None:
    """What upstreams and clients write is known, or ``other``; it never breaks the line."""
    line = line_of(error=Error(ErrorSource.UPSTREAM, kind, code), request_id=request_id, method=method)
    assert line["error_type"] in {*TYPES, "other", None}
    assert line["error_code"] in {*CODES, "other", None}
    assert line["request_id"] is None or re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", line["request_id"])
    assert line["method"] is None or re.fullmatch(r"[A-Z]+|other", line["method"])


@pytest.mark.parametrize("text", ["a b", "a" * 65, "sk-proj-CANARY", "model_overloaded", '"'])
def test_an_error_that_is_not_listed_is_other(text: str) -> None:
    """A name is not enough: an upstream may repeat a key there."""
    line = line_of(error=Error(ErrorSource.UPSTREAM, text, text))
    assert (line["error_type"], line["error_code"]) == ("other", "other")
    line = line_of(error=Error(ErrorSource.UPSTREAM, "", None))
    assert (line["error_type"], line["error_code"]) == (None, None)


@pytest.mark.parametrize("text", [b"sk-CANARY-1", b"req-sk-CANARY", b"AIzaCANARY"])
def test_an_id_that_looks_like_a_key_is_other(text: bytes) -> None:
    """An upstream may give what it was sent as its id."""
    assert line_of(request_id=text)["request_id"] == "other"


def test_a_refused_request_has_a_line() -> None:
    """With what is known of it: status, time, and whose fault it was."""
    lines: list[bytes] = []
    log = AccessLog(lines.append, lambda: NOW, one_in=1000)
    for status in (400, 404, 501, 503):
        log.request_refused(status, 0.0000124)
    said = [json.loads(line) for line in lines]
    assert [(one["status"], one["outcome"]) for one in said] == [
        (400, "client_error"),
        (404, "client_error"),
        (501, "client_error"),
        (503, "proxy_overload"),
    ]
    for one in said:
        assert list(one) == list(Line.__struct_fields__)
        assert (one["provider"], one["endpoint"], one["model"]) == ("none", "other", "none")
        assert (one["weight"], one["duration_seconds"]) == (1, 0.000012)
        assert (one["request_id"], one["sent_bytes"]) == (None, None)
    errors = [(one["error_source"], one["error_type"], one["error_code"]) for one in said]
    assert errors == [
        *[("client", "invalid_request_error", None)] * 3,
        ("proxy", "server_error", "proxy_overload"),
    ]


def test_a_sample_has_every_failure_and_some_of_the_rest() -> None:
    """The weights add up to about what there was; a failure weighs 1."""
    failed = msgspec.structs.replace(LEAST, outcome=Outcome.UPSTREAM_ERROR)
    lines = written(*[LEAST, failed] * 2000, one_in=10)
    good = [line for line in lines if line["outcome"] == "ok"]
    assert len(lines) - len(good) == 2000
    assert {line["weight"] for line in lines if line["outcome"] != "ok"} == {1}
    assert {line["weight"] for line in good} == {10}
    assert 150 < len(good) < 250


def test_the_time_is_utc_in_milliseconds() -> None:
    """Also where a second begins, and where one ends."""
    assert written(LEAST, now=0.0)[0]["time"] == "1970-01-01T00:00:00.000Z"
    assert written(LEAST, now=1_709_164_800.0625)[0]["time"] == "2024-02-29T00:00:00.062Z"


def test_a_bad_exchange_wants_its_id() -> None:
    """Records come with the ids that their clients were sent."""
    assert AccessLog.wants_ids
