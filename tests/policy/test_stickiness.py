"""What follows on an object goes where it was made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.policy.stickiness import (
    Stickiness,
    ids_in_answer,
    ids_in_path,
    ids_in_request,
    ids_mentioned,
    names_objects,
)


def test_remembered() -> None:
    """The first id that is known decides."""
    sticky = Stickiness()
    sticky.remember(["resp_1", "conv_1"], "azure", 0.0)
    sticky.remember(["file-1"], "openai", 0.0)
    assert sticky.provider_of(["resp_1"], 1.0) == "azure"
    assert sticky.provider_of(["resp_0", "file-1", "resp_1"], 1.0) == "openai"
    assert sticky.provider_of(["resp_0"], 1.0) is None
    assert sticky.provider_of([], 1.0) is None


def test_bounded() -> None:
    """The least recently used goes first."""
    sticky = Stickiness(most=3)
    sticky.remember(["a", "b", "c"], "p", 0.0)
    assert sticky.provider_of(["a"], 1.0) == "p"
    sticky.remember(["d"], "p", 2.0)
    assert [one for one in "abcd" if sticky.provider_of([one], 3.0)] == ["a", "c", "d"]


def test_time_limited() -> None:
    """From its last use."""
    sticky = Stickiness(seconds=10.0)
    sticky.remember(["a", "b"], "p", 0.0)
    assert sticky.provider_of(["a"], 9.0) == "p"
    assert sticky.provider_of(["a"], 18.0) == "p"
    assert sticky.provider_of(["b"], 18.0) is None
    assert len(sticky) == 1


def test_nobody_takes_anothers_object() -> None:
    """A provider that names an id which another has made gets none of what follows, while that is known."""
    sticky = Stickiness(seconds=10.0)
    sticky.remember(["resp_1"], "openai", 0.0)
    sticky.remember(["resp_1", "resp_2"], "other", 1.0)
    assert sticky.provider_of(["resp_1"], 2.0) == "openai"
    assert sticky.provider_of(["resp_2"], 2.0) == "other"
    sticky.remember(["resp_1"], "other", 13.0)
    assert sticky.provider_of(["resp_1"], 13.0) == "other"


def test_forgotten() -> None:
    """What was deleted; deleting the unknown is no error."""
    sticky = Stickiness()
    sticky.remember(["a"], "p", 0.0)
    sticky.forget(["a", "b"])
    assert sticky.provider_of(["a"], 0.0) is None


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("pq"), st.floats(0, 5)), max_size=60),
    st.integers(1, 5),
)
def test_never_wrong(events: list[tuple[str, str, float]], most: int) -> None:
    """An id has its first provider until it is not known any more, and the map never grows past its bound."""
    sticky = Stickiness(most=most, seconds=8.0)
    made: dict[str, str] = {}
    now = 0.0
    for one, provider, passed in events:
        now += passed
        known = sticky.provider_of([one], now)
        assert known in (made.get(one), None)
        sticky.remember([one], provider, now)
        made[one] = known or provider
        assert sticky.provider_of([one], now) == made[one]
        assert len(sticky) <= most


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        (b"/v1/responses/resp_1", ("resp_1",)),
        (b"/v1/responses/resp_1/input_items?after=x", ("resp_1",)),
        (b"/v1/files/file-1/content", ("file-1",)),
        (b"/v1/vector_stores/vs_1/files/file-2", ("vs_1", "file-2")),
        (b"/v1/vector_stores/vs_1/file_batches/vsfb_1/cancel", ("vs_1", "vsfb_1")),
        (b"/v1/containers/cntr_1/files/cfile_1/content", ("cntr_1", "cfile_1")),
        (b"/v1/conversations/conv_1/items/msg_1", ("conv_1",)),
        (b"/v1/uploads/upload_1/parts", ("upload_1",)),
        (b"/v1/batches/batch_1/cancel", ("batch_1",)),
        (b"/v1/fine_tuning/jobs/ftjob-1/events", ("ftjob-1",)),
        (b"/v1/files", ()),
        (b"/v1/files/", ()),
        (b"/v1/files?purpose=files/x", ()),
        (b"/v1/chat/completions", ()),
        (b"\xff/files/\xff", ("\xff",)),
        (b"", ()),
    ],
)
def test_ids_in_path(path: bytes, ids: tuple[str, ...]) -> None:
    """Behind the names of collections, the outer object first."""
    assert ids_in_path(path) == ids


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (b'{"id":"resp_1","object":"response","output":[{"id":"msg_1"}]}', ("resp_1",)),
        (b'{"id":"resp_1","conversation":{"id":"conv_1"}}', ("resp_1", "conv_1")),
        (b'{"type":"response.created","response":{"id":"resp_1"}}', ("resp_1",)),
        (
            b'{"id":"batch_1","output_file_id":"file-2","error_file_id":null,"errors":{}}',
            ("batch_1", "file-2"),
        ),
        (b'{"id":"upload_1","status":"completed","file":{"id":"file-3"}}', ("upload_1", "file-3")),
        (b'{"object":"list","data":[{"id":"file-1"}]}', ()),
        (b'{"id":{"id":{"id":"x"}}}', ()),
        (b'{"id":["x"],"file":"file-1"}', ("file-1",)),
        (b'{"id":"' + b"x" * 300 + b'"}', ()),
        (b'{"id":"resp_1","a":"' + b"x" * 1024 * 1024 + b'"}', ()),
        (b"[]", ()),
        (b"", ()),
        (b"not json", ()),
        (b'{"id":"resp_1"', ()),
    ],
)
def test_ids_in_answer(body: bytes, ids: tuple[str, ...]) -> None:
    """What an answer says was made; what is odd or large says nothing."""
    assert ids_in_answer(body) == ids


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (b'{"model":"x","previous_response_id":"resp_1"}', ("resp_1",)),
        (b'{"conversation":"conv_1"}', ("conv_1",)),
        (b'{"conversation":{"id":"conv_1"}}', ("conv_1",)),
        (b'{"input_file_id":"file-1"}', ("file-1",)),
        (b'{"training_file":"file-1","model":"x"}', ("file-1",)),
        (b'{"id":"resp_1"}', ()),
        (b"{}", ()),
        (b"", ()),
    ],
)
def test_ids_in_request(body: bytes, ids: tuple[str, ...]) -> None:
    """What a request goes on from."""
    assert ids_in_request(body) == ids


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (b'{"input":[{"content":[{"type":"input_file","file_id":"file-1"}]}]}', ("file-1",)),
        (b'{"tools":[{"type":"file_search","vector_store_ids" : [ "vs_1" , "vs_2" ]}]}', ("vs_1", "vs_2")),
        (b'{"tools":[{"container":{"type":"auto","file_ids":["file-1"]}}]}', ("file-1",)),
        (b'{"file_ids":["file-1"],"name":"x"}', ("file-1",)),
        (b'{"file_ids":[' + b'"f",' * 1000 + b'"f"]}', ("f",) * 64),
        (b'{"input":"see \\"file_id\\": \\"file-1\\""}', ()),
        (b'{"file_ids":[],"file_id":null}', ()),
        (b"{}", ()),
    ],
)
def test_ids_mentioned(body: bytes, ids: tuple[str, ...]) -> None:
    """Wherever they stand, but for texts."""
    assert ids_mentioned(body) == ids


@given(st.binary(max_size=60))
def test_any_bytes(body: bytes) -> None:
    """Whatever comes, nothing is raised."""
    for form in (body, b'{"id":' + body, b'{"id":' + body + b"}"):
        assert isinstance(ids_in_answer(form) + ids_in_request(form) + ids_in_path(form), tuple)


@pytest.mark.parametrize(
    ("method", "path", "names"),
    [
        (b"POST", b"/v1/responses", True),
        (b"POST", b"/v1/files?x", True),
        (b"GET", b"/v1/batches/batch_1", True),
        (b"POST", b"/v1/chat/completions", False),
        (b"POST", b"/v1/embeddings", False),
        (b"DELETE", b"/v1/files/file-1", False),
    ],
)
def test_names_objects(method: bytes, path: bytes, names: bool) -> None:
    """Answers of the endpoints that keep things are read for ids, and no others."""
    assert names_objects(method, path) is names


def test_what_is_new_is_told_once() -> None:
    """To who passes it on to other processes: not again when it is used, and not what they have told."""
    told: list[list[tuple[str, str]]] = []
    kept = Stickiness(seconds=10)
    kept.told = told.append
    kept.remember(("a", "b"), "x", 0)
    kept.remember(("a", "c"), "x", 1)
    kept.remember(("a",), "other", 2)
    kept.learn([("d", "x"), ("a", "other")], 3)
    assert kept.provider_of(("d",), 4) == "x"
    kept.remember(("b",), "other", 20)
    assert told == [[("a", "x"), ("b", "x")], [("c", "x")], [("b", "other")]]
    assert kept.known() == [("a", "x"), ("c", "x"), ("d", "x"), ("b", "other")]
