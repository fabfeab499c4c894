"""The ports of one daemon, each with what it leads to: opened, changed and closed together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort

from openai_proxy.config.settings import Listen
from openai_proxy.process.listening import Listeners

if TYPE_CHECKING:
    from openai_proxy.wire.server_tls import Prepared, ServerTLS


class CannotOpen(Exception):
    """A door that cannot be opened, and why: ``place``, ``cause``."""

    def __init__(self, place: str, listen: Listen, cause: Exception) -> None:
        super().__init__(f"{place} {listen.description}: {cause}")
        self.place = place
        self.listen = listen
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Wanted:
    """A port that is to be open."""

    listen: Listen
    site: Any
    """The factory of its connections."""
    place: str
    """Where that was said, for errors."""


@dataclass(slots=True, eq=False)
class Door:
    """A port that is open."""

    wanted: Wanted
    port: IListeningPort
    tls: ServerTLS | None

    @property
    def is_secure(self) -> bool:
        """Whether its clients come over TLS."""
        return self.tls is not None or self.wanted.listen.description.startswith("ssl:")


class Doors:
    """What is open now. A change is prepared first, and can be undone until it is used."""

    def __init__(self, listeners: Listeners, clock: Any) -> None:
        self.listeners = listeners
        self._clock = clock
        self.open: list[Door] = []

    def prepare(self, wanted: Sequence[Wanted]) -> Change:
        """What is needed for these to be open and no others: certificates read, new ports opened.

        Raises CannotOpen for the first that cannot be; nothing has changed then.
        """
        change = Change(self, list(self.open))
        try:
            for one in wanted:
                change.add(one)
        except BaseException:
            change.undo()
            raise
        return change

    def opened(self, wanted: Wanted) -> Door:
        """A new one."""
        tls = _tls_of(wanted)
        try:
            factory = wanted.site if tls is None else tls.wrap(wanted.site, self._clock)
            return Door(wanted, self.listeners.open(wanted.listen, factory), tls)
        except Exception as error:
            # Each kind of endpoint fails in its own way.
            raise CannotOpen(wanted.place, wanted.listen, error) from None

    def certificates(self) -> dict[str, Callable[[], float]]:
        """For each door with TLS of ours, what tells when its certificate expires, in unix time."""
        return {
            door.wanted.listen.description: _expiry(door.tls) for door in self.open if door.tls is not None
        }

    def warnings(self, unix_seconds: float) -> list[str]:
        """What clients will not like about the certificates that are used."""
        every = [door.tls.used.warning(unix_seconds) for door in self.open if door.tls is not None]
        return [line for line in every if line is not None]


class Change:
    """From what is open to what is wanted."""

    def __init__(self, doors: Doors, before: list[Door]) -> None:
        self._doors = doors
        self._left = before
        """Those that nobody has asked for yet."""
        self._kept: list[Door] = []
        self._new: list[Door] = []
        self._prepared: list[tuple[Door, Wanted, ServerTLS, Prepared]] = []
        self.lines: list[str] = []
        """What clients will see of it, besides what the configuration says."""

    def add(self, wanted: Wanted) -> None:
        """One more is wanted. Raises CannotOpen."""
        same = [one for one in self._left if one.wanted.listen.description == wanted.listen.description]
        # Two may be described alike: each is any port that is free.
        door = next((one for one in same if one.wanted.site is wanted.site), same[0] if same else None)
        if door is None:
            self._new.append(self._doors.opened(wanted))
            return
        if (door.tls is None) != (wanted.listen.certificate is None) or door.wanted.site is not wanted.site:
            raise CannotOpen(wanted.place, wanted.listen, ValueError("what it leads to changes at a restart"))
        self._left.remove(door)
        self._kept.append(door)
        tls = _tls_of(wanted)
        if tls is not None and door.tls is not None:
            prepared = tls.used
            difference = door.tls.difference(prepared)
            if difference is not None:
                self.lines.append(difference)
            self._prepared.append((door, wanted, door.tls, prepared))

    def undo(self) -> None:
        """Close what was opened for it; what was open is as it was."""
        for door in self._new:
            Deferred.fromCoroutine(self._doors.listeners.close(door.port))

    def use(self) -> list[IListeningPort]:
        """Take it: the ports that are left, and have to be closed."""
        for door, wanted, tls, prepared in self._prepared:
            tls.use(prepared)
            door.wanted = wanted
        self._doors.open = [*self._kept, *self._new]
        return [door.port for door in self._left]

    @property
    def new(self) -> list[Door]:
        """What was opened for it."""
        return self._new


def _tls_of(wanted: Wanted) -> ServerTLS | None:
    """With its certificate, which is good. Raises CannotOpen."""
    listen = wanted.listen
    if listen.certificate is None:
        return None
    # Memory that a daemon without TLS is spared.
    from openai_proxy.wire.server_tls import ServerTLS

    # The place is told with the listener, as of all that keeps it from being opened.
    tls = ServerTLS("", listen.certificate, listen.key)
    try:
        tls.use(tls.load())
    except (OSError, ValueError) as error:
        raise CannotOpen(wanted.place, listen, error) from None
    return tls


def _expiry(tls: ServerTLS) -> Callable[[], float]:
    return lambda: tls.not_after
