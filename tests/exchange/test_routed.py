"""The unified way: a failed attempt is followed by another, until a byte of an answer is the client's."""

from __future__ import annotations

from tests.support.routed import CHAT, DONE, ERROR, EVENTS, JSON, STREAM, TOKEN, RoutedRig


def test_the_first_target_answers() -> None:
    """It is asked for its own name of the model, and the answer says whose it is."""
    rig = RoutedRig()
    rig.ask()
    [ask] = rig.one.asks
    assert (ask.method, ask.url) == (b"POST", b"http://one/v1/chat/completions")
    assert ask.sent == CHAT.replace(b'"fast"', b'"one-model"')
    ask.give(200, b'{"id":1}')
    status, fields, body = rig.answer()
    assert (status, body) == (200, b'{"id":1}')
    assert fields[b"x-openai-proxy-provider"] == b"one"
    assert fields[b"x-openai-proxy-model"] == b"one-model"
    assert fields[b"x-openai-proxy-attempts"] == b"1"
    record = rig.record()
    assert (record.provider, record.outcome) == ("one", "ok")


def test_another_target_takes_over() -> None:
    """A 500 of the first is answered by the second; the record has both."""
    rig = RoutedRig()
    rig.ask()
    rig.one.last.give(500, ERROR)
    rig.two.last.give(200, b"{}")
    status, fields, _ = rig.answer()
    assert status == 200
    assert fields[b"x-openai-proxy-attempts"] == b"2"
    assert rig.results() == [("one", "http_5xx"), ("two", "ok")]


def test_a_stream_begins_with_its_first_event() -> None:
    """What comes before is held; what comes after goes on at once."""
    rig = RoutedRig()
    rig.ask(STREAM)
    ask = rig.one.last
    ask.respond(200, EVENTS)
    ask.piece(b": ping\n\n")
    assert not rig.client.received
    ask.piece(TOKEN)
    assert TOKEN in rig.client.received
    ask.piece(DONE)
    ask.end()
    assert rig.answer()[2] == b": ping\n\n" + TOKEN + DONE
    assert rig.record().outcome == "ok"


def test_a_client_that_leaves_while_a_retry_is_awaited_is_told_of_once() -> None:
    """The attempt that failed is in the record one time, and nothing is sent any more."""
    rig = RoutedRig("one")
    rig.ask()
    rig.one.last.give(500, ERROR)
    assert not rig.client.received
    rig.client.leave()
    record = rig.record()
    assert [(one.provider, one.result) for one in record.attempts] == [("one", "http_5xx")]
    assert (record.provider, record.model) == ("one", "other")
    assert (record.status, record.outcome, record.phase) == (499, "client_disconnect", "before_first_byte")


def test_json_is_held_until_it_is_whole() -> None:
    """JSON that is cut is another target's chance."""
    from openai_proxy.wire.errors import Truncated

    rig = RoutedRig()
    rig.ask()
    rig.one.last.respond(200, JSON, (b"Content-Length", b"20"))
    rig.one.last.piece(b'{"a":')
    rig.one.last.end(Truncated("x"))
    rig.two.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    assert rig.results() == [("one", "stream_error"), ("two", "ok")]
