"""What real servers say of bad requests is what clients get."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.real.llama import CONTEXT_TOKENS, MODEL, LlamaServer
from tests.real.questions import TOKENS, chat
from tests.real.ways import UNIFIED, WAYS, Through, sdk

TOO_LONG: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * CONTEXT_TOKENS}]


def raised(ask: Callable[[OpenAI, str], object], client: OpenAI, model: str) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, model)
    return caught.value


def wrong_type(client: OpenAI, model: str) -> object:
    return chat(client, model, logprobs="neither")


def too_long(client: OpenAI, model: str) -> object:
    return client.chat.completions.create(model=model, messages=TOO_LONG, max_tokens=TOKENS)


def unknown_path(client: OpenAI, model: str) -> object:
    return client.moderations.create(model=model, input="x")


@pytest.mark.parametrize(("ask", "status"), [(wrong_type, None), (too_long, 400), (unknown_path, 404)])
def test_an_error(through: Through, ask: Callable[[OpenAI, str], object], status: int | None) -> None:
    """What the server says of a bad request, whatever its form, is what the client gets."""
    status = status or through.server.wrong_type_status
    direct = raised(ask, through.straight, MODEL)
    error = raised(ask, through.client, through.way.model)
    assert type(error) is type(direct)
    assert (error.status_code, error.body, error.code) == (status, direct.body, direct.code)
    outcome = "client_error" if status < 500 else "upstream_error"
    assert through.counted("http_requests_total", status=str(status), outcome=outcome) == 1
    assert through.counted("openai_proxy_usage_missing_total") == 0


@pytest.mark.parametrize("through", WAYS[:1], ids=lambda way: way.name, indirect=True)
def test_a_wrong_key(through: Through) -> None:
    """Where the client brings the key: 401 in the server's own form, and the SDK knows it."""
    with sdk(through.daemon.url + through.way.path, "sk-wrong") as client:
        error = raised(chat, client, through.way.model)
    assert isinstance(error, openai.AuthenticationError)
    assert through.counted("http_requests_total", status="401", outcome="client_auth") == 1


def test_a_stream_that_is_too_long(through: Through) -> None:
    """llama-server says so before the stream begins. llama-cpp-python ends it without an event or ``[DONE]``,
    as if all were well: the client gets that, or 502 where the daemon may try again until the first token;
    and the daemon says that the upstream failed.
    """

    def ask(client: OpenAI, model: str) -> list[object]:
        with client.chat.completions.create(
            model=model, messages=TOO_LONG, max_tokens=TOKENS, stream=True
        ) as events:
            return list(events)

    if isinstance(through.server, LlamaServer):
        status, outcome = raised(ask, through.client, through.way.model).status_code, "client_error"
        assert status == 400
    elif through.way in UNIFIED:
        status, outcome = raised(ask, through.client, through.way.model).status_code, "upstream_error"
        assert status == 502
    else:
        status, outcome = 200, "upstream_stream_error"
        assert ask(through.client, through.way.model) == []
    assert through.counted("http_requests_total", status=str(status), outcome=outcome) == 1
    assert through.counted("openai_proxy_time_to_first_token_seconds_count") == 0
