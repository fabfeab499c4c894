"""One daemon of several processes: one of them dies under load, and only its own requests with it."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import threading
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.certificates import make
from tests.support.daemon import Daemon, run
from tests.support.sockets import Peer, RawUpstream, Truncated

MOCK = b'{"model":"gpt-4o","messages":[{"role":"user","content":"a"}]}'
JSON = "Content-Type: application/json"


def children(pid: int) -> list[int]:
    """Of a process (proc(5))."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ask(daemon: Daemon, path: str) -> Any:
    """What an operator is told."""
    request = urllib.request.Request(daemon.url + path, headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def metrics(daemon: Daemon) -> dict[str, float]:
    """The sums of all families."""
    with urllib.request.urlopen(daemon.url + "/metrics", timeout=20) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    sums: defaultdict[str, float] = defaultdict(float)
    for family in families:
        for sample in family.samples:
            sums[sample.name] += sample.value
    return sums


def requests(daemon: Daemon) -> float:
    """How many were counted."""
    return metrics(daemon)["http_requests_total"]


def chat(client: Peer) -> int:
    """One more answer on a connection: its status."""
    client.send_request("POST", "/mock/v1/chat/completions", JSON, body=MOCK)
    return client.read_answer("POST").status


def chats(daemon: Daemon, count: int) -> None:
    """So many, each on a connection of its own, so that all workers have some."""
    for _ in range(count):
        with daemon.connect() as client:
            assert chat(client) == 200


def replaced(daemon: Daemon, after: int) -> None:
    """Wait until another worker serves."""
    daemon.wait_for(re.compile(r"Worker \d serves"), after=after)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """With two workers, nobody of whom had to be killed at the end."""
    with Daemon("--workers", "2") as daemon:
        yield daemon
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.output


def test_the_sum_of_all_is_what_clients_did(daemon: Daemon) -> None:
    """To the last request, whichever worker had it and whichever is asked, also when one ends by itself."""
    before = requests(daemon)
    chats(daemon, 40)
    for _ in range(4):
        assert requests(daemon) - before == 40
    seen = daemon.line_count
    os.kill(children(daemon.pid)[0], signal.SIGTERM)
    replaced(daemon, seen)
    assert requests(daemon) - before == 40
    chats(daemon, 20)
    assert requests(daemon) - before == 60
    assert metrics(daemon)["openai_proxy_workers"] == 2


def test_a_worker_that_is_killed_takes_little_with_it(daemon: Daemon) -> None:
    """What it had counted at the last look stays; no more than what came after that is lost."""
    chats(daemon, 30)
    before = metrics(daemon)
    chats(daemon, 10)
    seen = daemon.line_count
    os.kill(children(daemon.pid)[0], signal.SIGKILL)
    replaced(daemon, seen)
    after = metrics(daemon)
    assert 0 <= after["http_requests_total"] - before["http_requests_total"] <= 10
    assert after["openai_proxy_worker_restarts_total"] - before["openai_proxy_worker_restarts_total"] == 1
    assert after["openai_proxy_workers"] == 2
    assert "has ended: signal 9" in daemon.output


class Load(threading.Thread):
    """A client that asks and asks on one connection, and on another when that is lost."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self._target_daemon = daemon
        self.enough = threading.Event()
        self.answered = 0
        self.lost = 0
        self.wrong = 0

    def run(self) -> None:
        while not self.enough.is_set():
            with self._target_daemon.connect() as client:
                try:
                    while not self.enough.is_set():
                        if chat(client) == 200:
                            self.answered += 1
                        else:
                            self.wrong += 1
                except (Truncated, ConnectionError):
                    self.lost += 1


def test_under_load_only_the_requests_of_the_killed_one_are_lost(daemon: Daemon) -> None:
    """Each client loses one request at most; nobody is refused, and all go on."""
    loads = [Load(daemon) for _ in range(6)]
    for load in loads:
        load.start()
    chats(daemon, 20)
    seen = daemon.line_count
    os.kill(children(daemon.pid)[-1], signal.SIGKILL)
    replaced(daemon, seen)
    chats(daemon, 20)
    for load in loads:
        load.enough.set()
    for load in loads:
        load.join(20)
        assert not load.is_alive()
    assert all(load.answered for load in loads)
    assert [load.wrong for load in loads] == [0] * 6
    assert max(load.lost for load in loads) <= 1


def test_streams_of_the_others_go_on() -> None:
    """Exchanges at the killed worker end; those at the other one do not notice."""
    with RawUpstream() as upstream, Daemon("--workers", "2", "--upstream", upstream.url) as daemon:
        clients = [daemon.connect() for _ in range(8)]
        for client in clients:
            client.send_request("GET", "/v1/models")
        for _ in clients:
            upstream.next().read_request()
        rows = ask(daemon, "/inflight?limit=100")["in_flight"]
        at_worker = Counter(row["worker"] for row in rows)
        assert at_worker.total() == 8
        seen = daemon.line_count
        killed = children(daemon.pid)[0]
        os.kill(killed, signal.SIGKILL)
        replaced(daemon, seen)
        number = int(daemon.wait_for(re.compile(r"Worker (\d) has ended: signal 9"))[1])
        for peer in upstream.peers:
            # Those of the killed one are closed.
            with suppress(ConnectionError):
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        came = Counter(answer_of(client) for client in clients)
        assert came == +Counter({"{}": 8 - at_worker[number], "lost": at_worker[number]})
        for client in clients:
            client.close()


def answer_of(client: Peer) -> str:
    """The body, or that there is none."""
    try:
        return client.read_answer().body.decode()
    except (Truncated, ConnectionError):
        return "lost"


def test_a_second_end_is_at_once() -> None:
    """The first waits for what is in flight, wherever it is; what the second cuts is said by the status."""
    with (
        RawUpstream() as upstream,
        Daemon("--workers", "2", "--upstream", upstream.url) as daemon,
        daemon.connect() as client,
    ):
        client.send_request("GET", "/v1/models")
        upstream.next().read_request()
        assert daemon.end_now() == 3


def test_an_end_waits_for_what_is_in_flight() -> None:
    """Of every worker; the answer is whole, and the status 0."""
    with RawUpstream() as upstream, Daemon("--workers", "2", "--upstream", upstream.url) as daemon:
        with daemon.connect() as client:
            client.send_request("GET", "/v1/models")
            peer = upstream.next()
            peer.read_request()
            daemon.terminate()
            daemon.wait_for(re.compile(r"The daemon is ending"))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            assert client.read_answer().body == b"{}"
        assert daemon.wait() == 0


def test_workers_do_not_outlive_their_parent() -> None:
    """A parent that is killed leaves nobody behind."""
    with Daemon("--workers", "2") as daemon:
        assert len(children(daemon.pid)) == 2
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait()
        assert daemon.nobody_is_left


def test_a_daemon_whose_workers_cannot_serve_ends(tmp_path: Path) -> None:
    """With status 1 and what each says, instead of trying for ever."""
    ended = run(
        "--workers", "2", "--port", "tcp:0:interface=127.0.0.1", "--access-log", str(tmp_path / "no" / "log")
    )
    assert ended.returncode == 1
    assert "No such file or directory" in ended.stderr + ended.stdout
    assert "does not serve: exit status 1" in ended.stdout


def test_a_signal_to_every_process_ends_the_daemon_in_good_order() -> None:
    """As systemd sends it, with the parent passing it on: nothing that is in flight is cut."""
    with (
        RawUpstream() as upstream,
        Daemon("--workers", "2", "--upstream", upstream.url) as daemon,
        daemon.connect() as client,
    ):
        client.send_request("GET", "/v1/models")
        peer = upstream.next()
        peer.read_request()
        for pid in (daemon.pid, *children(daemon.pid)):
            os.kill(pid, signal.SIGTERM)
        daemon.wait_for(re.compile(r"ProxyService.*The daemon is ending"))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        assert client.read_answer().body == b"{}"
        assert daemon.wait() == 0


def test_a_socket_in_the_file_system_outlives_each_worker(tmp_path: Path) -> None:
    """One that ends or dies leaves it to the others; it is gone when the daemon is."""
    path = tmp_path / "socket"
    with Daemon("--workers", "2", port=f"unix:{path}") as daemon:
        for number in (signal.SIGTERM, signal.SIGKILL):
            seen = daemon.line_count
            os.kill(children(daemon.pid)[0], number)
            replaced(daemon, seen)
            with Peer.connect_unix(str(path)) as client:
                assert chat(client) == 200
        assert daemon.stop() == 0
        assert not path.exists()


def test_the_operators_port_is_the_parents() -> None:
    """It has the numbers of all, and the clients' port has none then."""
    with Daemon("--workers", "2", "--admin", "tcp:0:interface=127.0.0.1") as daemon:
        chats(daemon, 10)
        admin = daemon.wait_for(re.compile(r"operators are at (\S+)"))[1]
        with urllib.request.urlopen(f"{admin}/metrics", timeout=20) as answer:
            page = answer.read().decode()
        assert "\nopenai_proxy_workers 2.0\n" in page
        counted = [line for line in page.splitlines() if line.startswith("http_requests_total{")]
        assert sum(float(line.rpartition(" ")[2]) for line in counted) == 10
        assert daemon.ask("GET", "/metrics").status == 404
        assert daemon.stop() == 0


def test_a_reload_that_no_worker_can_take_is_none(tmp_path: Path) -> None:
    """What the parent cannot know (a file that is named, and not there) is told by the workers: it is said
    once, it is counted as a failure, and nothing is different; the next one is taken.
    """
    file = tmp_path / "proxy.yaml"
    listens = (
        'listeners: [{address: "tcp:0:interface=127.0.0.1"}]\nadmin: {address: "tcp:0:interface=127.0.0.1"}\n'
    )
    file.write_text(listens)
    with Daemon("--config", str(file), "--workers", "2", port=None) as daemon:
        daemon.wait_for(re.compile(r"Clients: .*; 2 workers"))
        daemon.wait_for(re.compile(r"Providers: openai"))
        admin = daemon.wait_for(re.compile(r"operators are at (\S+)"))[1]
        missing = tmp_path / "prices.json"
        file.write_text(f"{listens}prices: {{file: {missing}}}\n")
        assert reload(admin) == (422, [f"{missing}: No such file or directory"])
        assert succeeded(admin) == 0
        file.write_text(f"{listens}drain: {{timeout_seconds: 700}}\n")
        status, lines = reload(admin)
        assert (status, len(lines)) == (200, 1) and "700" in lines[0]
        assert succeeded(admin) == 1
        assert daemon.stop() == 0
    assert daemon.output.count(f"    {missing}: No such file or directory") == 1
    assert daemon.output.count(f"    {lines[0]}") == 1
    assert "waits 700 s at most" in daemon.output


def test_the_operators_certificate_is_taken_up_by_a_reload(tmp_path: Path) -> None:
    """It is the parent's, and no upgrade is needed for it; one that is not right changes nothing."""
    file, pem, key = (tmp_path / name for name in ("proxy.yaml", "server.pem", "server.key"))
    file.write_text(
        'listeners: [{address: "tcp:0:interface=127.0.0.1"}]\n'
        'admin: {address: "tcp:0:interface=127.0.0.1", tls: {certificate: server.pem, key: server.key}}\n'
    )

    def renew() -> str:
        made = make("127.0.0.1")
        pem.write_bytes(made.pem)
        key.write_bytes(made.key_pem)
        return made.pem.decode()

    first = renew()
    with Daemon("--config", str(file), "--workers", "2", port=None) as daemon:
        port = int(daemon.wait_for(re.compile(r"operators are at https://127\.0\.0\.1:(\d+)"))[1])

        def shown(after: str) -> str:
            """The certificate, once what a SIGHUP came to was said."""
            seen = daemon.line_count
            os.kill(daemon.pid, signal.SIGHUP)
            daemon.wait_for(re.compile(after), after=seen)
            return ssl.get_server_certificate(("127.0.0.1", port), timeout=20)

        assert shown("was read again: 0 changes") == first
        pem.write_text("nothing")
        assert shown("nothing has changed") == first
        second = renew()
        assert shown("was read again: 1 changes") == second != first
        assert daemon.stop() == 0


def reload(admin: str) -> tuple[int, list[str]]:
    """What came of it: a status, and its lines."""
    try:
        with urllib.request.urlopen(f"{admin}/-/reload", data=b"", timeout=20) as answer:
            return answer.status, answer.read().decode().splitlines()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode().splitlines()


def succeeded(admin: str) -> float:
    """Whether the last reload did, as Prometheus is told."""
    with urllib.request.urlopen(f"{admin}/metrics", timeout=20) as answer:
        (line,) = re.findall(rb"\nopenai_proxy_config_last_reload_successful (\S+)", answer.read())
    return float(line)


def test_an_upgrade_takes_all_numbers_along() -> None:
    """The successor is a parent with workers too; what those before it counted is in its sum."""
    with Daemon("--workers", "2") as daemon:
        chats(daemon, 10)
        os.kill(daemon.pid, signal.SIGUSR2)
        successor = int(daemon.wait_for(re.compile(r"Upgrade: process (\d+) serves now"))[1])
        try:
            chats(daemon, 10)
            assert requests(daemon) == 20
            assert daemon.exit_status() == 0
            chats(daemon, 10)
            assert requests(daemon) == 30
            assert metrics(daemon)["openai_proxy_workers"] == 2
        finally:
            os.kill(successor, signal.SIGTERM)
        daemon.wait()
        assert daemon.nobody_is_left
