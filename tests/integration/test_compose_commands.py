"""Every command of docker-compose.yml does its work with the environment that the file gives it, as a plain process.

No Docker engine is needed for that. Kafka and the registry run from their own services' environment too, so that a
setting which is wrong there fails here.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from scorer.local.java import QUICK, fetch, java
from scorer.local.kafka import LOCK, running_kafka
from scorer.local.ports import free_ports, is_free
from scorer.local.registry import install
from tests.harness import compose
from tests.harness.kafka import emptied, required
from tests.harness.place import Place, health_check, search_path, service_command, service_env
from tests.harness.topics import ask
from tests.harness.workers import Worker

pytestmark = pytest.mark.timeout(300)

OPERATIONS = (compose.ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
USAGE = re.findall(r"^# +docker compose exec (\S+) (scorer .+)$", compose.COMPOSE.read_text(encoding="utf-8"), re.M)
TOOLS_LOCK = Path(__file__).with_name("kafka_tools.lock.toml")
TOOLS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
}
REGISTRY_S_MAX = 120.0
EVENTS = 1000


@dataclass(slots=True)
class Scored:
    """What the workers did between their start and their end: outputs by command line, exit codes by service."""

    printed: dict[str, str] = field(default_factory=dict)
    healthy: dict[str, list[int]] = field(default_factory=dict)
    owned: dict[str, set[int]] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    exposed: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Kafka, running from the environment of its service, with its command-line tools where the image has them."""
    with emptied(tmp_path_factory.mktemp("compose")) as folder, required():
        inside = {"/etc/scorer": "etc", "/srv/scorer": "srv", "/var/cache": "cache", "/opt/kafka/bin": "bin"}
        folders = {name: folder / here for name, here in inside.items()}
        for each in folders.values():
            each.mkdir()
        shutil.copytree(compose.ROOT / "models", folders["/srv/scorer"] / "models")
        folders["/var/lib/kafka/data"] = folder / "kafka" / "data"
        for name, main in TOOLS.items():
            _write_tool(folders["/opt/kafka/bin"] / name, main)
        made = Place(_ports(), folders, search_path(Path(sys.executable).parent))
        config = made.here(compose.CONFIG.read_text(encoding="utf-8"))
        (folders["/etc/scorer"] / "scorer.toml").write_text(config, encoding="utf-8")
        settings = {_property(name): value for name, value in service_env(made, "kafka").items()}
        with running_kafka(folder / "kafka", port=made.ports[9092], overrides=settings):
            yield made


@pytest.fixture(scope="module")
def registry(place: Place) -> Iterator[str]:
    """The registry, running from the environment of its service; its address as the workers know it."""
    with _registry(place):
        yield place.here("http://schema-registry:8080/apis/ccompat/v7")


@pytest.fixture(scope="module")
def prepared(place: Place, registry: str) -> str:
    """Topics and schemas, made by init; what it printed the first time."""
    code, printed = _run(place, "init")
    assert code == 0, printed
    return printed


@pytest.fixture(scope="module")
def scored(place: Place, prepared: str) -> Scored:
    """Both workers, and one of them twice, from start to SIGTERM, with events sent and predictions watched."""
    found = Scored()
    lead, login = place.ports[9464], place.ports[9465]
    (more,) = free_ports(1)
    found.healthy = {name: [_healthy(place, name)] for name in ("worker-lead", "worker-login")}
    with ExitStack() as stack:
        workers = {"worker-lead": stack.enter_context(_service(place, "worker-lead", lead))}
        workers["worker-login"] = stack.enter_context(_service(place, "worker-login", login))
        workers["scaled"] = stack.enter_context(_service(place, "worker-lead", more, SCORER_METRICS__PORT=str(more)))
        for worker in workers.values():
            worker.wait_ready()
        for name, codes in found.healthy.items():
            codes.append(_healthy(place, name))
        found.owned = {name: worker.owned() for name, worker in workers.items()}
        for service, line in [("worker-login", f"scorer send login -n {EVENTS}"), *USAGE]:
            if " watch " in line:
                workers["worker-lead"].until(lambda: _done(workers) == 2 * EVENTS, "done with every event")
            code, found.printed[line] = place.run(shlex.split(line), service_env(place, service))
            assert code == 0, found.printed[line]
        found.exposed = {name: worker.exposition() for name, worker in workers.items()}
        for name, worker in workers.items():
            worker.signal(signal.SIGTERM)
            found.codes[name] = worker.wait()
    return found


