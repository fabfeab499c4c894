"""Which of the API's endpoints a path is: a closed set, whatever clients ask for."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

OTHER: Final = "other"

_BY_PREFIX: Final = {
    "chat/completions": "chat_completions",
    "responses": "responses",
    "completions": "completions",
    "messages": "messages",
    "embeddings": "embeddings",
    "models": "models",
    "moderations": "moderations",
    "audio/speech": "audio_speech",
    "audio/transcriptions": "audio_transcriptions",
    "audio/translations": "audio_translations",
    "images": "images",
    "files": "files",
    "uploads": "uploads",
    "batches": "batches",
    "fine_tuning": "fine_tuning",
    "vector_stores": "vector_stores",
    "assistants": "assistants",
    "threads": "assistants",
    "realtime": "realtime",
}

ENDPOINTS: Final = (*dict.fromkeys(_BY_PREFIX.values()), OTHER)


_GENERATING: Final = re.compile(
    r"/v1/(?:chat/completions|completions|responses(?:/compact)?|messages|embeddings"
    r"|images/(?:generations|edits|variations)|audio/(?:speech|transcriptions|translations)"
    r"|threads/(?:[^/]+/)?runs|threads/[^/]+/runs/[^/]+/submit_tool_outputs)/?"
)


class Endpoint(NamedTuple):
    """What is known of a path."""

    name: str
    generates: bool
    """Whether a POST to exactly this path generates something that is billed. Others only repeat
    it: a stored completion that is given new metadata says its usage again.
    """


@lru_cache(maxsize=1024)
def endpoint_of(path: bytes) -> Endpoint:
    """The endpoint of a path as its provider sees it, such as ``/v1/chat/completions``.

    A path outside ``/v1`` is ``other``. The cache is bounded: paths hold ids.
    """
    text = path.decode("latin-1")
    segments = text.split("/")
    if len(segments) < 3 or segments[0] or segments[1] != "v1":
        return Endpoint(OTHER, False)
    name = _BY_PREFIX.get("/".join(segments[2:4])) or _BY_PREFIX.get(segments[2], OTHER)
    return Endpoint(name, _GENERATING.fullmatch(text) is not None)
