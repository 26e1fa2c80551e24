"""The manifests of deploy/k8s fit together, the image, the settings, and Kubernetes' restricted profile."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from scorer.cli.layers import load_settings
from scorer.cli.settings import Settings
from tests.harness.compose import CONFIG, ROOT, dockerfile, image_env

FOLDER = ROOT / "deploy" / "k8s"
MANIFESTS: list[dict[str, Any]] = [
    each for path in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text("utf-8"))
]
PODS = {
    each["metadata"]["name"]: each["spec"]["template"] for each in MANIFESTS if each["kind"] in ("Deployment", "Job")
}
STREAMS = ("lead", "login")
EVERY_POD = pytest.mark.parametrize("name", PODS)
EVERY_STREAM = pytest.mark.parametrize("stream", STREAMS)


def _one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in MANIFESTS if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of the ConfigMap, with the variables of the pods."""
    path = tmp_path / "scorer.toml"
    path.write_text(_one("ConfigMap", "scorer")["data"]["scorer.toml"], encoding="utf-8")
    (container,) = PODS["scorer-lead"]["spec"]["containers"]
    variables = {each["name"]: each.get("value", "a-pod") for each in container["env"]}
    return load_settings(path, variables | {"SCORER_CONFIG": str(path)}, ()).settings


def test_the_streams_are_those_of_compose(settings: Settings) -> None:
    assert settings.streams == load_settings(CONFIG, {}, ()).settings.streams
    assert tuple(stream.name for stream in settings.streams) == STREAMS
    assert settings.kafka.shared["client.id"]
    assert settings.metrics.host == "0.0.0.0"


@EVERY_POD
def test_every_pod_keeps_to_the_restricted_profile_with_a_root_that_cannot_be_written(name: str) -> None:
    pod = PODS[name]["spec"]
    uid, gid = (int(each) for each in next(i.value for i in dockerfile() if i.name == "USER").split(":"))
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": gid,
        "fsGroup": gid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}


@EVERY_POD
def test_every_pod_has_limits_and_mounts_the_settings_and_a_cache(name: str) -> None:
    pod = PODS[name]["spec"]
    (container,) = pod["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert mounts.keys() == volumes.keys()
    assert mounts["cache"] == f"{image_env()['XDG_CACHE_HOME']}/scorer"
    assert volumes["settings"]["configMap"]["name"] == "scorer"
    assert all("sizeLimit" in each["emptyDir"] for each in volumes.values() if "emptyDir" in each)
    (config,) = [each["value"] for each in container["env"] if each["name"] == "SCORER_CONFIG"]
    assert config == f"{mounts['settings']}/scorer.toml"
    assert "memory" in container["resources"]["limits"]
    assert "cpu" not in container["resources"]["limits"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert container["image"] == f"{project['name']}:{project['version']}"


@EVERY_STREAM
def test_a_stream_is_probed_on_its_own_port_and_restarted_for_nothing_but_a_loop_that_hangs(
    settings: Settings, stream: str
) -> None:
    template = PODS[f"scorer-{stream}"]
    (container,) = template["spec"]["containers"]
    assert container["args"] == ["worker", stream]
    port = settings.metrics.port + STREAMS.index(stream)
    assert container["ports"] == [{"name": "status", "containerPort": port}]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    live, ready = ({"path": f"/v2/health/{word}", "port": "status"} for word in ("live", "ready"))
    assert container["livenessProbe"]["httpGet"] == container["startupProbe"]["httpGet"] == live
    assert container["readinessProbe"]["httpGet"] == ready


@EVERY_STREAM
def test_a_stream_has_time_to_drain_and_rolls_out_without_a_process_too_many(settings: Settings, stream: str) -> None:
    deployment = _one("Deployment", f"scorer-{stream}")["spec"]
    grace_ms = deployment["template"]["spec"]["terminationGracePeriodSeconds"] * 1000
    assert grace_ms >= settings.shutdown.grace_ms_max + settings.shutdown.revoke_ms_max + 10_000
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert "replicas" not in deployment


@EVERY_STREAM
def test_a_disruption_budget_covers_the_pods_of_the_stream_and_lets_a_node_be_drained(stream: str) -> None:
    labels = PODS[f"scorer-{stream}"]["metadata"]["labels"]
    budget = _one("PodDisruptionBudget", f"scorer-{stream}")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    assert _one("Deployment", f"scorer-{stream}")["spec"]["selector"]["matchLabels"] == labels


@EVERY_STREAM
def test_a_stream_scales_by_the_lag_of_its_own_group_up_to_its_partitions(settings: Settings, stream: str) -> None:
    scaled = _one("ScaledObject", f"scorer-{stream}")["spec"]
    (trigger,) = scaled["triggers"]
    own = settings.stream(stream)
    (job,) = PODS["scorer-setup"]["spec"]["containers"]
    assert scaled["scaleTargetRef"] == {"name": f"scorer-{stream}"}
    assert scaled["maxReplicaCount"] == int(job["args"][job["args"].index("--partitions") + 1])
    assert scaled["minReplicaCount"] == 1
    assert trigger["metadata"]["consumerGroup"] == f"{settings.group}.{stream}"
    assert trigger["metadata"]["topic"] == own.from_topic
    assert trigger["metadata"]["offsetResetPolicy"] == own.start
    assert trigger["metadata"]["bootstrapServers"] == settings.kafka.shared["bootstrap.servers"]


def test_the_kustomization_has_every_file_but_those_that_need_keda() -> None:
    listed = set(yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"])
    assert listed == {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "keda.yaml"}


def test_no_manifest_holds_a_secret_or_a_floating_tag() -> None:
    text = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.yaml"))
    assert not re.findall(r"(?i)password|kind: Secret|:latest", text)
