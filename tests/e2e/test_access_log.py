"""``--access-log`` of a running daemon: a line for each request, whatever becomes of the file."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import ROOT, Daemon, command, environment, run
from tests.support.relayed import get
from tests.support.sockets import Peer, RawUpstream

CHAT = "/mock/v1/chat/completions"
ASKED = b'{"model":"gpt-4o-mini","messages":[]}'
STREAMED = b'{"model":"gpt-4o-mini","stream":true,"messages":[]}'
SECRET = "sk-canary"
DEADLINE_SECONDS = 20.0


def lines_of(path: Path) -> list[dict[str, Any]]:
    """All whole lines that are there by now."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is to be."""
    return tmp_path / "access.log"


def test_there_is_a_line_for_each_request(path: Path) -> None:
    """Good, failed and refused ones, each with its own status, outcome and bytes; and no secret."""
    sent: Counter[tuple[int, str, str]] = Counter()
    with Daemon("--access-log", str(path)) as daemon, daemon.connect() as client:

        def ask(method: str, target: str, *fields: str, body: bytes = b"") -> int:
            client.send_request(method, target, f"Authorization: Bearer {SECRET}", *fields, body=body)
            return client.read_answer(method).status

        json_body = "Content-Type: application/json"
        asked = ASKED.replace(b"[]", b'[{"role":"user","content":"%b"}]' % SECRET.encode())
        for number in range(40):
            sent[ask("POST", CHAT, json_body, body=asked), "chat_completions", "ok"] += 1
            sent[ask("GET", f"/mock/v1/models?key={SECRET}{number}"), "models", "ok"] += 1
            failed = ask("POST", CHAT, json_body, "x-mock-status: 500", body=asked)
            sent[failed, "chat_completions", "upstream_error"] += 1
            sent[ask("GET", f"/{SECRET}"), "other", "client_error"] += 1
        assert daemon.stop() == 0
    lines = lines_of(path)
    assert Counter((line["status"], line["endpoint"], line["outcome"]) for line in lines) == sent
    assert {key[0] for key in sent} == {200, 500, 404}
    chats = [line for line in lines if line["endpoint"] == "chat_completions"]
    assert {line["received_bytes"] for line in chats} == {len(asked)}
    assert all(line["sent_bytes"] > 0 for line in chats)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)
    assert SECRET not in path.read_text()
    assert daemon.output.count("access log") == 0


def test_a_line_has_the_id_and_the_tokens_that_its_client_was_sent(path: Path) -> None:
    """A user who complains of an id can be helped, and a bill can be added up."""
    with Daemon("--access-log", str(path)) as daemon:
        good = daemon.ask("POST", CHAT, "Content-Type: application/json", body=ASKED)
        bad = daemon.ask("POST", CHAT, "Content-Type: application/json", "x-mock-status: 429", body=ASKED)
        assert daemon.stop() == 0
    usage, error = json.loads(good.body)["usage"], json.loads(bad.body)["error"]
    first, second = lines_of(path)
    assert [first["request_id"].encode(), second["request_id"].encode()] == [
        good.get("x-request-id"),
        bad.get("x-request-id"),
    ]
    assert (first["input_tokens"], first["output_tokens"]) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert first["cost_microdollars"] > 0
    assert 0 < first["first_byte_seconds"] <= first["duration_seconds"]
    assert (first["route"], first["method"], first["attempt_results"]) == ("/mock", "POST", ["ok"])
    assert (second["error_source"], second["error_type"]) == ("upstream", error["type"])
    assert (second["input_tokens"], second["attempt_results"]) == (None, ["http_429"])


def test_requests_of_those_who_watch_have_no_line(path: Path) -> None:
    """A scrape every few seconds is no exchange."""
    with Daemon("--access-log", str(path)) as daemon:
        for target in ("/metrics", "/healthz", "/readyz", "/"):
            assert daemon.ask("GET", target).status == 200
        assert daemon.stop() == 0
    assert lines_of(path) == []


def test_a_sample_has_every_failure(path: Path) -> None:
    """Of 50 good ones at one in a million there is most likely none; of 5 failed ones all are there."""
    with Daemon("--access-log", str(path), "--access-log-sample", "1000000000000") as daemon:
        for _ in range(50):
            assert daemon.ask("GET", "/mock/v1/models").status == 200
        for _ in range(5):
            assert daemon.ask("GET", "/mock/v1/models", "x-mock-status: 500").status == 500
        assert daemon.stop() == 0
    assert [line["outcome"] for line in lines_of(path)] == ["upstream_error"] * 5


