"""What translating a stream costs beside relaying it.

Run as ``python -m benchmarks.translation``. In one process and without a socket: function calls per
delta, which are the same in every run, and CPU time of a whole stream against that of the same number
of chunks relayed and read as they are (``tests/support/memory.py``). Rounds are interleaved and the best
of each is taken; the ratio holds on other machines, the microseconds do not. With sockets the ratio is
lower, for what the kernel does is the same for both.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable

from benchmarks.micro import CHUNKS, STREAMS, repeated, report
from openai_proxy.providers.translate.translation import Kind, translation_for
from tests.support.memory import MemoryProxy, post

ROUNDS = 15
WORDS = (" word", " the", " of", ",", " na\u00efve", " caf\u00e9", " and\\n", ' \\"so\\"', " a", " 12")
"""Some are not plain ASCII, and some are escaped, as in any text."""
FIELDS = [
    *((b"Accept", b"application/json"), (b"Accept-Encoding", b"gzip, deflate"), (b"User-Agent", b"x")),
    *((b"Content-Type", b"application/json"), (b"Authorization", b"Bearer sk-test")),
]
ANSWER_FIELDS = [
    *((b"Date", b"Mon, 23 Nov 2026 12:00:00 GMT"), (b"Content-Type", b"text/event-stream")),
    *((b"Server", b"cloudflare"), (b"x-request-id", b"req_1"), (b"Transfer-Encoding", b"chunked")),
]
CHAT = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}).encode()
MESSAGE = json.dumps(
    {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
).encode()


def named(kind: str, rest: str) -> bytes:
    """One of Anthropic's events."""
    return f'event: {kind}\ndata: {{"type":"{kind}"{rest}}}\n\n'.encode()


def message_events(chunks: int) -> list[bytes]:
    """A message's stream with so many deltas."""
    message = '{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5","content":[],'
    usage = '"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}'
    delta = ',"index":0,"delta":{"type":"text_delta","text":"%s"}'
    ended = ',"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":100}'
    return [
        named("message_start", f',"message":{message}{usage}'),
        named("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}'),
        *(named("content_block_delta", delta % WORDS[place % len(WORDS)]) for place in range(chunks)),
        named("content_block_stop", ',"index":0'),
        named("message_delta", ended),
        named("message_stop", ""),
    ]


def chat_events(chunks: int) -> list[bytes]:
    """A chat completion's stream with so many deltas, as OpenAI pads them."""
    head = 'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795437300,"model":"gpt-5",'
    choice = '"choices":[{"index":0,"delta":{%s},"logprobs":null,"finish_reason":%s}],"usage":null'
    fill = ',"obfuscation":"aB3dE6"'
    texts = [f'"content":"{WORDS[place % len(WORDS)]}"' for place in range(chunks)]
    said = [
        choice % ('"role":"assistant","content":""', "null"),
        *(choice % (text, "null") + fill for text in texts),
        choice % ("", '"stop"'),
        '"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":100,"total_tokens":109}',
    ]
    return [*(f"{head}{one}}}\n\n".encode() for one in said), b"data: [DONE]\n\n"]


def together(events: list[bytes], count: int) -> list[bytes]:
    """The same, so many in one read."""
    return [b"".join(events[begin : begin + count]) for begin in range(0, len(events), count)]


def translating(kind: Kind, body: bytes, model: str, reads: list[bytes]) -> Callable[[], None]:
    """One exchange, as far as translating goes."""

    def work() -> None:
        translation = kind.request(body, model)
        translation.request_fields(FIELDS)
        translation.answer_fields(200, ANSWER_FIELDS, 0.0)
        converter = translation.body_converter(200, True, 0.0)
        feed = converter.feed
        for data in reads:
            feed(data)
        converter.end(whole=True)
        assert not converter.failed

    return work


def directions(chunks: int, count: int) -> dict[str, Callable[[], None]]:
    """What there is to measure, by its name."""
    to_messages = translation_for("openai", "anthropic", b"POST", b"/v1/chat/completions")
    to_chat = translation_for("anthropic", "openai", b"POST", b"/v1/messages")
    assert to_messages is not None and to_chat is not None
    return {
        "chat of a message": translating(
            to_messages, CHAT, "claude-opus-5", together(message_events(chunks), count)
        ),
        "message of a chat": translating(to_chat, MESSAGE, "gpt-5", together(chat_events(chunks), count)),
    }


def best_microseconds(works: dict[str, Callable[[], None]]) -> dict[str, float]:
    """CPU time of each, the best of some rounds."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            begin = time.process_time()
            for _ in range(STREAMS // 5):
                work()
            best[name] = min(best[name], (time.process_time() - begin) / (STREAMS // 5) * 1e6)
    return best


def main(argv: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.translation", description=__doc__)
    parser.add_argument("--top", type=int, default=0, metavar="N", help="name the N most called functions")
    top = parser.parse_args(argv).top
    print(f"function calls of translation, Python {platform.python_version()}")
    whole, without = directions(CHUNKS, 1), directions(0, 1)
    for name in whole:
        calls, least = repeated(STREAMS, whole[name]), repeated(STREAMS, without[name])
        report(
            f"per delta, {name}", {at: calls[at] - least.get(at, 0) for at in calls}, STREAMS * CHUNKS, top
        )
    proxy, asked = MemoryProxy(), post(stream=True)
    for reads, count in ((CHUNKS, 1), (4, CHUNKS // 4)):
        relayed = {"relayed": lambda count=count: proxy.stream(asked, CHUNKS, count)}
        best = best_microseconds(relayed | directions(CHUNKS, count))
        base = best.pop("relayed")
        print(f"CPU \u00b5s of a stream of {CHUNKS} chunks in {reads} reads")
        print(f"    {'relayed, and read':<28}{base:10.0f}")
        for name, cost in best.items():
            print(f"    {name:<28}{base + cost:10.0f}   {(base + cost) / base:.2f} times as much")
    proxy.close()


if __name__ == "__main__":
    main(sys.argv[1:])
