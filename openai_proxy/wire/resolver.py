"""Looked-up names, remembered for a short time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

CACHE_SECONDS = 30.0


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Nothing to cancel: it is over when it is seen."""


@implementer(IResolutionReceiver)
class _Recorder:
    """Passes on what the resolver finds, and keeps it when it is complete."""

    def __init__(
        self, receiver: IResolutionReceiver, resolver: CachingResolver, key: tuple[str, int]
    ) -> None:
        self._receiver = receiver
        self._resolver = resolver
        self._key = key
        self._addresses: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        self._addresses.append(address)
        self._receiver.addressResolved(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        if self._addresses:
            self._resolver.remember(self._key, self._addresses)
        self._receiver.resolutionComplete()


@implementer(IHostnameResolver)
class CachingResolver:
    """The reactor's resolver with a memory of ``CACHE_SECONDS``; failures are not kept."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._found: dict[tuple[str, int], tuple[float, list[IAddress]]] = {}

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """See ``IHostnameResolver``."""
        key = (hostName, portNumber)
        until, addresses = self._found.get(key, (0.0, []))
        if until <= self._reactor.seconds():
            self._found.pop(key, None)
            found: IHostResolution = self._reactor.nameResolver.resolveHostName(
                _Recorder(resolutionReceiver, self, key),
                hostName,
                portNumber,
                addressTypes,
                transportSemantics,
            )
            return found
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        for address in addresses:
            resolutionReceiver.addressResolved(address)
        resolutionReceiver.resolutionComplete()
        return resolution

    def remember(self, key: tuple[str, int], addresses: list[IAddress]) -> None:
        self._found[key] = (self._reactor.seconds() + CACHE_SECONDS, addresses)

    def forget(self, host: str, port: int) -> None:
        """No connection came of these addresses: look the name up again next time."""
        self._found.pop((host, port), None)


@implementer(IReactorPluggableNameResolver)
class ReactorWithResolver:
    """The reactor as ``HostnameEndpoint`` sees it: with another resolver."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:  # noqa: N802
        """See ``IReactorPluggableNameResolver``."""
        self.nameResolver, previous = resolver, self.nameResolver
        return previous

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)
