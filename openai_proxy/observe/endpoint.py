"""Which of the API's endpoints a path is: a closed set, whatever clients ask for."""

from functools import lru_cache
from typing import Final

OTHER: Final = "other"

_BY_PREFIX: Final = {
    "chat/completions": "chat_completions",
    "responses": "responses",
    "completions": "completions",
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


@lru_cache(maxsize=1024)
def endpoint_of(path: bytes) -> str:
    """The endpoint of a path as its provider sees it, such as ``/v1/chat/completions``.

    A path outside ``/v1`` is ``other``. The cache is bounded: paths hold ids.
    """
    segments = path.decode("latin-1").split("/")
    if len(segments) < 3 or segments[0] or segments[1] != "v1":
        return OTHER
    return _BY_PREFIX.get("/".join(segments[2:4])) or _BY_PREFIX.get(segments[2], OTHER)
