"""Rules of the real Kafka and registry that run on this machine: their lives, their data, who can reach them."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import socket
import subprocess
import sys
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from scorer.local import ports, process, stack
from scorer.local.java import LocalUnavailable, cache_folder
from scorer.local.kafka import brokers, running_kafka
from scorer.local.ports import free_ports, is_free
from scorer.local.server import Server
from tests.harness.kafka import Topics, emptied, required

WAIT_S_MAX = 30.0
COUNT = 20
LONG_AGO_MS = 1_290_000_000_000  # November 2010, as the sample events' own time
UP = """
import pathlib, sys
from scorer.local.stack import up
up(pathlib.Path(sys.argv[1]), print, kafka_port=int(sys.argv[2]), registry_port=int(sys.argv[3]))
"""


@dataclass(frozen=True)
class Surrounding:
    """What `up` starts in a folder."""

    folder: Path
    kafka_port: int
    registry_port: int

    def up(self) -> stack.State:
        return stack.up(self.folder, print, kafka_port=self.kafka_port, registry_port=self.registry_port)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """A broker of the test's own, to be stopped and killed."""
    with required(), running_kafka(tmp_path / "kafka") as server:
        yield server


def produce(address: str, topic: str, count: int = COUNT) -> None:
    failed: list[Any] = []
    producer = Producer({"bootstrap.servers": address, "acks": "all"})
    for number in range(count):
        report = lambda error, _: failed.append(error) if error else None  # noqa: E731
        producer.produce(topic, str(number), partition=0, timestamp=LONG_AGO_MS + number, on_delivery=report)
    assert producer.flush(WAIT_S_MAX) == 0
    assert failed == []