def test_sigterm_writes_what_it_cuts_off(path: Path) -> None:
    """Exchanges that end with the daemon have their line: an answer that waits, a stream in its middle."""
    with (
        RawUpstream() as upstream,
        Daemon("--upstream", upstream.url, "--access-log", str(path)) as daemon,
        daemon.connect() as stream,
        daemon.connect() as waiting,
    ):
        stream.send_request("POST", CHAT, "x-mock-chunk-ms: 600000", "x-mock-chunks: 9", body=STREAMED)
        stream.read_head()
        stream.read_chunk()
        waiting.send_request("GET", "/v1/models")
        upstream.next().read_request()
        assert daemon.end_now() == 3
    assert sorted(line["endpoint"] for line in lines_of(path)) == ["chat_completions", "models"]
    assert "Traceback" not in daemon.output


def test_a_file_that_is_rotated_is_made_anew(path: Path) -> None:
    """logrotate renames it, and sends no signal; no line is lost."""
    with Daemon("--access-log", str(path)) as daemon:
        for number in range(3):
            assert daemon.ask("GET", "/mock/v1/models").status == 200
            until(lambda: len(lines_of(path)) == 1)
            path.rename(path.with_suffix(f".{number}"))
        assert daemon.ask("GET", "/mock/v1/models").status == 200
        assert daemon.stop() == 0
    assert [len(lines_of(one)) for one in sorted(path.parent.glob("access.*"))] == [1, 1, 1, 1]


def test_a_full_disk_stops_no_exchange() -> None:
    """Answers come; one line says that the log drops lines, one how many."""
    with Daemon("--access-log", "/dev/full") as daemon:
        for _ in range(10):
            assert daemon.ask("GET", "/mock/v1/models").status == 200
        daemon.wait_for(re.compile(r"The access log drops lines: No space left on device$"))
        assert daemon.ask("GET", "/mock/v1/models").status == 200
        assert daemon.stop() == 0
    assert daemon.output.count("The access log drops lines") == 1
    assert daemon.output.count("The access log drops no more lines: 11 were dropped") == 1


def test_stdout_has_lines_among_those_of_the_log() -> None:
    """Each begins with a brace, and none is parted by another."""
    with Daemon("--access-log", "-") as daemon:
        for _ in range(20):
            assert daemon.ask("GET", "/mock/v1/models").status == 200
        assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.output.splitlines() if line.startswith("{")]
    assert [line["endpoint"] for line in lines] == ["models"] * 20


def test_a_stdout_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    """Far more lines than the pipe and the bound hold: every request is answered, SIGTERM ends it with 0."""
    socket, log = tmp_path / "socket", tmp_path / "twistd.log"
    twistd, *rest = command("--port", f"unix:{socket}", "--access-log", "-")
    requests, at_once = 12_000, 10
    with subprocess.Popen(
        [twistd, f"--logfile={log}", *rest], cwd=ROOT, env=environment(), stdout=subprocess.PIPE
    ) as process:
        try:
            until(lambda: process.poll() is not None or (log.exists() and "serves on" in log.read_text()))
            with Peer.connect_unix(str(socket)) as client:
                for _ in range(requests // at_once):
                    client.send(get("/nowhere") * at_once)
                    for _ in range(at_once):
                        assert client.read_answer().status == 404
            process.terminate()
            assert process.wait(DEADLINE_SECONDS) == 0
        finally:
            process.kill()
        assert process.stdout is not None
        *whole, _ = process.stdout.read().split(b"\n")
    assert 10 < len(whole) < 1000
    assert {json.loads(line)["status"] for line in whole} == {404}
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ("--access-log", "/nonexistent/access.log"),
        ("--access-log", "/"),
        ("--access-log", ""),
        ("--access-log-sample", "0"),
        ("--access-log-sample", "-1"),
        ("--access-log-sample", "0.5"),
    ],
)
def test_what_cannot_be_is_one_line_at_start(options: tuple[str, str]) -> None:
    """A log that cannot be opened is said at once, not at the first request."""
    ended = run("--port", "tcp:0:interface=127.0.0.1", *options)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"openai_proxy: {options[0]}")
    assert "Traceback" not in ended.stdout + ended.stderr
