"""What is checked of a request's head beyond what llhttp checks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.iweb import UNKNOWN_LENGTH

from openai_proxy.config.settings import Limits
from openai_proxy.wire.fields import Field
from openai_proxy.wire.heads import Head, Rejected

HOST: Field = (b"Host", b"localhost:8080")


def read(*fields: Field, method: bytes = b"POST", target: bytes = b"/v1/x", http11: bool = True) -> Head:
    return Head.read(method, target, list(fields), http11, Limits(header_bytes=1000, body_bytes=1000))


def refused(*fields: Field, method: bytes = b"POST", target: bytes = b"/v1/x", http11: bool = True) -> int:
    with pytest.raises(Rejected) as caught:
        read(*fields, method=method, target=target, http11=http11)
    return caught.value.status


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/v1/files/a%2Fb",
        b"/v1/x?",
        b"/v1/x?beta=true&a[]=1&b=%5B%5D",
        b"//double//slash",
        b"/v1/x?url=http://a/../b",
        b"/a..b/...",
        b"/v1/models/ft:gpt-4o:org::id",
    ],
)
def test_target_is_kept(target: bytes) -> None:
    """A valid target comes out byte for byte."""
    assert read(HOST, target=target).target == target


@pytest.mark.parametrize(
    "target",
    [b"/a b", b"/a\x80", b"/a#b", b"x", b"/..", b"/v1/../x", b"/%2e%2E/x", b"/v1/./x", b"/v1/.%2e", b"*"],
)
def test_bad_targets_are_refused(target: bytes) -> None:
    """What no URI can have, and dot segments, are 400."""
    assert refused(HOST, target=target) == 400


def test_absolute_target_loses_its_authority() -> None:
    """An absolute target's authority never chooses where a request goes."""
    assert read(HOST, target=b"http://evil.example/v1/x?y").target == b"/v1/x?y"
    assert read(HOST, target=b"HTTPS://evil.example").target == b"/"
    assert read(HOST, target=b"http://evil.example?q").target == b"/?q"


def test_asterisk_is_for_options_only() -> None:
    """``OPTIONS *`` is a valid target; CONNECT and TRACE are refused."""
    assert read(HOST, method=b"OPTIONS", target=b"*").target == b"*"
    assert refused(HOST, method=b"CONNECT", target=b"a:443") == 501
    assert refused(HOST, method=b"TRACE") == 501


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [HOST, HOST],
        [(b"Host", b"a,b")],
        [(b"Host", b"user@a")],
        [(b"Host", b"a/b")],
        [(b"Host", b"a b")],
        [(b"Host", b"a:b")],
    ],
)
def test_host_must_be_one_and_valid(fields: list[Field]) -> None:
    """No Host, two, or one that is no authority is 400 (RFC 9112 section 3.2)."""
    assert refused(*fields) == 400


def test_host_may_be_missing_in_http10_and_empty_or_ipv6() -> None:
    """HTTP/1.0 needs no Host; an empty one and an IPv6 address are valid."""
    assert read(http11=False).target == b"/v1/x"
    assert read((b"Host", b"")).length is None
    assert read((b"Host", b"[::1]:8080")).length is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b"Content-Length", b"1"), (b"Content-Length", b"1")], 400),
        ([(b"Content-Length", b"1, 1")], 400),
        ([(b"Content-Length", b"+1")], 400),
        ([(b"Content-Length", b"0x1")], 400),
        ([(b"Content-Length", b"9" * 19)], 400),
        ([(b"Content-Length", b"9" * 18)], 413),
        ([(b"Content-Length", b"1001")], 413),
        ([(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")], 400),
        ([(b"Transfer-Encoding", b"gzip, chunked")], 501),
        ([(b"Transfer-Encoding", b"identity")], 501),
        ([(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")], 501),
        ([(b"X", b"a\x00b")], 400),
        ([(b"X", b"a\x0bb")], 400),
        ([(b"X", b"y" * 1000)], 431),
    ],
)
def test_bad_framing_and_fields(fields: list[Field], status: int) -> None:
    """Each faulty framing or field has its status."""
    assert refused(HOST, *fields) == status


def test_lengths() -> None:
    """The body's length is a number, unknown when chunked, None without a body."""
    assert read(HOST).length is None
    assert read(HOST, (b"content-length", b"0")).length == 0
    assert read(HOST, (b"CONTENT-LENGTH", b"1000")).length == 1000
    assert read(HOST, (b"Transfer-Encoding", b"Chunked")).length is UNKNOWN_LENGTH
    assert refused((b"Transfer-Encoding", b"chunked"), http11=False) == 400


def test_expectation_and_upgrade() -> None:
    """100-continue and a WebSocket handshake are found in any case, and only in HTTP/1.1."""
    assert read(HOST, (b"Expect", b"100-Continue")).expects_continue
    assert not read((b"Expect", b"100-continue"), http11=False).expects_continue
    upgrade = [HOST, (b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"WebSocket")]
    assert read(*upgrade, method=b"GET").upgrade
    assert not read(*upgrade, method=b"POST").upgrade
    assert not read(*upgrade, (b"Content-Length", b"1"), method=b"GET").upgrade
    assert not read(HOST, (b"Upgrade", b"websocket"), method=b"GET").upgrade


@given(
    method=st.sampled_from([b"GET", b"POST", b"OPTIONS"]),
    target=st.binary(max_size=60),
    fields=st.lists(
        st.tuples(
            st.sampled_from([b"Host", b"Content-Length", b"Transfer-Encoding", b"Expect", b"X"]),
            st.binary(max_size=20),
        ),
        max_size=5,
    ),
    http11=st.booleans(),
)
def test_any_head_is_read_or_refused(method: bytes, target: bytes, fields: list[Field], http11: bool) -> None:
    """Whatever comes, there is a head or a status of the 4xx and 5xx: never another exception."""
    try:
        head = Head.read(method, target, fields, http11, Limits())
    except Rejected as rejected:
        assert 400 <= rejected.status < 600
    else:
        assert head.target.startswith(b"/") or head.target == b"*"
