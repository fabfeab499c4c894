"""All that an exchange needs to know of translation: whether, and then a request and its answer.

kind = translation_for("openai", "anthropic", b"POST", b"/v1/chat/completions")
if kind is not None:
    translation = kind.request(body, "claude-opus-5")  # may raise Untranslatable
    # Send translation.body to translation.path with translation.request_fields(fields);
    # or give translation.answer to the client, if there is one. Then, of each answer:
    fields = translation.answer_fields(status, fields, now)
    converter = translation.body_converter(status, is_stream, now)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from openai_proxy.observe.usage import NO_QUIRKS, Quirks
from openai_proxy.providers.translate.converter import Converter, GatheredConverter, is_tangled
from openai_proxy.providers.translate.estimate import estimated_input_tokens
from openai_proxy.providers.translate.event import decoded_text, encode
from openai_proxy.providers.translate.field import completion_fields, message_fields
from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.refusal import ANTHROPIC
from openai_proxy.providers.translate.to_chat.answer import completion
from openai_proxy.providers.translate.to_chat.error import completion_error
from openai_proxy.providers.translate.to_chat.request import completion_request
from openai_proxy.providers.translate.to_chat.stream import CompletionStream
from openai_proxy.providers.translate.to_messages.answer import message
from openai_proxy.providers.translate.to_messages.error import message_error
from openai_proxy.providers.translate.to_messages.request import messages_request
from openai_proxy.providers.translate.to_messages.stream import MessageStream
from openai_proxy.providers.translate.traits import ChatTraits, MessagesTraits, chat_traits, messages_traits
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer, Untranslatable, too_deep
from openai_proxy.wire.fields import Field, values_of

ANTHROPIC_VERSION: Final = b"2023-06-01"
"""The older of two: the newer one refuses temperature, top_p and top_k."""

_CHAT: Final = b"/v1/chat/completions"
_MESSAGES: Final = b"/v1/messages"
_COUNT_TOKENS: Final = b"/v1/messages/count_tokens"
_JSON: Final = (b"Content-Type", b"application/json")
_PLAIN: Final = (b"Accept-Encoding", b"identity")
"""What is zipped cannot be translated as it comes."""
_OF_REQUEST_BODY: Final = frozenset({b"content-type", b"content-length", b"accept-encoding"})
_OF_ANSWER_BODY: Final = frozenset(
    {b"content-length", b"content-encoding", b"content-md5", b"content-digest", b"digest", b"etag"}
)
"""What is said of the upstream's bytes, and is not true of ours."""

_any = msgspec.json.Decoder()


class Options(Struct, frozen=True, kw_only=True):
    """What is known of the upstream; made once for each."""

    max_output_tokens: int | None = None
    """Asked for where the client set no bound and Anthropic requires one; None: by the model's name."""
    includes_usage: bool = True
    """Whether chat streams are asked for their usage; some servers refuse to be."""
    quirks: Quirks = NO_QUIRKS
    """How its chat completions count."""
    messages_traits: MessagesTraits | None = None
    """In the stead of what the model's name says; ``chat_traits`` too."""
    chat_traits: ChatTraits | None = None


DEFAULT_OPTIONS: Final = Options()


class Translation:
    """One request for an upstream of the other dialect. It may be sent several times, and answered so."""

    body = b""
    """What to send, JSON."""
    path = b""
    """Where to, in our terms: ``/v1/messages`` or ``/v1/chat/completions``."""
    endpoint = ""
    """What the upstream's answer is read as: ``messages`` or ``chat_completions``."""
    dropped: tuple[str, ...] = ()
    """What the client asked for and the model is not asked (``dropped.NAMES``)."""
    answer: bytes | None = None
    """If given, nothing is to be sent: this is the answer, 200 and ``application/json``."""

    def request_fields(self, fields: list[Field]) -> list[Field]:
        """The header fields to send, out of all that would be sent, the provider's own with them."""
        raise NotImplementedError

    def answer_fields(self, status: int, fields: list[Field], now: float) -> list[Field]:
        """The header fields of an answer, out of its upstream's; without a length.

        :param now: Unix time in seconds.
        """
        raise NotImplementedError

    def body_converter(self, status: int, is_stream: bool, now: float) -> Converter:
        """For one answer. An error's body is gathered, whatever its type.

        :param is_stream: whether its type is ``text/event-stream``.
        :param now: Unix time in seconds.
        """
        raise NotImplementedError


class Kind:
    """A pair of dialects and an endpoint."""

    __slots__ = ("_translated",)

    def __init__(self, translated: Callable[[Json, str, Options], Translation]) -> None:
        self._translated = translated

    def request(self, body: bytes, model: str, options: Options = DEFAULT_OPTIONS) -> Translation:
        """Raises :class:`Untranslatable` for what the other dialect, or the model, cannot be asked.

        :param body: as the client sent it, JSON.
        :param model: what the upstream calls the model; said in the stead of what the client said.
        """
        if is_tangled(body):
            raise Untranslatable("The request's body has too many parts to be translated.")
        decoded = decoded_text(_any, body)
        if not isinstance(decoded, dict):
            raise Untranslatable("The request's body is not a JSON object.")
        try:
            return self._translated(decoded | {"model": model}, model, options)
        except RecursionError:
            raise too_deep() from None


