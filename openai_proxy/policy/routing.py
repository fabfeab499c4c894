"""Which targets a request may go to, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from openai_proxy.config.routing import Route, RouteTimeouts, Target

_LONGEST_SHOWN: Final = 64
_MOST_COMPARED: Final = 256


class Random(Protocol):
    """The part of ``random.Random`` that decisions need."""

    def random(self) -> float:
        """From 0 until before 1."""


class Candidate(Struct, frozen=True, gc=False):
    """A target that may be tried."""

    provider: str
    model: str
    """What the provider calls it; empty if the request names none."""
    configured_model: str = ""
    """The same, if it is the configuration's word and no client's: fit for a label or a breaker's name."""


class Plan(Struct, frozen=True):
    """Where one request may go."""

    candidates: tuple[Candidate, ...]
    """At least one; the first is tried first."""
    route: str = ""
    """The configuration's name for it; empty if there is none."""
    timeouts: RouteTimeouts = RouteTimeouts()
    hedge: bool | None = None
    """None: as it is set for all."""

    def stuck_to(self, provider: str, model: str) -> Plan:
        """For what was created at ``provider``: that one alone, whatever happens there.

        :param model: the client's own text, for a provider that the plan does not have.
        """
        there = tuple(one for one in self.candidates if one.provider == provider)[:1]
        return replace(self, candidates=there or (Candidate(provider, model),))


class NoRoute(Exception):
    """The request names a provider or a model that there is not; the text is for its client.

    It quotes what the client asked for (cut short), so it is nothing for a log.
    """

    def __init__(self, message: str, param: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class Router:
    """Made once of a configuration; it keeps nothing of a request."""

    def __init__(
        self,
        providers: Collection[str],
        routes: Mapping[str, Route],
        default_provider: str | None,
        default_has_slashes: bool = False,
    ) -> None:
        """:param default_provider: who gets what names no provider; None: such a request is refused.
        :param default_has_slashes: it has models such as ``meta-llama/x`` itself, so that what stands
            before a slash may be no provider's name.
        """
        self._providers = frozenset(providers)
        self._routes = routes
        self._default = default_provider
        self._default_has_slashes = default_has_slashes

    def plan(self, model: str, random: Random) -> Plan:
        """For a request that names ``model``; empty if it names none. Raises NoRoute.

        In this order: a route's name, ``provider/model``, a model of the default provider.
        """
        route = self._routes.get(model)
        if route is not None:
            candidates = tuple(_candidate(target, model) for target in _in_order(route, random))
            return Plan(candidates, model, route.timeouts, route.hedge)
        head, slash, rest = model.partition("/")
        if slash and head in self._providers:
            if not rest:
                raise NoRoute(f"There is no model's name after {_shown(model)}.", "model", "model_not_found")
            return Plan((Candidate(head, rest),))
        if self._default is None or (slash and not self._default_has_slashes):
            raise self._unknown(model, head if slash else "")
        return Plan((Candidate(self._default, model),))

    def plan_at(self, provider: str, model: str) -> Plan:
        """For a request that says itself where it goes (``?provider=``). Raises NoRoute.

        ``model`` may have that provider's name before it, and then loses it.
        """
        if provider not in self._providers:
            near = _near(provider, self._providers)
            raise NoRoute(f"There is no provider {_shown(provider)}.{near}", "provider", "provider_not_found")
        return Plan((Candidate(provider, model.removeprefix(provider + "/")),))

    def names_of(self, provider: str, model: str) -> Iterator[str]:
        """What a request may call a model of a provider's, for ``plan`` to lead there and nowhere else.

        The name with the provider's before it; of the default provider the plain name too. None that a
        route takes.
        """
        full = f"{provider}/{model}"
        if full not in self._routes:
            yield full
        if provider == self._default and model not in self._routes:
            head, slash, _ = model.partition("/")
            if not slash or (self._default_has_slashes and head not in self._providers):
                yield model

    def _unknown(self, model: str, head: str) -> NoRoute:
        if head:
            rest = model[len(head) :]
            # Of the providers first: the model's name after the slash would hide how near one is.
            near = _near(head, self._providers, rest) or _near(model, self._routes)
            what = f"There is no provider {_shown(head)} and no model {_shown(model)}."
        else:
            near = _near(model, self._routes)
            what = f"There is no model {_shown(model)}." if model else "The request names no model."
        return NoRoute(what + near, "model", "model_not_found")


def _in_order(route: Route, random: Random) -> Sequence[Target]:
    """By chance, if they are weighted: each is first as often as its weight says, then of the rest.

    The largest ``u ** (1 / weight)`` first does that (Efraimidis and Spirakis, 2006).
    """
    if route.choice == "ordered":
        return route.targets
    drawn = [
        (random.random() ** (1 / target.weight) if target.weight else -1.0, target)
        for target in route.targets
    ]
    drawn.sort(key=lambda one: one[0], reverse=True)
    return [target for _, target in drawn]


def _candidate(target: Target, name: str) -> Candidate:
    model = target.model or name
    return Candidate(target.provider, model, model)


def _near(name: str, names: Iterable[str], rest: str = "") -> str:
    compared = sorted(names)[:_MOST_COMPARED]
    near = get_close_matches(name[:_LONGEST_SHOWN], compared, 1)
    return f" Did you mean {_shown(near[0] + rest)}?" if near else ""


def _shown(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "...")
