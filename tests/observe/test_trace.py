"""Which trace a request is part of (W3C Trace Context)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.trace import Parent, Traces, parent_in

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
VALUE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ([VALUE], 1),
        ([VALUE[:-2] + b"00"], 0),
        # A later version has what this one has, and may say more.
        ([b"cc" + VALUE[2:] + b"-what-the-future-brings"], 1),
        ([b"cc" + VALUE[2:]], 1),
    ],
)
def test_a_parent_is_read(values: list[bytes], flags: int) -> None:
    """Trace, span and flags."""
    fields = [(b"TraceParent", value) for value in values]
    assert parent_in(fields) == Parent(TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [VALUE, VALUE],
        [b"ff" + VALUE[2:]],
        [VALUE + b"-more"],
        [b"cc" + VALUE[2:] + b"more"],
        [VALUE.upper()],
        [VALUE[:-1]],
        [b"00-" + b"0" * 32 + VALUE[35:]],
        [VALUE[:36] + b"0" * 16 + b"-01"],
        [VALUE + b" "],
        [b""],
    ],
)
def test_what_is_no_parent_is_none(values: list[bytes]) -> None:
    """A field that is not as it should be is as good as none."""
    assert parent_in([(b"traceparent", value) for value in values]) is None


@given(st.binary(max_size=80))
def test_any_value_is_read_or_not(value: bytes) -> None:
    """It never raises."""
    parent_in([(b"traceparent", value)])


def test_who_follows_a_trace_has_spans_if_its_client_has() -> None:
    """The ratio is for those who begin one."""
    none, all_of_them = Traces(0, Random(1)), Traces(1, Random(1))
    sampled, unsampled = [(b"traceparent", VALUE)], [(b"traceparent", VALUE[:-2] + b"00")]
    trace = none.begin(sampled, 1.0)
    assert trace is not None and (trace.trace_id, trace.flags) == (TRACE, 1)
    assert trace.span_id not in (0, SPAN)
    assert all_of_them.begin(unsampled, 1.0) is None
    assert none.begin([], 1.0) is None
    root = all_of_them.begin([], 1.0)
    assert root is not None and root.parent is None and root.trace_id


def test_the_ratio_is_kept() -> None:
    """Of many about so many."""
    traces = Traces(0.25, Random(1))
    assert 400 < sum(traces.begin([], 0.0) is not None for _ in range(2000)) < 600


def test_an_upstream_is_told_of_its_attempt() -> None:
    """One traceparent; the state of the trace stays, all of it; other fields are as they were."""
    fields = [
        (b"A", b"1"),
        (b"Traceparent", VALUE),
        (b"tracestate", b"a=1"),
        (b"TraceState", b"b=2"),
        (b"Z", b"2"),
    ]
    trace = Traces(1, Random(1)).begin(fields, 0.0)
    assert trace is not None and trace.state == (b"a=1", b"b=2")
    assert trace.fields(fields, 0xABC) == [
        (b"A", b"1"),
        (b"tracestate", b"a=1"),
        (b"TraceState", b"b=2"),
        (b"Z", b"2"),
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-0000000000000abc-01"),
    ]


def test_a_state_without_a_trace_is_nobodys() -> None:
    """It would be passed on as this trace's."""
    fields = [(b"traceparent", b"wrong"), (b"tracestate", b"a=1")]
    trace = Traces(1, Random(1)).begin(fields, 0.0)
    assert trace is not None and trace.state == ()
    assert [name for name, _ in trace.fields(fields, 1)] == [b"traceparent"]
