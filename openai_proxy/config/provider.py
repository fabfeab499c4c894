"""What is said of a provider, in the catalogue and in an operator's file alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import filterfalse
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, field

from openai_proxy.config.secret import Secret
from openai_proxy.config.section import Broken, Section
from openai_proxy.config.settings import Seconds
from openai_proxy.config.url import root_url, split_path

ProviderName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
        description="lower-case letters, digits, - and _, a letter first, at most 32",
    ),
]
MemberName = Annotated[str, Meta(min_length=1, max_length=64)]

PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")
MODEL: Final = "model"
"""The parameter of a path that each request fills in."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUERY_NAME: Final = re.compile(r"[A-Za-z0-9._~-]+")
_FIELD_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_PARAMETER_VALUE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_VERSION: Final = re.compile(r"v[0-9]+([a-z]+[0-9]*|\.[0-9]+)?")
"""A segment such as ``v1``, ``v1beta``, ``v1alpha2``, ``v2.1``."""
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~{}-]+)*")

CREDENTIAL_FIELDS: Final = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key"})
"""Every spelling of a key in a header field, in lower case."""
_NOT_CONSTANT: Final = frozenset(
    {"host", "connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer"}
    | {"transfer-encoding", "content-length", "content-encoding", "content-type", "upgrade", "expect"}
)


class Credential(Section, frozen=True):
    """How a provider wants its key."""

    place: Literal["header", "query"] = field(name="in", default="header")
    """Where it stands: in a header field, or in the query."""
    name: MemberName = "Authorization"
    """The field's name, or the query parameter's."""
    prefix: str = "Bearer "
    """What stands before the key, with its space."""

    def rules(self) -> Iterator[Broken]:
        if not _TOKEN.fullmatch(self.name) or self.name.lower() in _NOT_CONSTANT:
            yield "name", "no name that a key can have"
        if not _FIELD_VALUE.fullmatch(self.prefix):
            yield "prefix", "has characters that a header field cannot have"


class Token(Section, frozen=True):
    """A key that expires: it is fetched anew, by a command or out of a file."""

    command: tuple[str, ...] = ()
    """A program and its arguments, without a shell; the first line that it prints is the token."""
    file: str | None = None
    """A file that something else keeps fresh."""
    refresh_seconds: Seconds = 1800.0
    """How long one is used, at most."""

    def rules(self) -> Iterator[Broken]:
        if bool(self.command) == bool(self.file):
            yield "", "either `command` or `file` is wanted"
        # A daemon has no folder of its own, and PATH is not the operator's.
        if self.command and not self.command[0].startswith("/"):
            yield "command", "begins with the absolute path of a program"
        if self.file and not self.file.startswith("/"):
            yield "file", "an absolute path is wanted"


class Quirks(Section, frozen=True):
    """Where a provider differs from its dialect, by what is to be done about it."""

    rename: dict[MemberName, MemberName] = field(default_factory=dict)
    """Members of a request's body: theirs instead of ours, unless theirs is there too."""
    drop: tuple[MemberName, ...] = ()
    """Members of a request's body that it refuses."""
    strip_stream_options: bool = False
    """It refuses `stream_options`: taken out, and never put in."""
    fix_tool_index: bool = False
    """Tool calls in its streams have no `index`, or all the same: they are numbered by their ids."""
    fix_finish_reason: bool = False
    """It says `stop` after tool calls: `tool_calls` is said instead."""
    fix_error_list: bool = False
    """Its errors come in a list (`[{"error": ...}]`): the first is taken out of it."""
    additive_usage: tuple[Literal["reasoning", "citations"], ...] = ()
    """What it counts beside `completion_tokens`, not in them."""

    @property
    def fixes_answers(self) -> bool:
        """Whether its answers are put right."""
        return self.fix_tool_index or self.fix_finish_reason or self.fix_error_list

    def rules(self) -> Iterator[Broken]:
        both = sorted({*self.rename, *self.rename.values()} & set(self.drop))
        if both:
            yield "drop", f"renamed as well: {', '.join(both)}"
        if set(self.rename) & set(self.rename.values()):
            yield "rename", "renames what it has renamed"


