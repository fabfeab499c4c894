"""A provider's root URL: what is taken and what is not."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")


def root_url(url: str) -> str:
    """http or https, no query, no credentials; without a slash at its end. Raises ValueError.

    The error does not repeat the URL: what is wrong with it may be that it holds a key.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("not an http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with credentials in it is not taken")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("a URL with a query or a fragment is not taken")
    # urlsplit takes blanks, tabs and line ends out, where a client would send them.
    is_whole = len(url) == len(f"{parts.scheme}://{parts.netloc}{parts.path}")
    if not is_whole or port == 0 or not _AUTHORITY.fullmatch(parts.netloc):
        raise ValueError("not a URL: its host or port cannot be asked")
    if not _PATH.fullmatch(parts.path):
        raise ValueError("a URL with characters in it that a path cannot have")
    return url.rstrip("/")


def split_path(url: str) -> tuple[str, str]:
    """``https://host/a/v1`` as ``("https://host", "/a/v1")``; the path of a host alone is empty."""
    end = url.find("/", url.find("://") + 3)
    return (url, "") if end < 0 else (url[:end], url[end:])
