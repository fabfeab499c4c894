"""Several processes, asked and shown as one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import chain
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace
from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from openai_proxy.process.link import Link
from openai_proxy.process.merging import merged, retained
from openai_proxy.process.operations import ErrorSeen, Family, InFlight, Operations, Reloaded

LOOK_SECONDS: Final = 2.0
"""Between two looks at the numbers of a process: what it counts after the last is lost if it is killed."""

ANSWER_SECONDS: Final = 10.0
"""After this a process is passed over, and nobody waits for it until it answers again."""

PATIENCE_SECONDS: Final = 5.0
"""What it has when somebody waits for all of them: a scrape has ten seconds in all."""

ERRORS_SHOWN: Final = 50

_encode = msgspec.msgpack.encode
_families = msgspec.msgpack.Decoder(list[Family]).decode


class _Member:
    def __init__(self, link: Link, number: int | None) -> None:
        self.link = link
        self.number = number
        self.families: bytes = _encode([])
        """The last that it said, encoded: mostly nobody wants to know before it says the next."""
        self.is_last = False
        """It has told them by itself, before its end: what is on its way from it is older."""
        self.is_looked_at = False
        self.is_silent = False
        """It has not answered for so long that nobody waits for it."""


class Peers:
    """This process, if it serves too, and others at the ends of links: their operations as of one daemon.

    One that does not answer in time is passed over, but for the numbers that it said last. Those that have
    come from a process that is gone go on to count, except for its gauges.
    """

    _log = Logger()

    def __init__(self, reactor: Any, local: Operations | None = None) -> None:
        """:param local: what this process itself does; None: nothing."""
        self._reactor = reactor
        self._local = local
        self._members: dict[Link, _Member] = {}
        self._retained: list[Family] = []
        self._next_look: Any = None
        self.reloaded: Callable[[Reloaded], object] = bool
        """Called with what came of a reload, when all have said it."""

    def start(self) -> None:
        """Look at everyone's numbers every two seconds, until :meth:`stop`."""
        self._next_look = self._reactor.callLater(LOOK_SECONDS, self.start)
        for member in list(self._members.values()):
            if not member.is_looked_at:
                member.is_looked_at = True
                self._look(member, ANSWER_SECONDS).addCallback(self._looked, member)

    def stop(self) -> None:
        """Look no more. May be called again."""
        call, self._next_look = self._next_look, None
        if call is not None:
            call.cancel()

    def join(self, link: Link, number: int | None = None) -> None:
        """One more. ``number``: of a worker; without one it is a process that is about to end: it is shown,
        and not asked to reload.
        """
        member = self._members[link] = _Member(link, number)
        self._look(member, ANSWER_SECONDS)

    def leave(self, link: Link) -> None:
        """It is gone. May be called again."""
        member = self._members.pop(link, None)
        if member is not None:
            self._retained = merged((self._retained, retained(_families(member.families))))

    def told(self, link: Link, families: Any) -> None:
        """Its last numbers, which it has told before its end. ``families``: as they came."""
        member = self._members.get(link)
        if member is not None:
            member.families = _encode(msgspec.convert(families, list[Family]))
            member.is_last = True

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process, and was none."""
        return not self._members and not self._retained

    def families(self, names: Collection[str] | None = None) -> Deferred[list[Family]]:
        """All metrics, of all processes as one; or only the families with these names."""
        return Deferred.fromCoroutine(self._all_families(names))

    async def _all_families(self, names: Collection[str] | None) -> list[Family]:
        own = [] if self._local is None else await self._local.families(names)
        fresh: dict[_Member, list[Family]] = {}
        if names is None:
            await gatherResults([self._look(member, PATIENCE_SECONDS) for member in self._talking()])
        else:
            fresh = dict(await self._asked("families", sorted(names), list[Family]))
        # Nobody goes between here and the end: each is counted once, as fresh, as kept, or as retained.
        others = [
            _only(_families(member.families), names)
            if member.is_last or member not in fresh
            else fresh[member]
            for member in self._members.values()
        ]
        return merged((own, *others, _only(self._retained, names)))

    def in_flight(self) -> Deferred[list[InFlight]]:
        """Every exchange now, the oldest first."""
        return Deferred.fromCoroutine(self._in_flight())

    async def _in_flight(self) -> list[InFlight]:
        own = [] if self._local is None else await self._local.in_flight()
        others = await self._asked("in_flight", None, list[InFlight])
        numbered = (_numbered(one, member.number) for member, some in others for one in some)
        return sorted((*own, *numbered), key=lambda one: -one.age_seconds)

    def last_errors(self) -> Deferred[list[ErrorSeen]]:
        """The last exchanges that ended badly, the latest first."""
        return Deferred.fromCoroutine(self._last_errors())

    async def _last_errors(self) -> list[ErrorSeen]:
        own = [] if self._local is None else await self._local.last_errors()
        others = await self._asked("last_errors", None, list[ErrorSeen])
        every = chain(own, *(errors for _, errors in others))
        return sorted(every, key=lambda one: -one.at_seconds)[:ERRORS_SHOWN]

    def end(self, request_id: str) -> Deferred[bool]:
        """End an exchange, whoever has it. False: nobody has."""
        return Deferred.fromCoroutine(self._end(request_id))

    async def _end(self, request_id: str) -> bool:
        own = self._local is not None and await self._local.end(request_id)
        others = await self._asked("end", request_id, bool)
        return own or any(is_ended for _, is_ended in others)

    def reload(self) -> Deferred[Reloaded]:
        """Every process reads the configuration again. A line that several say is there once."""
        return Deferred.fromCoroutine(self._reload()).addCallback(self._tell_reloaded)

    async def _reload(self) -> Reloaded:
        came = [] if self._local is None else [await self._local.reload()]
        if not all(one.is_done for one in came):
            # Nobody else is to have what this one refuses.
            return came[0]
        asked = [member for member in self._members.values() if member.number is not None]
        answers = dict(await self._asked("reload", None, Reloaded, asked))
        for member in asked:
            no_answer = Reloaded(False, [f"worker {member.number} did not answer"])
            came.append(answers.get(member, no_answer))
        lines = dict.fromkeys(line for one in came for line in one.lines)
        return Reloaded(all(one.is_done for one in came), list(lines))

    def _tell_reloaded(self, reloaded: Reloaded) -> Reloaded:
        self.reloaded(reloaded)
        return reloaded

    def _talking(self) -> list[_Member]:
        return [member for member in self._members.values() if not member.is_silent]

    def _look(self, member: _Member, seconds: float) -> Deferred[bool]:
        """Ask for its numbers, and keep them: whether it has answered, or is gone. Never fails."""
        # As bytes: they are read when somebody asks for them, or it is gone.
        asked = member.link.ask("families", kind=Raw).addTimeout(seconds, self._reactor)
        return asked.addCallbacks(self._keep, _is_no_silence, (member,))

    @staticmethod
    def _keep(families: Raw, member: _Member) -> bool:
        if not member.is_last:
            member.families = bytes(families)
        return True

    def _looked(self, has_answered: bool, member: _Member) -> None:
        member.is_looked_at = False
        if member.is_silent == has_answered:
            member.is_silent = not has_answered
            who = "The process before this one" if member.number is None else f"Worker {member.number}"
            if has_answered:
                self._log.info("{who} answers again", who=who)
            else:
                self._log.warn("{who} has not answered for {seconds:g} s", who=who, seconds=ANSWER_SECONDS)

    async def _asked(
        self, what: str, argument: Any, kind: Any, members: Iterable[_Member] | None = None
    ) -> list[tuple[_Member, Any]]:
        """What each says that answers in time."""
        asked = self._talking() if members is None else list(members)
        seconds = PATIENCE_SECONDS if members is None else ANSWER_SECONDS
        answers = await gatherResults(
            member.link.ask(what, argument, kind).addTimeout(seconds, self._reactor).addErrback(_passed_over)
            for member in asked
        )
        return [(member, answer) for member, answer in zip(asked, answers, strict=True) if answer is not None]


def _is_no_silence(failure: Failure) -> bool:
    return not failure.check(TimeoutError)


def _passed_over(_: Failure) -> None:
    """It is gone, or does not answer, or cannot."""


def _only(families: list[Family], names: Collection[str] | None) -> list[Family]:
    return families if names is None else [family for family in families if family.name in names]


def _numbered(one: InFlight, number: int | None) -> InFlight:
    return one if number is None else replace(one, worker=number)


def answering(operations: Operations) -> Callable[[str, Any], Any]:
    """What answers a link's other side when it asks for the operations of this one. LookupError if it asks
    for anything else.
    """

    def answer(what: str, argument: Any) -> Any:
        if what == "end":
            return operations.end(str(argument))
        if what == "families":
            return operations.families(argument)
        if what in ("in_flight", "last_errors", "reload"):
            return getattr(operations, what)()
        raise LookupError(f"nobody here knows of {what!r}")

    return answer


class AskedOperations:
    """The operations of the other side of a link. They fail as :meth:`Link.ask` does."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def families(self, names: Collection[str] | None = None) -> Deferred[list[Family]]:
        """All metrics that the other side knows of, or only some families."""
        return self._link.ask("families", None if names is None else sorted(names), list[Family])

    def in_flight(self) -> Deferred[list[InFlight]]:
        """Every exchange that it knows of."""
        return self._link.ask("in_flight", kind=list[InFlight])

    def last_errors(self) -> Deferred[list[ErrorSeen]]:
        """The last that ended badly."""
        return self._link.ask("last_errors", kind=list[ErrorSeen])

    def end(self, request_id: str) -> Deferred[bool]:
        """End an exchange, through it."""
        return self._link.ask("end", request_id, bool)

    def reload(self) -> Deferred[Reloaded]:
        """Let it read the configuration again."""
        return self._link.ask("reload", kind=Reloaded)