def test_kafka_with_the_composed_settings_is_healthy(place: Place) -> None:
    assert place.run(health_check(place, "kafka"), {}) == (0, "")


def test_kafka_with_the_composed_settings_makes_no_topic_that_was_not_asked_for(place: Place) -> None:
    found = AdminClient({"bootstrap.servers": place.here("kafka:19092")}).list_topics("nobody-made-it", timeout=30)
    assert found.topics["nobody-made-it"].error is not None


@pytest.mark.skipif(shutil.which("curl") is None, reason="the registry's image brings curl, this machine has none")
def test_the_composed_registry_is_healthy_while_it_runs_and_at_no_other_time(place: Place, registry: str) -> None:
    check = health_check(place, "schema-registry")
    assert place.run(check, {})[0] == 0
    (nobody,) = free_ports(1)
    assert place.run([word.replace(str(place.ports[8080]), str(nobody)) for word in check], {})[0] != 0


def test_init_makes_every_topic_and_schema(place: Place, registry: str, prepared: str) -> None:
    topics = AdminClient({"bootstrap.servers": place.here("kafka:19092")}).list_topics(timeout=30).topics
    for name in ("events.new-lead", "events.login", "predictions.lead-score", "predictions.recommendation"):
        assert f"topic   {name} created with 4 partitions" in prepared
        assert len(topics[name].partitions) == 4
        assert f"{name}-value" in ask(f"{registry}/subjects")


def test_init_may_run_again(place: Place, prepared: str) -> None:
    code, printed = _run(place, "init")
    assert (code, "all are there" in printed) == (0, True), printed


def test_the_health_check_of_a_worker_passes_once_it_scores_and_not_before(scored: Scored) -> None:
    assert {name: [code == 0 for code in codes] for name, codes in scored.healthy.items()} == {
        "worker-lead": [False, True],
        "worker-login": [False, True],
    }


def test_a_second_process_of_a_stream_takes_over_half_of_its_partitions(scored: Scored) -> None:
    assert {name: len(owned) for name, owned in scored.owned.items()} == {
        "worker-lead": 2,
        "worker-login": 4,
        "scaled": 2,
    }
    assert scored.owned["worker-lead"] | scored.owned["scaled"] == {0, 1, 2, 3}


def test_the_commands_at_the_head_of_the_file_send_events_and_show_each_prediction_once(scored: Scored) -> None:
    (watched,) = [printed for line, printed in scored.printed.items() if " watch lead" in line]
    predictions = [json.loads(line) for line in watched.splitlines()]
    assert len(predictions) == len({each["event_id"] for each in predictions}) == EVENTS
    assert {each["model_name"] for each in predictions} == {"lead"}