def translation_for(client_dialect: str, provider_dialect: str, method: bytes, path: bytes) -> Kind | None:
    """What translates such a request; None if nothing does: it goes on as it is.

    :param path: ours, with or without its query.
    """
    if client_dialect == provider_dialect or method != b"POST":
        return None
    return _KINDS.get((client_dialect, path.partition(b"?")[0].rstrip(b"/")))


def error_converter(client_dialect: str, status: int) -> Converter:
    """For an error of the other dialect's provider, in answer to what is not translated."""
    error = message_error if client_dialect == ANTHROPIC else completion_error
    return GatheredConverter(status, _no_answer, error)


def _no_answer(body: Json) -> Json:
    raise UnreadableAnswer("no error")


class _Completion(Translation):
    """A chat completion for a Messages upstream."""

    path = _MESSAGES
    endpoint = "messages"

    def __init__(self, body: Json, model: str, options: Options) -> None:
        traits = options.messages_traits or messages_traits(model)
        if options.max_output_tokens is not None:
            traits = replace(traits, max_output_tokens=options.max_output_tokens)
        made = messages_request(body, traits)
        # To the letter: whoever chose the upstream knows its names.
        self.body = encode(made.body | {"model": model})
        self.dropped = made.dropped
        self._betas = tuple(beta.encode("ascii", "replace") for beta in made.betas)
        self._model = model
        self._include_usage = made.include_usage
        self._answer_tool = made.answer_tool

    def request_fields(self, fields: list[Field]) -> list[Field]:
        kept = _kept(fields, _OF_REQUEST_BODY | {b"anthropic-beta"}, b"openai-")
        kept += (_JSON, _PLAIN)
        if not values_of(kept, b"anthropic-version"):
            kept.append((b"anthropic-version", ANTHROPIC_VERSION))
        betas = dict.fromkeys((*values_of(fields, b"anthropic-beta"), *self._betas))
        if betas:
            kept.append((b"anthropic-beta", b",".join(betas)))
        return kept

    def answer_fields(self, status: int, fields: list[Field], now: float) -> list[Field]:
        return completion_fields(_answer_fields(status, fields), now)

    def body_converter(self, status: int, is_stream: bool, now: float) -> Converter:
        if is_stream and status < 400:
            return CompletionStream(self._model, int(now), self._include_usage, self._answer_tool)
        answer = partial(completion, created=int(now), answer_tool=self._answer_tool)
        return GatheredConverter(status, answer, completion_error)


class _Message(Translation):
    """A message for an upstream of chat completions."""

    path = _CHAT
    endpoint = "chat_completions"

    def __init__(self, body: Json, model: str, options: Options) -> None:
        traits = options.chat_traits or chat_traits(model)
        if not options.includes_usage:
            traits = replace(traits, takes_stream_options=False)
        made = completion_request(body, traits)
        self.body = encode(made.body)
        self.dropped = made.dropped
        self._model = model
        self._quirks = options.quirks
        self._estimate = estimated_input_tokens(body) if body.get("stream") is True else 0

    def request_fields(self, fields: list[Field]) -> list[Field]:
        return [*_kept(fields, _OF_REQUEST_BODY, b"anthropic-"), _JSON, _PLAIN]

    def answer_fields(self, status: int, fields: list[Field], now: float) -> list[Field]:
        return message_fields(_answer_fields(status, fields), now)

    def body_converter(self, status: int, is_stream: bool, now: float) -> Converter:
        if is_stream and status < 400:
            return MessageStream(self._model, self._estimate, self._quirks)
        return GatheredConverter(status, partial(message, quirks=self._quirks), message_error)


class _TokenCount(Translation):
    """How many tokens a message has: servers of OpenAI's dialect have nothing that would say it."""

    def __init__(self, body: Json, model: str, options: Options) -> None:
        self.answer = encode({"input_tokens": estimated_input_tokens(body)})


def _kept(fields: list[Field], dropped: frozenset[bytes], prefix: bytes) -> list[Field]:
    """Without those names, in lower case, and those that begin so: the other side's own."""
    lower = [(name.lower(), (name, value)) for name, value in fields]
    return [field for name, field in lower if name not in dropped and not name.startswith(prefix)]


def _answer_fields(status: int, fields: list[Field]) -> list[Field]:
    kept: list[Field] = []
    is_json = True
    for name, value in fields:
        lower = name.lower()
        if lower == b"content-type":
            is_json = status >= 400 or value[:17].lower() != b"text/event-stream"
            if is_json:
                continue
        if lower not in _OF_ANSWER_BODY:
            kept.append((name, value))
    return [*kept, _JSON] if is_json else kept


_KINDS: Final[dict[tuple[str, bytes], Kind]] = {
    ("openai", _CHAT): Kind(_Completion),
    ("anthropic", _MESSAGES): Kind(_Message),
    ("anthropic", _COUNT_TOKENS): Kind(_TokenCount),
}
"""By the client's dialect and our path; the provider's is the other one."""