class ModelPaths(Section, frozen=True):
    """Endpoints whose path names the model (Azure's deployments)."""

    prefix: str
    """In place of `path_prefix`, with `{model}` in it."""
    endpoints: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Which: `chat/completions`, ..."""

    def rules(self) -> Iterator[Broken]:
        if PARAMETER.findall(self.prefix) != [MODEL] or not _PREFIX.fullmatch(self.prefix):
            yield "prefix", "begins with a slash, ends without one, and has {model} in it once"


class Provider(Section, frozen=True):
    """One upstream service. What is not given is the catalogue's, if the catalogue knows the name."""

    like: str | None = None
    """The catalogue's entry that this one is laid over, where its own name is none of the catalogue's."""
    base_url: str | None = None
    """Its root. A path such as the SDKs take (`https://host/v1`) is the `path_prefix`, if none is given."""
    path_prefix: str | None = None
    """What stands there in place of our `/v1`. Not given, and no path in `base_url`: `/v1`."""
    parameters: dict[str, str] = field(default_factory=dict)
    """What the `{names}` in the catalogue's `base_url` and `path_prefix` stand for."""
    dialect: Literal["openai", "anthropic"] = "openai"
    """The form of its requests and answers."""
    api_key: Secret | None = None
    """Its key, by reference. Without one the client's own key travels on."""
    token: Token | None = None
    """Instead of `api_key`, where keys expire."""
    client_key: Literal["forward", "drop"] = "forward"
    """What becomes of a client's key where there is none of ours; `drop` for servers that want none."""
    credential: Credential = Credential()
    """How it wants the key."""
    native_credential: Credential | None = None
    """How it wants the key outside of `path_prefix`, if in another way (Gemini's own API)."""
    headers: dict[MemberName, str] = field(default_factory=dict)
    """Header fields that each request gets, unless the client sent them."""
    drop_headers: tuple[MemberName, ...] = ()
    """Header fields of the client that it must not see when the key is ours."""
    query: dict[MemberName, str] = field(default_factory=dict)
    """Query parameters that each request gets, unless the client sent them."""
    model_paths: ModelPaths | None = None
    """Endpoints whose path names the model."""
    stream_usage: Literal["on_request", "always"] = "on_request"
    """Whether its streams tell their usage only when asked (`stream_options.include_usage`)."""
    quirks: Quirks = Quirks()
    """Where it differs from its dialect."""
    priced_as: str | None = None
    """Whose price list holds for it; not given: the catalogue entry's name, or its own."""

    def rules(self) -> Iterator[Broken]:
        if self.path_prefix is not None and not _PREFIX.fullmatch(self.path_prefix):
            yield "path_prefix", "is empty, or begins with a slash and ends without one"
        for name in self.parameters:
            if not _PARAMETER_VALUE.fullmatch(self.parameters[name]):
                yield "parameters", f"{name!r}: letters, digits, '.', '-' and '_' are wanted"
        if self.api_key is not None and self.token is not None:
            yield "token", "there is an `api_key` too: one of them is wanted"
        yield from self._wrong_headers()
        for name in filterfalse(_QUERY_NAME.fullmatch, self.query):
            yield "query", f"{name!r} cannot be given here"

    def _wrong_headers(self) -> Iterator[Broken]:
        for key in ("headers", "drop_headers"):
            yield from ((key, f"{name!r} cannot be given here") for name in _no_names(getattr(self, key)))
        for name, value in self.headers.items():
            if name.lower() in CREDENTIAL_FIELDS:
                yield "headers", f"{name} is a key's place: give it as `api_key`, with `credential`"
            elif not _FIELD_VALUE.fullmatch(value):
                yield "headers", f"{name} has characters that a header field cannot have"

    @property
    def has_key(self) -> bool:
        """Whether the key is ours."""
        return self.api_key is not None or self.token is not None

    @property
    def keeps_client_key(self) -> bool:
        """Whether a client's own key goes to it."""
        return not self.has_key and self.client_key == "forward"

    @property
    def wanted_parameters(self) -> frozenset[str]:
        """The names in braces that ``parameters`` has to give."""
        names = (name for text in (self.base_url, self.path_prefix) for name in PARAMETER.findall(text or ""))
        return frozenset(names) - {MODEL}


def by_own_url(provider: Provider) -> Provider:
    """An operator's ``base_url`` over a catalogue's ``path_prefix``: which of the two says where ``/v1`` is.

    A path that ends with the catalogue's prefix has it. Any other path with a version's segment
    (``/v1``, ``/v1beta/openai``) is where the SDKs' paths begin, and the catalogue's prefix goes: it is of
    another server. A path without one (``/mock``, ``/gate/groq``) is where the whole API was put, and the
    prefix follows it.
    """
    _, path = split_path((provider.base_url or "").rstrip("/"))
    prefix = provider.path_prefix
    if prefix and path.endswith(prefix):
        return provider
    if any(map(_VERSION.fullmatch, path.split("/"))):
        return msgspec.structs.replace(provider, path_prefix=None)
    return provider


def resolved(provider: Provider, laid_over: Provider | None, name: str) -> Provider:
    """With its parameters put in, and root and prefix apart, ready for use. Raises ValueError.

    ``laid_over`` is the catalogue's entry, if it was made over one.
    """
    if provider.base_url is None:
        raise ValueError("no base_url")
    given = dict(provider.parameters)
    url = root_url(_filled(provider.base_url, given))
    prefix = None if provider.path_prefix is None else _filled(provider.path_prefix, given)
    root, path = split_path(url)
    if prefix is None:
        url, prefix = (root, path) if path else (root, "/v1")
    elif prefix and path.endswith(prefix):
        # As the SDKs take it, prefix included: once is enough.
        url = url[: -len(prefix)]
    priced_as = provider.priced_as or ((provider.like or name) if laid_over else name)
    return msgspec.structs.replace(
        provider, base_url=url, path_prefix=prefix, priced_as=priced_as, parameters={}, like=None
    )


def _filled(template: str, values: dict[str, str]) -> str:
    return PARAMETER.sub(lambda match: values.get(match[1], match[0]), template)


def _no_names(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not _TOKEN.fullmatch(name) or name.lower() in _NOT_CONSTANT)
