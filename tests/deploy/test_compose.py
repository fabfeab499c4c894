"""docker-compose.yml and what Prometheus is told: valid, pinned, closed but for four ports."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from openai_proxy.tap import Options
from tests.support.tools import require_tool

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
PROMETHEUS = ROOT / "etc" / "prometheus" / "prometheus.yml"
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]


def interpolated(word: str) -> str:
    """``word`` as compose reads it where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word)


def test_docker_compose_takes_the_file() -> None:
    """Docker's own schema finds nothing wrong."""
    command = (require_tool("docker-compose"), "--file", str(COMPOSE), "config", "--quiet")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_only_the_known_ports_are_published() -> None:
    """The proxy, Prometheus and Grafana are reached from outside; the operator's port from this machine."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "proxy": ["8080:8080", "127.0.0.1:9091:9091"],
        "prometheus": ["9090:9090"],
        "grafana": ["3000:3000"],
    }
    assert not any("network_mode" in service for service in SERVICES.values())


def test_every_mount_exists_and_cannot_be_written() -> None:
    """Docker would make an empty folder of a path that is missing, in silence."""
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source, target, *mode = mount.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                found = ROOT / source
                assert found.is_file() or any(found.iterdir()), source
                assert mode == ["ro"], mount
            else:
                assert source in volumes


def test_foreign_images_are_pinned_to_a_release() -> None:
    """The stack of tomorrow is the one of today."""
    own = {service["image"] for service in SERVICES.values() if "build" in service}
    for service in SERVICES.values():
        if service["image"] not in own:
            assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_and_no_privileges(name: str) -> None:
    """What waits for it waits for an answer, and it can do nothing that a user could not."""
    service = SERVICES[name]
    if service["healthcheck"] == {"disable": True}:
        assert not any(name in other.get("depends_on", {}) for other in SERVICES.values())
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    waits = service.get("depends_on", {})
    assert all(wait == {"condition": "service_healthy"} for wait in waits.values())
    assert waits.keys() <= SERVICES.keys()


def proxy_options(folder: Path) -> Options:
    """What the proxy's command says, with the files that are mounted."""
    mounts = dict(mount.split(":")[1::-1] for mount in SERVICES["proxy"]["volumes"])
    text = (ROOT / mounts["/etc/openai-proxy"] / "openai-proxy.yaml").read_text()
    file = folder / "openai-proxy.yaml"
    file.write_text(text.replace("/run/admin-token", str(ROOT / mounts["/run/admin-token"])))
    words = [interpolated(word) for word in SERVICES["proxy"]["command"]]
    options = Options()
    options.parseOptions([word.replace("/etc/openai-proxy/openai-proxy.yaml", str(file)) for word in words])
    return options


def test_the_proxy_cannot_write_and_its_command_is_one_it_takes(tmp_path: Path) -> None:
    """It takes its file, listens where ports are published, and goes to OpenAI unless told otherwise."""
    options = proxy_options(tmp_path)
    assert options.configuration is not None
    assert options.configuration.providers["openai"].base_url == "https://api.openai.com"
    assert [one.description for one in options.settings.listen] == ["tcp:8080"]
    assert options.settings.admin.listen is not None
    assert options.settings.admin.listen.description == "tcp:9091"
    assert SERVICES["proxy"]["read_only"] is True


def test_a_stop_waits_for_longer_than_a_drain(tmp_path: Path) -> None:
    """Docker kills later than the daemon ends by itself."""
    drain = proxy_options(tmp_path).settings.drain
    seconds = re.fullmatch(r"(\d+)s", SERVICES["proxy"]["stop_grace_period"])
    assert seconds
    assert int(seconds[1]) >= drain.grace_seconds + drain.timeout_seconds + 15


def test_prometheus_has_the_token_of_the_admin_port(tmp_path: Path) -> None:
    """One file, mounted for both; without it every scrape would be refused."""
    (job,) = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    token = proxy_options(tmp_path).settings.admin.token
    assert token is not None
    file = PROMETHEUS.parent / job["authorization"]["credentials_file"]
    assert file.read_text().strip() == token.reveal()


def test_prometheus_keeps_the_exemplars_that_panels_ask_for() -> None:
    """Without the flag it drops them at each scrape, and says nothing."""
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]


def test_promtool_takes_the_configuration() -> None:
    """Prometheus starts with the file that compose mounts."""
    command = (require_tool("promtool"), "check", "config", str(PROMETHEUS))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_the_rules_and_tells_alertmanager() -> None:
    """Every rule file is among those that compose mounts; the target is a service of the compose file."""
    settings = yaml.safe_load(PROMETHEUS.read_text())
    found = {path for pattern in settings["rule_files"] for path in PROMETHEUS.parent.glob(pattern)}
    assert found == set((ROOT / "etc/prometheus/rules").iterdir())
    assert "./etc/prometheus:/etc/prometheus:ro" in SERVICES["prometheus"]["volumes"]
    ((told,),) = (one["static_configs"] for one in settings["alerting"]["alertmanagers"])
    assert told == {"targets": ["alertmanager:9093"]}
    assert "alertmanager" in SERVICES


def test_prometheus_asks_the_proxy_every_five_seconds() -> None:
    """The target is the service and port of the compose file; Grafana knows the same interval."""
    settings = yaml.safe_load(PROMETHEUS.read_text())
    (job,) = settings["scrape_configs"]
    assert settings["global"]["scrape_interval"] == "5s"
    assert job["static_configs"] == [{"targets": ["proxy:9091"]}]
    (source,) = yaml.safe_load((ROOT / "etc/grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == settings["global"]["scrape_interval"]
