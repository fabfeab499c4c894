"""What is raised where one dialect cannot say what the other said."""

from __future__ import annotations

from openai_proxy.wire.errors import UpstreamError


class Untranslatable(Exception):
    """A request that has no form in the other dialect: the client is told which member, and why.

    The message names members and types, never what a client wrote in them.
    """

    status = 400

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def too_deep() -> Untranslatable:
    """A body whose arrays and objects are nested as nobody means it."""
    return Untranslatable("The request's body is nested too deeply.")


class UnreadableAnswer(UpstreamError):
    """What the upstream sent is not an answer in its own dialect."""