def test_every_process_tells_prometheus_what_it_did(scored: Scored) -> None:
    (job,) = yaml.safe_load((compose.ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    assert {name for each in job["dns_sd_configs"] for name in each["names"]} == {"worker-lead", "worker-login"}
    assert _total(scored, "lead") == _total(scored, "login") == EVENTS


def test_every_worker_ends_with_0_on_sigterm(scored: Scored) -> None:
    assert scored.codes == {"worker-lead": 0, "worker-login": 0, "scaled": 0}


def test_the_command_of_the_operations_page_moves_a_group(place: Place, scored: Scored) -> None:
    block = re.search(r"```sh\n(docker compose exec kafka (\S+kafka-consumer-groups\.sh .+?))```", OPERATIONS, re.S)
    assert block is not None
    assert _committed(place) == EVENTS
    command = shlex.split(place.here(block[2].replace("\\\n", " ")))
    code, printed = place.run(command, {}, wait_s_max=90)
    assert code == 0, printed
    assert _committed(place) == 0


def test_the_composed_registry_keeps_schemas_and_ids_when_it_starts_again(
    place: Place, registry: str, scored: Scored
) -> None:
    subjects = ask(f"{registry}/subjects")
    before = [ask(f"{registry}/subjects/{each}/versions/latest") for each in subjects]
    assert len(before) == 5
    again = Place({**place.ports, 8080: free_ports(1)[0]}, place.folders, place.path)
    with _registry(again):
        url = again.here("http://schema-registry:8080/apis/ccompat/v7")
        assert [ask(f"{url}/subjects/{each}/versions/latest") for each in subjects] == before


def _total(scored: Scored, stream: str) -> float:
    """Predictions of a stream, as all processes together expose them."""
    samples = [line for text in scored.exposed.values() for line in text.splitlines()]
    own = [line for line in samples if line.startswith("scorer_records_scored_total{") and f'stream="{stream}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in own)


def _done(workers: dict[str, Worker]) -> float:
    return sum(worker.metric("scorer_records_scored_total") for worker in workers.values())


def _committed(place: Place) -> int:
    """How far the lead stream's group has come, over all partitions."""
    admin = AdminClient({"bootstrap.servers": place.here("kafka:19092")})
    wanted = [TopicPartition("events.new-lead", partition) for partition in range(4)]
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("scorer.lead", wanted)])
    found: Any = asked["scorer.lead"].result(30)
    return sum(max(0, each.offset) for each in found.topic_partitions)


def _run(place: Place, name: str) -> tuple[int, str]:
    return place.run(service_command(place, name), service_env(place, name), wait_s_max=120)


def _healthy(place: Place, name: str) -> int:
    return place.run(health_check(place, name), {})[0]


@contextmanager
def _service(place: Place, name: str, port: int, **more: str) -> Iterator[Worker]:
    env = {**service_env(place, name), **more}
    with place.running(f"{name}-{port}", service_command(place, name), env, port) as started:
        yield started


@contextmanager
def _registry(place: Place) -> Iterator[Worker]:
    """The registry's jar with the environment of its service; only what keeps it on 127.0.0.1 is added."""
    (management,) = free_ports(1)
    own = {"QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_MANAGEMENT_HOST": "127.0.0.1"}
    env = {**service_env(place, "schema-registry"), **own, "QUARKUS_MANAGEMENT_PORT": str(management)}
    command = [str(java()), "-Xmx384m", *QUICK, "-jar", str(install(print))]
    port = place.ports[8080]
    with place.running(f"registry-{port}", command, env, port) as started:
        started.until(lambda: not is_free(port), "listening", REGISTRY_S_MAX)
        started.until(lambda: _answers(place), "answering", REGISTRY_S_MAX)
        yield started


def _answers(place: Place) -> bool:
    try:
        return isinstance(ask(place.here("http://schema-registry:8080/apis/ccompat/v7/subjects")), list)
    except (OSError, AssertionError):
        return False


def _ports() -> dict[int, int]:
    """A free port here for each port of the containers; the workers' two in a row, as the settings have them."""
    inside = (9092, 19092, 29093, 8080)
    while True:
        *others, first = free_ports(len(inside) + 1)
        if is_free(first + 1):
            return {**dict(zip(inside, others, strict=True)), 9464: first, 9465: first + 1}


def _property(name: str) -> str:
    """The broker's setting that the image makes of a variable."""
    plain = name.removeprefix("KAFKA_").lower()
    return plain.replace("___", "-").replace("__", "\0").replace("_", ".").replace("\0", "_")


def _write_tool(path: Path, main: str) -> None:
    """A shell script as in Kafka's image, for the same class on our Java."""
    jars = ":".join(map(str, [*fetch(LOCK, print), *fetch(TOOLS_LOCK, print)]))
    path.write_text(f'#!/bin/sh\nexec {java()} {" ".join(QUICK)} -cp {jars} {main} "$@"\n', encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
