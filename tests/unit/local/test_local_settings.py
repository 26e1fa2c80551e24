"""Rules of what local servers are started with: settings, lock files, ports."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from scorer.core.errors import ConfigError
from scorer.local import kafka, ports, registry
from scorer.local.java import LocalUnavailable, locked
from scorer.local.kafka import Plan, settings
from scorer.local.ports import free_ports

PLAN = Plan(Path("/somewhere"), port=20_001, controller_port=20_002)


def test_a_broker_listens_on_loopback_alone() -> None:
    listeners = settings(PLAN)["listeners"].split(",")
    assert listeners == ["PLAINTEXT://127.0.0.1:20001", "CONTROLLER://127.0.0.1:20002"]


def test_a_broker_s_data_lies_in_its_folder() -> None:
    assert settings(PLAN)["log.dirs"] == "/somewhere/data"


def as_java_reads(properties: str) -> dict[str, str]:
    """Java's Properties.load: Latin-1, with UTF-16 in escapes."""
    pairs = (line.partition("=")[::2] for line in properties.encode("latin-1").decode("unicode_escape").splitlines())
    return {name.strip(): value.strip().encode("utf-16", "surrogatepass").decode("utf-16") for name, value in pairs}


@pytest.mark.parametrize("folder", ["/Büro/Łódź", "/\N{MUSICAL SYMBOL G CLEF}", "/a\\tb", "/tab\there"])
def test_a_folder_may_have_any_letters(folder: str) -> None:
    plan = Plan(Path(folder), 1, 2)
    assert as_java_reads(kafka._as_properties(settings(plan)))["log.dirs"] == f"{folder}/data"
    assert as_java_reads(kafka._logging(Path(folder) / "log"))["appender.file.fileName"] == f"{folder}/log"


def test_a_folder_with_a_comma_where_kafka_would_see_two_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"/Mustermann, Max .*--folder OTHER"):
        kafka.kafka(Plan(Path("/Mustermann, Max"), 1, 2), print)


def test_an_override_counts_over_any_setting_of_ours() -> None:
    plan = Plan(PLAN.folder, 1, 2, overrides={"num.partitions": "9", "message.max.bytes": "2000"})
    assert settings(plan)["num.partitions"] == "9"
    assert settings(plan)["message.max.bytes"] == "2000"


def test_events_with_old_timestamps_never_expire_nor_split_segments() -> None:
    assert settings(PLAN)["log.retention.ms"] == "-1"
    assert int(settings(PLAN)["log.roll.ms"]) > 5 * 365 * 24 * 3_600_000


def test_topics_exist_only_if_created() -> None:
    assert settings(PLAN)["auto.create.topics.enable"] == "false"


def test_every_internal_topic_can_be_made_by_one_broker() -> None:
    needs = [name for name in settings(PLAN) if name.endswith(("replication.factor", "min.isr"))]
    assert len(needs) == 5
    assert {settings(PLAN)[name] for name in needs} == {"1"}


def test_a_registry_listens_on_loopback_alone_and_keeps_its_schemas_in_its_folder() -> None:
    found = registry.properties(registry.Plan(Path("/somewhere"), port=20_003, management_port=20_004))
    assert {found["quarkus.http.host"], found["quarkus.management.host"]} == {"127.0.0.1"}
    assert found["apicurio.datasource.url"] == "jdbc:h2:file:/somewhere/data/registry"


@pytest.mark.parametrize(
    ("lock", "name", "version"),
    [
        (kafka.LOCK, "kafka_2.13", kafka.VERSION),
        (kafka.LOCK, "kafka-clients", kafka.VERSION),
        (registry.LOCK, "apicurio-registry-app", registry.VERSION),
    ],
)
def test_a_lock_file_names_the_version_that_the_code_names(lock: Path, name: str, version: str) -> None:
    assert [entry.version for entry in locked(lock.read_text()) if entry.name == name] == [version]


def test_every_locked_file_has_a_checksum_and_is_locked_once() -> None:
    entries = [entry for lock in (kafka.LOCK, registry.LOCK) for entry in locked(lock.read_text())]
    assert all(len(bytes.fromhex(entry.sha256)) == 32 for entry in entries)
    assert len({(entry.group, entry.name, entry.classifier) for entry in entries}) == len(entries)


def test_an_entry_without_a_checksum_is_refused_by_name() -> None:
    text = '[[dependencies]]\ngroupId = "g"\nartifactId = "unsigned"\nversion = "1"\npackaging = "jar"\n'
    with pytest.raises(ValueError, match="g:unsigned"):
        locked(text)


def test_what_cannot_be_had_offers_the_way_without() -> None:
    error = LocalUnavailable("No jars", "Plug in the cable")
    assert isinstance(error, ConfigError)
    assert str(error) == "No jars. Plug in the cable, or go on without a real Kafka: scorer demo --broker mock"


def test_free_ports_are_never_the_same_twice_in_a_row() -> None:
    assert len({*free_ports(3), *free_ports(3)}) == 6


def test_free_ports_leave_out_what_is_meant_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    meant = free_ports(2)
    monkeypatch.setattr(ports, "_steps", itertools.count(meant[0] - ports.FIRST))
    assert not {*free_ports(2, apart_from=meant)} & {*meant}


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    assert all(20_000 <= port < 32_000 for port in free_ports(5))