def consume(address: str, topic: str, count: int = COUNT) -> list[tuple[bytes | None, int]]:
    """Returns value and timestamp of the topic's first records."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Message] = consumer.consume(count, WAIT_S_MAX)
    consumer.close()
    return [(message.value(), message.timestamp()[1]) for message in found]


def create(address: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(WAIT_S_MAX)


def ask(address: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    url = urllib.parse.urlsplit(address)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=WAIT_S_MAX)
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    connection.request(method, url.path + path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def schema(**fields: str) -> dict[str, str]:
    record = {"type": "record", "name": "r", "fields": [{"name": name, "type": of} for name, of in fields.items()]}
    return {"schema": json.dumps(record)}


def test_a_topic_can_be_made_as_soon_as_a_start_returns(broker: Server) -> None:
    assert brokers(int(broker.address.partition(":")[2])) == 1
    create(broker.address, "first")


def test_a_stopped_broker_leaves_no_process_and_starts_again_with_its_records(broker: Server) -> None:
    create(broker.address, "kept")
    produce(broker.address, "kept")
    mark, port = broker.mark, int(broker.address.partition(":")[2])
    assert mark is not None
    broker.stop()
    assert not process.alive(mark)
    assert not broker.running
    assert is_free(port)
    with pytest.raises(OSError, match="refused"):
        brokers(port)
    broker.start()
    assert consume(broker.address, "kept") == [(b"%d" % number, LONG_AGO_MS + number) for number in range(COUNT)]


def test_a_broker_killed_with_sigkill_starts_again_with_all_that_it_confirmed(broker: Server) -> None:
    create(broker.address, "kept")
    produce(broker.address, "kept")
    broker.kill()
    assert not broker.running
    broker.start()
    assert len(consume(broker.address, "kept")) == COUNT


def test_a_folder_brings_its_topics_to_a_broker_on_other_ports(tmp_path: Path) -> None:
    with required(), running_kafka(tmp_path) as server:
        create(server.address, "kept")
        first = server.address
    with running_kafka(tmp_path) as server:
        assert server.address != first
        assert "kept" in AdminClient({"bootstrap.servers": server.address}).list_topics(timeout=WAIT_S_MAX).topics


def test_the_shared_broker_takes_transactions(kafka: str, topics: Topics) -> None:
    topic = topics(partitions=1)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(WAIT_S_MAX)
    for value, finish in ((b"undone", producer.abort_transaction), (b"done", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        finish(WAIT_S_MAX)
    assert [value for value, _ in consume(kafka, topic, count=1)] == [b"done"]


def test_the_shared_broker_makes_no_topic_that_was_not_asked_for(kafka: str) -> None:
    name = uuid.uuid4().hex
    found = AdminClient({"bootstrap.servers": kafka}).list_topics(name, timeout=WAIT_S_MAX).topics[name]
    assert found.error is not None
    assert found.error.name() == "UNKNOWN_TOPIC_OR_PART"


def test_a_topic_of_the_fixture_has_the_settings_that_it_was_given(kafka: str, topics: Topics) -> None:
    name = topics(partitions=3, max_message_bytes="2000")
    admin = AdminClient({"bootstrap.servers": kafka})
    assert len(admin.list_topics(name, timeout=WAIT_S_MAX).topics[name].partitions) == 3
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    config = admin.describe_configs([resource])[resource].result(WAIT_S_MAX)
    assert config["max.message.bytes"].value == "2000"
    assert config["retention.ms"].value == "-1"


def test_a_broker_that_cannot_listen_says_why_and_leaves_no_process(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(LocalUnavailable, match="already in use"):  # noqa: SIM117
        with running_kafka(tmp_path, port=port):
            pass
    used = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in used


def test_the_first_run_leaves_an_archive_of_classes_and_the_next_one_starts_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with required(), running_kafka(tmp_path / "first") as server:
        assert server.mark is not None
        assert "-XX:ArchiveClassesAtExit=" in command_of(server.mark.pid)
    (archive,) = cache_folder().glob("classes-*.jsa")
    assert list((tmp_path / "first").glob("*.jsa")) == []
    with running_kafka(tmp_path / "second") as server:
        assert server.mark is not None
        assert f"-XX:SharedArchiveFile={archive}\0" in command_of(server.mark.pid)
        assert "[cds]" not in server.log.with_suffix(".out").read_text(), "Java takes the archive without complaint"


def command_of(pid: int) -> str:
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return shown.stdout.replace(" ", "\0")


def test_the_shared_registry_gives_a_schema_the_same_id_again(registry: str) -> None:
    subject = f"/subjects/{uuid.uuid4().hex}-value/versions"
    status, answer = ask(registry, "POST", subject, schema(id="string"))
    assert status == 200
    assert ask(registry, "POST", subject, schema(id="string")) == (200, answer)
    assert json.loads(ask(registry, "GET", f"/schemas/ids/{answer['id']}")[1]["schema"])["name"] == "r"


def test_the_shared_registry_refuses_a_schema_that_does_not_fit_the_subject(registry: str) -> None:
    subject = f"{uuid.uuid4().hex}-value"
    assert ask(registry, "POST", f"/subjects/{subject}/versions", schema(id="string"))[0] == 200
    assert ask(registry, "PUT", f"/config/{subject}", {"compatibility": "FULL_TRANSITIVE"})[0] == 200
    status, answer = ask(registry, "POST", f"/subjects/{subject}/versions", schema(id="string", more="int"))
    assert status == 409
    assert answer["error_code"] == 409
    assert ask(registry, "GET", f"/subjects/{subject}/versions") == (200, [1])


@pytest.fixture(scope="module")
def surrounding(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surrounding]:
    """Kafka and a registry that another process, ended by now, has started to stay."""
    made = Surrounding(tmp_path_factory.mktemp("surrounding"), *free_ports(2))
    with emptied(made.folder):
        try:
            ports = (str(made.kafka_port), str(made.registry_port))
            subprocess.run([sys.executable, "-c", UP, str(made.folder), *ports], check=True)
            yield made
        finally:
            stack.down(made.folder, print)


def test_what_up_has_started_outlives_the_command(surrounding: Surrounding) -> None:
    found = stack.status_of(surrounding.folder)
    assert [(status.member.name, status.running) for status in found] == [("kafka", True), ("registry", True)]
    assert all(100 < status.resident_mb < 600 for status in found)
    assert brokers(surrounding.kafka_port) == 1


def test_up_leaves_what_runs_as_it_is(surrounding: Surrounding) -> None:
    members = tuple(status.member for status in stack.status_of(surrounding.folder))
    assert surrounding.up().members == members


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_neither_server_listens_beyond_this_machine(surrounding: Surrounding) -> None:
    for status in stack.status_of(surrounding.folder):
        assert list(listening(status.member.pid)) == ["127.0.0.1", "127.0.0.1"]


def test_down_ends_both_and_the_next_up_has_their_topics_and_schemas(surrounding: Surrounding) -> None:
    members = surrounding.up().members
    kafka, registry = (member.address for member in members)
    create(kafka, "kept")
    ids = [ask(registry, "POST", f"/subjects/{name}/versions", schema(**{name: "string"}))[1]["id"] for name in "ab"]
    assert stack.down(surrounding.folder, print) == ("registry", "kafka")
    assert not any(process.alive(member.mark) for member in members)
    assert stack.status_of(surrounding.folder) == ()
    surrounding.up()
    assert "kept" in AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=WAIT_S_MAX).topics
    assert [ask(registry, "GET", f"/subjects/{name}/versions/1")[1]["id"] for name in "ab"] == ids


@pytest.mark.parametrize("meant_for", ["kafka", "registry"])
def test_up_gives_no_server_a_port_that_is_meant_for_another(
    kafka: str, registry: str, meant_for: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(zip(("kafka", "registry"), free_ports(2), strict=True))
    monkeypatch.setattr(ports, "_steps", itertools.count(given[meant_for] - ports.FIRST))
    with emptied(tmp_path):
        try:
            started = stack.up(tmp_path, print, kafka_port=given["kafka"], registry_port=given["registry"])
            assert [status.running for status in stack.status_of(tmp_path)] == [True, True]
            assert f":{given['registry']}/" in started.members[1].address
        finally:
            stack.down(tmp_path, print)


def test_up_names_a_port_that_is_taken(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(LocalUnavailable, match=f"Port {port} of kafka"):
        stack.up(tmp_path, print, kafka_port=port)


def listening(pid: int) -> Iterator[str]:
    """Yields the IPv4 addresses on which a process takes connections; any other address as it stands in /proc."""
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    inodes = {match[1] for match in map(re.compile(r"socket:\[(\d+)\]").fullmatch, links) if match}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and rest[5] in inodes:
                address = local.partition(":")[0].removeprefix("0000000000000000FFFF0000")
                yield socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address
