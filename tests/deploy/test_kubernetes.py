"""etc/kubernetes: every object is one that the API takes, and all of them agree with the daemon."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from openai_proxy.config.address import is_local
from openai_proxy.config.configuration import Configuration, load
from openai_proxy.config.secret import SecretReader
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.tap import Options
from tests.deploy.contract import FAMILIES
from tests.deploy.test_dockerfile import only
from tests.support.tools import require_tool

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "etc" / "kubernetes"
KINDS = (
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PodMonitor",
    "Service",
)
SECRETS = "/run/secrets/openai-proxy"


@cache
def rendered() -> dict[str, Any]:
    """By kind, as `kubectl apply -k` sends them."""
    line = (require_tool("kubectl"), "kustomize", str(FOLDER))
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    assert sorted(one["kind"] for one in objects) == list(KINDS)
    return {one["kind"]: one for one in objects}


def pod() -> Any:
    """What the Deployment starts."""
    return rendered()["Deployment"]["spec"]["template"]["spec"]


def container() -> Any:
    """The one in it."""
    (one,) = pod()["containers"]
    return one


def ports() -> dict[str, int]:
    """The container's, by name."""
    return {one["name"]: one["containerPort"] for one in container()["ports"]}


@cache
def example_secret() -> Any:
    """The form of the Secret, which is not among the rendered."""
    return yaml.safe_load((FOLDER / "secret.example.yaml").read_text())


def configuration(folder: Path) -> Configuration:
    """What the ConfigMap's file says, with keys in the Secret's files."""
    (text,) = rendered()["ConfigMap"]["data"].values()
    for name in example_secret()["stringData"]:
        (folder / name).write_text(f"a-{name}\n")
    file = folder / "openai-proxy.yaml"
    file.write_text(text.replace(f"file:{SECRETS}/", f"file:{folder}/"))
    return load(file, read_catalogue(), SecretReader({}))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "PodMonitor"])
def test_the_api_takes_it(kind: str) -> None:
    """By the schemas of the newest version; a field that is none is no field there."""
    kubernetes_validate.validate(rendered()[kind], kubernetes_validate.latest_version(), strict=True)


def test_the_api_takes_the_form_of_the_secret() -> None:
    """It has no key, and is not applied with the rest: it would replace those that are there."""
    secret = example_secret()
    kubernetes_validate.validate(secret, kubernetes_validate.latest_version(), strict=True)
    assert set(secret["stringData"].values()) == {""}
    assert "secret" not in (FOLDER / "kustomization.yaml").read_text().lower().split("resources:")[1]


