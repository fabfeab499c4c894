"""The configuration file's top."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from openai_proxy.config.provider import Provider, ProviderName
from openai_proxy.config.routing import Breaker, Hedge, ModelName, Retry, Route
from openai_proxy.config.secret import Secret
from openai_proxy.config.section import Section
from openai_proxy.config.settings import Drain, Limits, Logging, PoolLimits, Positive, Timeouts
from openai_proxy.config.tracing import Tracing

FileName = Annotated[str, Meta(min_length=1, description="a file's name")]


class ListenerTLS(Section, frozen=True):
    """How clients are met over TLS. Both files are read again on a reload."""

    certificate: FileName
    """PEM file of the certificate, with those between it and a known authority behind it. A relative path is
    beside this file."""
    key: FileName | None = None
    """PEM file of its key; not given: it is in the certificate's file."""


class Listener(Section, frozen=True):
    """A port that clients connect to."""

    address: str = "8080"
    """A number, or a Twisted endpoint description (`tcp:8080:interface=127.0.0.1`)."""
    allow_anonymous: bool = False
    """Whether anyone who reaches it may use keys of ours, where others than this machine can reach it."""
    tls: ListenerTLS | None = None
    """For clients over TLS."""


class Admin(Section, frozen=True):
    """The operator's own port: metrics, health, what is in flight, pages.

    With it, clients are served none of these but health.
    """

    address: str | None = None
    """A number (on this machine's loopback interface), or a Twisted endpoint description."""
    token: Secret | None = None
    """What who asks there has to say (`Authorization: Bearer ...`); health is told to anyone."""
    tls: ListenerTLS | None = None
    """For who asks over TLS."""


class Observing(Section, frozen=True):
    """What is read of answers."""

    answers: bool = True
    """Tokens, costs, clocks and errors are read out of answers on their way."""
    include_usage: bool = True
    """Streams are asked for their usage where the client left that open."""


class PriceList(Section, frozen=True):
    """What models cost."""

    file: FileName | None = None
    """Prices of your own, .json or .toml, over the package's. A relative path is beside this file."""


class AccessLog(Section, frozen=True):
    """A line of JSON for each exchange."""

    file: FileName | None = None
    """Where to; `-` is stdout. A relative path is beside this file."""
    sample: Positive = 1
    """Of exchanges that are ok, only one of so many has a line."""


class File(Section, frozen=True):
    """All that a configuration file can say. Every key may be left out."""

    listeners: Annotated[tuple[Listener, ...], Meta(min_length=1)] = (Listener(),)
    """The ports."""
    admin: Admin = Admin()
    """The operator's own port."""
    providers: dict[ProviderName, Provider] = field(default_factory=dict)
    """The upstream services, by a name of yours, which is also their path (`/azure/...`)."""
    default_provider: str | None = None
    """Who gets what names no model; not given: the only one, or `openai`."""
    models: dict[ModelName, Route] = field(default_factory=dict)
    """Names that clients may ask for besides `provider/model`."""
    mock: bool = True
    """Whether `/mock/v1` is served."""
    ca_file: FileName | None = None
    """PEM file of a private authority, trusted besides the system's. A relative path is beside this file."""
    timeouts: Timeouts = Timeouts()
    """How long an upstream may take."""
    limits: Limits = Limits()
    """What a client may send, and how slowly."""
    pool: PoolLimits = PoolLimits()
    """Connections to one upstream."""
    observation: Observing = Observing()
    """What is read of answers."""
    prices: PriceList = PriceList()
    """What models cost."""
    access_log: AccessLog = AccessLog()
    """A line of JSON for each exchange."""
    retry: Retry = Retry()
    """When a request is tried again."""
    breaker: Breaker = Breaker()
    """When a target is left alone for a while."""
    hedge: Hedge = Hedge()
    """When a second target is asked because the first is slow."""
    drain: Drain = Drain()
    """How the daemon ends on SIGTERM."""
    log: Logging = Logging()
    """How the daemon says what happens to itself."""
    tracing: Tracing | None = None
    """Traces of requests; not given: none are made."""
    workers: Positive = 1
    """Processes that serve: about one for each core. It changes at an upgrade, not at a reload."""
