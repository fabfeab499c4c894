"""Request ids: unique among all daemons and restarts, cheap to make."""

import itertools
import secrets

_process = secrets.token_hex(8)
_numbers = itertools.count(secrets.randbits(32))


def new_request_id() -> bytes:
    """``req_`` and 32 hex digits: 64 random bits of this process, then a running number."""
    return b"req_%s%016x" % (_process.encode(), next(_numbers))