def test_the_operator_takes_the_pod_monitor() -> None:
    """By a schema of the fields that it uses."""
    schema = json.loads((Path(__file__).parent / "podmonitor.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(rendered()["PodMonitor"], schema, jsonschema.Draft202012Validator)


def test_every_selector_finds_the_pods() -> None:
    """The labels of the pods, and no others; all in one namespace."""
    labels = rendered()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = {
        "Deployment": ("selector", "matchLabels"),
        "Service": ("selector",),
        "PodDisruptionBudget": ("selector", "matchLabels"),
        "NetworkPolicy": ("podSelector", "matchLabels"),
        "PodMonitor": ("selector", "matchLabels"),
    }
    for kind, path in selectors.items():
        found = rendered()[kind]["spec"]
        for key in path:
            found = found[key]
        assert found == labels, kind
    for spread in pod()["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"] == labels
    target = rendered()["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    named = rendered()["Deployment"]
    assert target == {
        "apiVersion": named["apiVersion"],
        "kind": "Deployment",
        "name": named["metadata"]["name"],
    }
    namespaces = {one["metadata"]["namespace"] for one in (*rendered().values(), example_secret())}
    assert len(namespaces) == 1


def test_the_daemon_takes_its_file(tmp_path: Path) -> None:
    """It listens at the ports that are told to others, with a token at the operator's; keys are files."""
    settings = configuration(tmp_path).settings()
    assert [one.description for one in settings.listen] == [f"tcp:{ports()['http']}"]
    assert settings.admin.listen is not None
    assert settings.admin.listen.description == f"tcp:{ports()['admin']}"
    # The kubelet and Prometheus come from outside of the pod.
    assert not is_local(settings.admin.listen.description)
    assert settings.admin.token is not None
    assert settings.workers == 1


def test_its_command_is_one_that_it_takes(tmp_path: Path) -> None:
    """The file is where the ConfigMap is mounted; the image's entry point has the rest."""
    option, path = container()["args"]
    mounts = {one["name"]: one["mountPath"] for one in container()["volumeMounts"]}
    volumes = {one["name"]: one for one in pod()["volumes"]}
    assert path == f"{mounts['config']}/openai-proxy.yaml"
    assert volumes["config"]["configMap"]["name"] == rendered()["ConfigMap"]["metadata"]["name"]
    assert volumes["keys"]["secret"]["secretName"] == example_secret()["metadata"]["name"]
    assert mounts["keys"] == SECRETS
    configuration(tmp_path)
    options = Options()
    options.parseOptions([option, str(tmp_path / "openai-proxy.yaml")])
    assert "command" not in container()


def test_the_probes_ask_what_is_answered_to_the_end() -> None:
    """The clients' port is closed in a drain; a liveness probe there would kill what it is waiting for."""
    assert container()["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert container()["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert container()["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}


def test_a_pod_may_end_as_slowly_as_it_drains(tmp_path: Path) -> None:
    """The kubelet kills later than that; connections come until every node knows that the pod ends."""
    drain = configuration(tmp_path).settings().drain
    pre_stop = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pre_stop + drain.grace_seconds >= 15
    most = pre_stop + drain.grace_seconds + drain.timeout_seconds
    assert pod()["terminationGracePeriodSeconds"] >= most + 30
    ready = container()["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] <= drain.grace_seconds


def test_no_pod_is_missed_in_a_rollout() -> None:
    """A new one is ready before an old one drains; a node is emptied of one at a time."""
    strategy = rendered()["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
    assert rendered()["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert rendered()["HorizontalPodAutoscaler"]["spec"]["minReplicas"] >= 2
    assert "replicas" not in rendered()["Deployment"]["spec"]


def test_the_container_can_do_nothing() -> None:
    """What the namespace's level `restricted` asks for, and a root that is only read."""
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    user, group = map(int, only("USER").split(":"))
    assert (pod()["securityContext"]["runAsUser"], pod()["securityContext"]["runAsGroup"]) == (user, group)
    assert pod()["securityContext"]["fsGroup"] == group
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False
    assert all(mount["readOnly"] for mount in container()["volumeMounts"])


def test_memory_has_room_for_what_may_be_held(tmp_path: Path) -> None:
    """Bodies that are read whole, a daemon at rest, and streams; to be out of memory is to lose them all."""
    limit = re.fullmatch(r"(\d+)Mi", container()["resources"]["limits"]["memory"])
    assert limit
    held = configuration(tmp_path).settings().limits.held_total_bytes
    assert int(limit[1]) * 2**20 >= 2 * held + 128 * 2**20
    assert "cpu" not in container()["resources"]["limits"]


def test_replicas_follow_a_number_that_is_exported() -> None:
    """The adapter's rule, in a comment, and the autoscaler name the same gauge of the contract."""
    (metric, _) = rendered()["HorizontalPodAutoscaler"]["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name in {one.name for one in FAMILIES if one.kind == "gauge"}
    comment = re.findall(r"^#   (.*)$", (FOLDER / "hpa.yaml").read_text(), re.MULTILINE)
    (rule,) = yaml.safe_load("\n".join(comment))["rules"]
    assert rule["name"] == {"as": name}
    assert rule["seriesQuery"].startswith(name + "{")


def test_prometheus_comes_with_the_token_to_the_admin_port() -> None:
    """As etc/prometheus asks, and under the job's name that its rules ask for."""
    spec = rendered()["PodMonitor"]["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["port"] in ports()
    assert endpoint["authorization"]["credentials"]["name"] == example_secret()["metadata"]["name"]
    assert endpoint["authorization"]["credentials"]["key"] in example_secret()["stringData"]
    settings = yaml.safe_load((ROOT / "etc/prometheus/prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    assert spec["selector"]["matchLabels"][spec["jobLabel"]] == job["job_name"]
    assert spec["sampleLimit"] == job["sample_limit"]
    assert spec["labelValueLengthLimit"] == job["label_value_length_limit"]
    assert endpoint["interval"] == settings["global"]["scrape_interval"]
    assert endpoint["scrapeTimeout"] == settings["global"]["scrape_timeout"]


def test_only_the_clients_port_is_a_service() -> None:
    """The operator's port is for Prometheus' namespace, and for nobody else."""
    (port,) = rendered()["Service"]["spec"]["ports"]
    assert port["targetPort"] == "http"
    rules = rendered()["NetworkPolicy"]["spec"]["ingress"]
    assert [[one["port"] for one in rule["ports"]] for rule in rules] == [["http"], ["admin"]]
    assert all(rule["from"] for rule in rules)
