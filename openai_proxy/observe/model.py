"""Which model a request names, as a label: a fixed list, for the name is the client's text."""

import re
from collections.abc import Callable
from typing import Final, Protocol

from openai_proxy.observe.asked import asked_in
from openai_proxy.observe.key_like import is_key_like

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


class Naming(Protocol):
    """Of a provider, what its models' names depend on."""

    @property
    def name(self) -> str:
        """The provider's own."""

    @property
    def priced_as(self) -> str:
        """Whose price list holds for it."""

    @property
    def names_models(self) -> bool:
        """Whether its answer for a name says that there is such a model."""


class ModelNames:
    """Names of models as labels: a bounded set, though the names are the clients' text.

    A name has a label of its own once the provider has answered for it: whoever has no key for it, or
    asks it for what it does not have, makes no series. So a server of your own shows its models too,
    and nonsense stays ``other``.
    """

    def __init__(
        self, known: Callable[[str, str], str | None], most_learned: int = 100, most_of_any: int = 16
    ) -> None:
        """
        :param known: by price list and name, the label of what is known besides :data:`KNOWN`.
        :param most_learned: of each provider, labels that are not known.
        :param most_of_any: of each provider that answers for any name, labels in all.
        """
        self._known = known
        self._most_learned = most_learned
        self._most_of_any = most_of_any
        self._answered: dict[str, set[str]] = {}
        """By provider: labels that it has answered for."""
        self._learned: dict[str, set[str]] = {}
        """Those of them that were not known."""
        self._labels: dict[tuple[str, str], str] = {}

    def know(self, known: Callable[[str, str], str | None]) -> None:
        """Another price list. What was answered for stays."""
        self._known = known
        self._labels.clear()

    def label(self, provider: Naming, name: str) -> str:
        """The name's own, if the provider has ever answered for it."""
        key = (provider.name, name)
        label = self._labels.get(key)
        if label is None:
            label, _ = self._own(provider, name)
            if label not in self._answered.get(provider.name, ()):
                label = not_named(name)
            self._remember(key, label)
        return label

    def answered(self, provider: Naming, name: str, teaches: bool) -> str:
        """The provider answers for this name now. ``teaches``: it may be learned if it is not known."""
        label = self._labels.get((provider.name, name))
        if label is None or label == OTHER:
            label, is_known = self._own(provider, name)
            if self._is_new(provider, label, is_known, teaches):
                self._answered[provider.name].add(label)
                # Other spellings of the name were `other` until now.
                self._labels.clear()
            return self.label(provider, name)
        return label

    def of_answer(self, provider: Naming, name: str, status: int) -> str:
        """As its head says: below 300 the provider answers for the name.

        401 and 403 are anybody's, who may ask for all names there are at all endpoints.
        """
        if status < 300:
            return self.answered(provider, name, teaches=False)
        return not_named(name) if status in (401, 403) else self.label(provider, name)

    def _is_new(self, provider: Naming, label: str, is_known: bool, teaches: bool) -> bool:
        """Whether the provider's answer makes this a label now."""
        answered = self._answered.setdefault(provider.name, set())
        if label in (NONE, OTHER) or label in answered:
            return False
        if not provider.names_models:
            if not is_known or len(answered) >= self._most_of_any:
                return False
        elif not is_known:
            learned = self._learned.setdefault(provider.name, set())
            if not teaches or len(learned) >= self._most_learned:
                return False
            learned.add(label)
        return True

    def _own(self, provider: Naming, name: str) -> tuple[str, bool]:
        """The label that it has, or would have, and whether it is known; ``other`` for what can be none."""
        label = model_label(name)
        if label != OTHER:
            return label, True
        known = self._known(provider.priced_as, name)
        if known is not None:
            return known, True
        return (name if _PLAIN.fullmatch(name) and not is_key_like(name) else OTHER), False

    def _remember(self, key: tuple[str, str], label: str) -> None:
        if len(self._labels) >= _REMEMBERED:
            self._labels.clear()
        if len(key[1]) <= _LONGEST_REMEMBERED:
            self._labels[key] = label


def not_named(name: str) -> str:
    """The label of a name that has none of its own."""
    return OTHER if name else NONE


def is_same_model(asked: str, said: str) -> bool:
    """Whether an answer that names ``said`` is of the model ``asked``, but for a date."""
    return said == asked or _SNAPSHOT.sub("", said) == asked


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
