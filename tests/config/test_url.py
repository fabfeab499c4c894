"""Root URLs of providers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.url import root_url, split_path
from openai_proxy.wire.agent import check_uri

WRONG = [
    "", "api.openai.com", "ftp://host", "http://", "http:///path", "https://user:canary@host", "https://canary@host",
    "http://h?canary", "http://h?", "http://h#canary", "http://h#", "http://foo,bar", "http://host:0",
    "http://host:99999", "http://host:x", "http://[::1", "http://h\\x", "http://host/\x7f", "http://ho st",
    "http://h/a b", "http://h/a\nb", "http://h/\u00e9", "http://\u00e9", " http://h", "http://h/{x}",
    "http://h\t/x", "http://h/x\n",
]  # fmt: skip


@pytest.mark.parametrize("url", WRONG)
def test_a_root_that_cannot_be_asked_is_refused_and_not_repeated(url: str) -> None:
    """What every request would fail for is a problem before there is one; a key in it stays unsaid."""
    with pytest.raises(ValueError, match=r".") as refused:
        root_url(url)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://host:8443/base/", "https://host:8443/base"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("http://a_b.example//", "http://a_b.example"),
        ("https://h/a%20b/c.d~e:f@g", "https://h/a%20b/c.d~e:f@g"),
    ],
)
def test_a_root_keeps_its_path_and_loses_its_last_slash(url: str, root: str) -> None:
    """It is what request targets are put behind."""
    assert root_url(url) == root


def test_the_path_is_parted_from_the_host() -> None:
    """The path of a host alone is empty."""
    assert split_path("https://host/a/v1") == ("https://host", "/a/v1")
    assert split_path("https://host") == ("https://host", "")


@given(
    st.builds(
        "{}://{}{}{}".format,
        st.sampled_from(["http", "https", "HTTP", "ftp"]),
        st.text("abc.-_~[]:1/@?#%, é", max_size=8) | st.sampled_from(["host", "[::1]", "10.0.0.1"]),
        st.sampled_from(["", ":80", ":0", ":65536", ":"]),
        st.text("/ab{}%? #", max_size=6),
    )
)
def test_what_is_taken_can_be_asked(url: str) -> None:
    """The client refuses no root that was taken here."""
    try:
        root = root_url(url)
    except ValueError:
        return
    check_uri(root.encode("ascii"))
