"""Looked-up names, remembered for a short time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
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


def _addresses_of(name: str, port: int) -> list[IAddress]:
    """Ask the system, however long that takes; nothing where nothing is found."""
    try:
        found = socket.getaddrinfo(name, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    except (OSError, ValueError):
        # ValueError: a name that cannot be encoded (UnicodeError), or that has a NUL in it.
        return []
    kinds: dict[int, Callable[..., IAddress]] = {
        socket.AF_INET: IPv4Address,
        socket.AF_INET6: IPv6Address,
    }
    return [kinds[family]("TCP", *address) for family, _, _, _, address in found if family in kinds]


@implementer(IHostnameResolver)
class ThreadResolver:
    """Asks the system for TCP addresses, with a thread of its own for each look-up.

    The threads of the reactor's pool are few, and its end waits for them: ten names whose servers do not
    answer would keep all other names waiting, and one of them the daemon's end, for the ten or twenty seconds
    that resolv.conf(5) gives it. How many there are at a time is bounded by who asks: a name is asked
    for once.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """See ``IHostnameResolver``. The types of addresses are all, and the transport is TCP."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        arguments = (resolutionReceiver, hostName, portNumber)
        try:
            # daemon: the process's end does not wait for it.
            Thread(target=self._run, args=arguments, name=f"look-up {hostName}", daemon=True).start()
        except RuntimeError:
            # No thread is to be had: as if nothing had been found.
            self._reactor.callFromThread(_tell, resolutionReceiver, [])
        return resolution

    def _run(self, receiver: IResolutionReceiver, name: str, port: int) -> None:
        """The thread."""
        self._reactor.callFromThread(_tell, receiver, _addresses_of(name, port))


@implementer(IResolutionReceiver)
class _LookUp:
    """One look-up for all who want the name meanwhile: a slow one must not take every thread."""

    def __init__(self, resolver: CachingResolver, key: tuple[str, int]) -> None:
        self.receivers: list[IResolutionReceiver] = []
        self._resolver = resolver
        self._key = key
        self._addresses: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803
        """Each receiver was told when it joined."""

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        self._addresses.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        self._resolver.looked_up(self._key, self._addresses)
        for receiver in self.receivers:
            _tell(receiver, self._addresses)


def _tell(receiver: IResolutionReceiver, addresses: list[IAddress]) -> None:
    for address in addresses:
        receiver.addressResolved(address)
    receiver.resolutionComplete()


@implementer(IHostnameResolver)
class CachingResolver:
    """A resolver with a memory of ``CACHE_SECONDS``; failures are not kept."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._found: dict[tuple[str, int], tuple[float, list[IAddress]]] = {}
        self._looking_up: dict[tuple[str, int], _LookUp] = {}
        self.ended: dict[tuple[str, int], float] = {}
        """When the last look-up of each name was over."""

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
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        until, addresses = self._found.get(key, (0.0, []))
        if until > self._reactor.seconds():
            _tell(resolutionReceiver, addresses)
            return resolution
        self._found.pop(key, None)
        look_up = self._looking_up.get(key)
        if look_up is not None:
            look_up.receivers.append(resolutionReceiver)
            return resolution
        look_up = self._looking_up[key] = _LookUp(self, key)
        look_up.receivers.append(resolutionReceiver)
        self._resolver.resolveHostName(look_up, hostName, portNumber, addressTypes, transportSemantics)
        return resolution

    def looked_up(self, key: tuple[str, int], addresses: list[IAddress]) -> None:
        """A look-up is over; what it found is remembered, nothing is not."""
        self._looking_up.pop(key, None)
        self.ended[key] = self._reactor.seconds()
        if addresses:
            self.remember(key, addresses)

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
