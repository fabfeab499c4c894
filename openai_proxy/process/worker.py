"""One of several processes that serve at the same sockets: what it tells its parent, and is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from openai_proxy.process.gossip import MADE, Gossip
from openai_proxy.process.link import adopt
from openai_proxy.process.operations import Operations
from openai_proxy.process.peers import AskedOperations, answering
from openai_proxy.process.upgrade import READY

WORKER: Final = "OPENAI_PROXY_WORKER"
"""The variable that tells a worker its number, from 1 on."""

DRAIN: Final = "drain"
END: Final = "end_now"
RETIRE: Final = "retire"
"""What a process says at its end, to its parent or its successor: its last numbers."""


class Worker:
    """The side of its link to its parent that a worker has.

    However often it is told to drain, it drains once: a supervisor like systemd sends its signals to every
    process of a daemon, and the parent passes on what it was sent.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        fd: int,
        operations: Operations,
        drain: Callable[[float | None], object],
        end: Callable[[], object],
    ) -> None:
        """:param fd: of the link.
        :param operations: of this process alone.
        :param drain: end in good order; called at most once, also when the parent is gone. Its argument: for
            how many seconds connections are still accepted; None: as the settings say.
        :param end: end now; called at most once, perhaps without ``drain`` before it.
        """
        self._operations = operations
        self._answer = answering(operations)
        self._calls: dict[str, Callable[[], object]] = {DRAIN: lambda: drain(self._grace_seconds), END: end}
        self._grace_seconds: float | None = None
        self._gossip: Gossip | None = None
        self._link = adopt(reactor, fd, self._asked, self._left_alone)
        self.parent: Operations = AskedOperations(self._link)
        """The operations of the whole daemon."""

    def share(self, gossip: Gossip) -> None:
        """What this process knows of objects is for the others, and theirs for it."""
        self._gossip = gossip
        gossip.join(self._link)

    def ready(self) -> None:
        """This process serves."""
        self._link.tell(READY, os.getpid())

    def drain(self) -> None:
        """End in good order, if that has not begun."""
        self._once(DRAIN)

    def leave(self) -> Deferred[None]:
        """Tell the last numbers; fires when the parent has them, or is gone. Nothing is counted after it."""
        telling = self._operations.families()
        telling.addCallback(lambda families: self._link.tell(RETIRE, families))
        telling.addErrback(self._not_told)
        return telling.addCallback(lambda _: self._link.close())

    def _not_told(self, failure: Failure) -> None:
        self._log.failure("The last numbers could not be told", failure)

    def _asked(self, what: str, argument: Any) -> Any:
        if what in (DRAIN, END):
            self._grace_seconds = argument
            self._once(what)
            return None
        if what == MADE and self._gossip is not None:
            self._gossip.heard(self._link, argument)
            return None
        return self._answer(what, argument)

    def _once(self, what: str) -> None:
        call = self._calls.pop(what, None)
        if call is not None:
            call()

    def _left_alone(self) -> None:
        self._log.error("The parent of the workers is gone: this one ends, too")
        self._once(DRAIN)
