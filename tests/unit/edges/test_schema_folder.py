"""The schemas/ folder as a registry."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest

from scorer.core.errors import ConfigError, ContractError
from scorer.edges.schema_folder import INDEX, SchemaFolder, write_whole

SHIPPED = Path(__file__).parents[3] / "schemas"
RECORD = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}'
LONGER = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}'


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    (tmp_path / INDEX).write_text("[]\n")
    return tmp_path


def index(folder: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((folder / INDEX).read_text())
    return listed


def test_the_shipped_schemas_have_their_fixed_ids() -> None:
    registry = SchemaFolder(SHIPPED)
    subjects = {entry["subject"]: entry["id"] for entry in index(SHIPPED)}
    assert subjects["events.new-lead-value"] == 1
    assert subjects["events.login-value"] == 2
    for subject, schema_id in subjects.items():
        topic = subject.removesuffix("-value")
        text = (SHIPPED / f"{topic}.avsc").read_text()
        assert registry.text(schema_id) == text
        assert registry.versions(subject) == [(schema_id, text)]


def test_registering_what_is_shipped_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "schemas"
    shutil.copytree(SHIPPED, folder)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    registry = SchemaFolder(folder)
    for entry in index(SHIPPED):
        text = (SHIPPED / entry["file"]).read_text()
        assert registry.register(entry["subject"], text, entry["compatibility"]) == entry["id"]
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before


def test_registering_in_a_folder_without_an_index_begins_one(tmp_path: Path) -> None:
    registry = SchemaFolder(tmp_path)
    assert registry.register("a-value", RECORD, "BACKWARD") == 1
    assert [each["subject"] for each in index(tmp_path)] == ["a-value"]
    assert SchemaFolder(tmp_path).text(1) == RECORD


def test_an_unknown_id_is_none_and_an_unknown_subject_has_no_versions(empty: Path) -> None:
    assert SchemaFolder(empty).text(1) is None
    assert SchemaFolder(empty).versions("a-value") == []


def test_new_schemas_get_the_next_id_and_a_file_named_by_topic_and_version(empty: Path) -> None:
    registry = SchemaFolder(empty)
    assert registry.register("events.a-value", RECORD, "BACKWARD") == 1
    assert registry.register("events.b-value", RECORD, "BACKWARD") == 2
    assert registry.register("events.a-value", LONGER, "BACKWARD") == 3
    assert registry.versions("events.a-value") == [(1, RECORD), (3, LONGER)]
    assert (empty / "events.a.avsc").read_text() == RECORD
    assert (empty / "events.a.v2.avsc").read_text() == LONGER
    assert index(empty)[2] == {
        "id": 3,
        "subject": "events.a-value",
        "version": 2,
        "file": "events.a.v2.avsc",
        "compatibility": "BACKWARD",
    }
    assert sorted(path.name for path in empty.iterdir()) == [
        "events.a.avsc",
        "events.a.v2.avsc",
        "events.b.avsc",
        INDEX,
    ]


def test_a_topics_key_and_value_keep_apart(empty: Path) -> None:
    registry = SchemaFolder(empty)
    for subject, text in (("a-value", RECORD), ("a-key", LONGER)):
        registry.register(subject, text, "NONE")
    assert [registry.text(schema_id) for schema_id in (1, 2)] == [RECORD, LONGER]


def test_an_equal_schema_keeps_its_id_however_it_is_spaced(empty: Path) -> None:
    registry = SchemaFolder(empty)
    registry.register("a-value", RECORD, "BACKWARD")
    registry.register("a-value", LONGER, "BACKWARD")
    respaced = json.dumps(json.loads(RECORD), indent=4, sort_keys=True)
    assert registry.register("a-value", respaced, "BACKWARD") == 1
    assert len(index(empty)) == 2


def test_registering_sets_the_compatibility_of_the_whole_subject(empty: Path) -> None:
    registry = SchemaFolder(empty)
    registry.register("a-value", RECORD, "BACKWARD")
    registry.register("b-value", RECORD, "BACKWARD")
    registry.register("a-value", LONGER, "FULL")
    assert [entry["compatibility"] for entry in index(empty)] == ["FULL", "BACKWARD", "FULL"]
    registry.register("a-value", RECORD, "NONE")
    assert [entry["compatibility"] for entry in index(empty)] == ["NONE", "BACKWARD", "NONE"]


def test_a_byte_order_mark_in_front_is_no_part_of_a_schema(empty: Path) -> None:
    (empty / "events.a.avsc").write_text(RECORD, "utf-8-sig")
    registry = SchemaFolder(empty)
    registry.register("events.a-value", RECORD, "BACKWARD")
    assert registry.text(1) == RECORD


def test_a_schema_file_that_is_there_already_is_taken_as_it_is(empty: Path) -> None:
    written = json.dumps(json.loads(RECORD), indent=2)
    (empty / "events.a.avsc").write_text(written)
    registry = SchemaFolder(empty)
    registry.register("events.a-value", RECORD, "BACKWARD")
    assert registry.text(1) == written
    (empty / "events.b.avsc").write_text(LONGER)
    with pytest.raises(ContractError, match=r"events.b.avsc exists, with another schema"):
        registry.register("events.b-value", RECORD, "BACKWARD")
    assert (empty / "events.b.avsc").read_text() == LONGER


def test_a_running_reader_sees_what_another_registers(empty: Path) -> None:
    reader = SchemaFolder(empty)
    assert reader.text(1) is None
    SchemaFolder(empty).register("a-value", RECORD, "BACKWARD")
    assert reader.text(1) == RECORD
    assert reader.versions("a-value") == [(1, RECORD)]


def register_five(folder: Path, name: str) -> None:
    for number in range(5):
        text = json.dumps({"type": "record", "name": f"R{number}", "fields": []})
        SchemaFolder(folder).register(f"{name}-value", text, "NONE")


def test_processes_that_register_at_the_same_time_lose_nothing_and_share_no_id(empty: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=register_five, args=(empty, name)) for name in ("a", "b", "c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert [entry["id"] for entry in index(empty)] == list(range(1, 16))
    assert [len(SchemaFolder(empty).versions(f"{name}-value")) for name in "abc"] == [5, 5, 5]


@pytest.mark.parametrize("text", ["{", '"string"', '{"type": "record", "name": "R", "fields": [{"name": "a"}]}'])
def test_a_schema_that_no_worker_would_admit_is_refused(empty: Path, text: str) -> None:
    with pytest.raises(ContractError, match="schema 0"):
        SchemaFolder(empty).register("a-value", text, "NONE")
    assert index(empty) == []


@pytest.mark.parametrize("subject", ["../a-value", "a/b", "", ".a", "a b"])
def test_a_subject_that_is_no_topics_is_refused(empty: Path, subject: str) -> None:
    with pytest.raises(ConfigError, match="characters that a topic"):
        SchemaFolder(empty).register(subject, RECORD, "NONE")


def test_a_compatibility_that_registries_do_not_have_is_refused(empty: Path) -> None:
    with pytest.raises(ConfigError, match=r"'full' of a-value is none of NONE, .*FULL_TRANSITIVE"):
        SchemaFolder(empty).register("a-value", RECORD, "full")


def entry(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "subject": "a-value", "version": 1, "file": "a.avsc", "compatibility": "NONE"} | changes


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[", "is no valid JSON"),
        ("{}", "must be a list"),
        ("[1]", "entry 1 must have exactly the keys"),
        (json.dumps([entry(), entry(id=2, version=2) | {"extra": 1}]), "entry 2 must have exactly the keys"),
        (json.dumps([entry(id="1")]), "entry 1: id = '1' must be of type int"),
        (json.dumps([entry(id=True)]), "entry 1: id = True must be of type int"),
        (json.dumps([entry(id=0)]), "start at 1"),
        (json.dumps([entry(file="../a.avsc")]), "must be a file name in the same folder"),
        (json.dumps([entry(), entry(version=2)]), "has an id twice"),
        (json.dumps([entry(), entry(id=2)]), "has a version of a subject twice"),
    ],
)
def test_a_broken_index_is_named_with_what_is_wrong(empty: Path, content: str, problem: str) -> None:
    (empty / INDEX).write_text(content)
    with pytest.raises(ConfigError, match=rf"registry\.json.*{problem}"):
        SchemaFolder(empty).text(1)


def test_an_index_that_breaks_later_is_named_and_read_again_once_mended(empty: Path) -> None:
    registry = SchemaFolder(empty)
    registry.register("a-value", RECORD, "NONE")
    good = (empty / INDEX).read_text()
    (empty / INDEX).write_text("[")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"registry\.json is no valid JSON"):
            registry.text(1)
    (empty / INDEX).write_text(good)
    assert registry.text(1) == RECORD


def test_a_folder_or_a_schema_that_is_missing_or_broken_is_named(empty: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/registry\.json cannot be read"):
        SchemaFolder(empty / "nowhere").text(1)
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        SchemaFolder(empty / "nowhere").register("a-value", RECORD, "NONE")
    (empty / INDEX).write_text(json.dumps([entry()]))
    with pytest.raises(ConfigError, match=r"a\.avsc cannot be read"):
        SchemaFolder(empty).text(1)
    (empty / "a.avsc").write_text("{")
    with pytest.raises(ConfigError, match=r"a\.avsc is no valid JSON"):
        SchemaFolder(empty).versions("a-value")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    (target / "inside").touch()
    with pytest.raises(ConfigError, match="taken cannot be written"):
        write_whole(target, "text")
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(ConfigError, match="cannot be written"):
        write_whole(tmp_path / "nowhere" / "file", "text")
