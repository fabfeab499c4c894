"""Which model a request names, as a label: a fixed list, for the name is the client's text."""

import re
from collections.abc import Callable
from typing import Final

from openai_proxy.observe.asked import asked_in

OTHER: Final = "other"
NONE: Final = "none"

_NAMES = """
gpt-5.5 gpt-5.5-pro gpt-5.4 gpt-5.4-pro gpt-5.4-mini gpt-5.4-nano gpt-5.3-chat-latest gpt-5.3-codex
gpt-5.2 gpt-5.2-pro gpt-5.2-codex gpt-5.2-chat-latest gpt-5.1 gpt-5.1-codex gpt-5.1-codex-mini
gpt-5.1-codex-max gpt-5.1-chat-latest gpt-5 gpt-5-mini gpt-5-nano gpt-5-pro gpt-5-codex
gpt-5-chat-latest gpt-5-search-api gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-4o gpt-4o-mini
chatgpt-4o-latest gpt-4o-audio-preview gpt-4o-mini-audio-preview gpt-4o-search-preview
gpt-4o-mini-search-preview gpt-4o-realtime-preview gpt-4o-mini-realtime-preview gpt-4o-transcribe
gpt-4o-mini-transcribe gpt-4o-transcribe-diarize gpt-4o-mini-tts gpt-4-turbo gpt-4 gpt-3.5-turbo
gpt-3.5-turbo-instruct davinci-002 babbage-002 o1 o1-mini o1-pro o3 o3-mini o3-pro o3-deep-research
o4-mini o4-mini-deep-research gpt-realtime gpt-realtime-mini gpt-audio gpt-audio-mini gpt-image-1
gpt-image-1-mini gpt-image-1.5 dall-e-2 dall-e-3 sora-2 sora-2-pro tts-1 tts-1-hd whisper-1
computer-use-preview text-embedding-3-small text-embedding-3-large text-embedding-ada-002
omni-moderation-latest text-moderation-latest gpt-oss-20b gpt-oss-120b
"""

KNOWN: Final = frozenset(_NAMES.split())

_REMEMBERED = 1024
_LONGEST_REMEMBERED = 128

_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})$")


_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,63}")


class ModelNames:
    """Names of models as labels: a bounded set, though the names are the clients' text.

    A name that is not known becomes one when a provider has answered for it: the first
    ``most_learned`` of them. So a server of your own shows its models, and nonsense stays ``other``.
    """

    def __init__(self, known: Callable[[str, str], str | None], most_learned: int = 100) -> None:
        """:param known: by provider and name, the label of what is known besides :data:`KNOWN`."""
        self._known = known
        self._most_learned = most_learned
        self._learned: set[str] = set()
        self._labels: dict[tuple[str, str], str] = {}

    def label(self, provider: str, name: str, answered: bool = False) -> str:
        """``answered``: the provider has answered for this name, and it may be learned."""
        key = (provider, name)
        label = self._labels.get(key)
        if label is None or (answered and label == OTHER):
            label = self._label(provider, name, answered)
            if len(self._labels) >= _REMEMBERED:
                self._labels.clear()
            if len(name) <= _LONGEST_REMEMBERED:
                self._labels[key] = label
        return label

    def _label(self, provider: str, name: str, answered: bool) -> str:
        label = model_label(name)
        if label != OTHER:
            return label
        known = self._known(provider, name)
        if known is not None:
            return known
        if name not in self._learned:
            if not answered or len(self._learned) >= self._most_learned or not _PLAIN.fullmatch(name):
                return OTHER
            self._learned.add(name)
        return name


def model_in(body: bytes) -> str:
    """The ``model`` member of a JSON object; empty if there is none, or no JSON."""
    return asked_in(body).model


def model_label(name: str) -> str:
    """``name`` if it is known, a dated snapshot as its model; ``none`` for none, else ``other``."""
    if not name:
        return NONE
    if name in KNOWN:
        return name
    undated = _SNAPSHOT.sub("", name[:128])
    return undated if undated in KNOWN else OTHER
