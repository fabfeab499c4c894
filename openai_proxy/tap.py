"""``twistd openaiproxy``: from options to the daemon; the only reader of the global reactor."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService
from twisted.logger import Logger
from twisted.python import log

from openai_proxy.config.setup import Setup
from openai_proxy.options import Options, check_endpoint
from openai_proxy.process.daemon_log import with_log
from openai_proxy.process.listening import Socket, inherited_sockets

if TYPE_CHECKING:
    from openai_proxy.parent import Parent
    from openai_proxy.service import ProxyService

__all__ = ["Options", "makeService"]

_log = Logger()


def call_plainly(logger: Any, func: Any, *args: Any, **kw: Any) -> Any:
    """What the reactor calls for each event, without the context that names the connection to
    log events of Twisted's old kind: there are none here, and it costs 3 % of a request.
    """
    try:
        return func(*args, **kw)
    except KeyboardInterrupt:
        raise
    except BaseException:
        _log.failure("Unhandled error in {kind}", kind=type(logger).__name__)


def _steady(reactor: Any) -> None:
    """Let the reactor's clock go on when the machine's is set: else deadlines pass at once, or never."""
    if not reactor.running and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic


def _quiet() -> None:
    """What of the interpreter and of Twisted costs every request something, and gives it nothing."""
    # An exchange leaves no cycles behind (a test says so), so the collector has next to
    # nothing to do; by default it would take a tenth of the time, and with thousands of
    # streams stop them all for a tenth of a second to find that out.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    log.callWithLogger = call_plainly


def makeService(options: Options) -> IService:
    """The daemon that these options describe. A bad value ends the process with one line."""
    from twisted.internet import reactor

    _steady(reactor)
    try:
        service = _daemon(options, reactor)
    except (ValueError, OSError) as error:
        print(f"openai_proxy: {error}", file=sys.__stderr__, flush=True)
        raise SystemExit(1) from None
    _quiet()
    return with_log(service, options.parent, options.settings.log)


def _check_endpoints(setup: Setup, reactor: Any, handed: Sequence[Socket]) -> None:
    """Raise ValueError for the first place to listen at that is none."""
    settings = setup.settings
    wanted = [(one.description, setup.listen_place(number)) for number, one in enumerate(settings.listen)]
    if settings.admin.listen is not None:
        wanted.append((settings.admin.listen.description, setup.admin_place))
    # systemd's variables, which its endpoints ask for, were for the first process only.
    known = {description for description, _ in handed}
    for description, place in wanted:
        if description not in known:
            check_endpoint(reactor, description, place)


def _daemon(options: Options, reactor: Any) -> MultiService:
    """One process that serves, one of several, or the parent of several. Raises ValueError or OSError."""
    from openai_proxy.lifecycle import Lifecycle, WorkerLife
    from openai_proxy.process.command_line import CommandLine
    from openai_proxy.process.worker import WORKER
    from openai_proxy.service import ProxyService

    setup, sockets = options.setup, inherited_sockets(os.environ)
    _check_endpoints(setup, reactor, sockets)
    reread = options.read_again if setup.configuration is not None else None
    twistd = options.parent if options.parent is not None else {}
    command = CommandLine.own()
    if os.environ.pop(WORKER, None) is not None:
        worker = ProxyService(setup, reactor, sockets=sockets, reread=reread)
        WorkerLife(reactor, worker, os.environ).setServiceParent(worker)
        return worker
    daemon: ProxyService | Parent
    if setup.settings.workers > 1:
        from openai_proxy.parent import Parent

        daemon = Parent(setup, reactor, command, os.environ, sockets, reread)
    else:
        daemon = ProxyService(setup, reactor, sockets=sockets, reread=reread)
    Lifecycle(reactor, daemon, os.environ, twistd, command).setServiceParent(daemon)
    return daemon
