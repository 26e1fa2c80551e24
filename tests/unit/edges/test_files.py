"""Events and texts from files that people hand over."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from scorer.core.errors import ConfigError, ContractError
from scorer.core.schema import Node, writer_schema
from scorer.edges.files import container_schema, read_events, read_schema, read_text, unmatched

SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "age", "type": "int"},
        {"name": "rate", "type": ["null", "double"]},
        {"name": "vip", "type": "boolean"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "codes", "type": {"type": "array", "items": "string"}},
    ],
}
ROOT = writer_schema(1, json.dumps(SCHEMA)).root
HEAD = "id,age,rate,vip,note,codes\n"


def read(path: Path, root: Node | None = ROOT, seen: set[str] | None = None) -> list[dict[str, Any]]:
    return [dict(event) for event in read_events(path, root, set() if seen is None else seen)]


def written(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz"])
def test_each_line_of_json_is_an_event_and_empty_lines_are_passed_over(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, '{"id": "a", "age": 1}\n\n  \n{"id": "é", "age": null}\n')
    assert read(path) == [{"id": "a", "age": 1}, {"id": "é", "age": None}]


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a byte order mark"])
def test_cells_of_csv_are_read_as_the_schemas_types(tmp_path: Path, name: str, mark: str) -> None:
    path = written(tmp_path / name, mark + HEAD + 'a,41,0.5,true,,"[""x"", ""y""]"\nb,-1,,0,"hi, you",[]\n')
    assert read(path) == [
        {"id": "a", "age": 41, "rate": 0.5, "vip": True, "note": None, "codes": ["x", "y"]},
        {"id": "b", "age": -1, "rate": None, "vip": False, "note": "hi, you", "codes": []},
    ]


def test_semicolons_separate_where_the_header_has_more_of_them(tmp_path: Path) -> None:
    path = written(tmp_path / "e.csv", 'id;age;note\n"a";41;"one, two"\n')
    assert read(path) == [{"id": "a", "age": 41, "note": "one, two"}]


def test_columns_that_the_schema_does_not_know_are_left_out_and_short_rows_lack_fields(tmp_path: Path) -> None:
    path = written(tmp_path / "e.csv", "id,extra,age\na,1,2\nb\nc,1,2,,\n")
    assert read(path) == [{"id": "a", "age": 2}, {"id": "b"}, {"id": "c", "age": 2}]


@pytest.mark.parametrize("name", ["e.csv", "e.jsonl"])
def test_names_that_only_the_file_or_only_the_schema_has_are_told(tmp_path: Path, name: str) -> None:
    events = {
        "e.csv": "id,Age,rate,vip,note,extra\na,1,2,true,,x\n",
        "e.jsonl": '{"id": "a", "rate": 2.0, "vip": true, "extra": 1}\n{"Age": 1, "note": null}\n',
    }
    seen: set[str] = set()
    path = written(tmp_path / name, events[name])
    read(path, ROOT, seen)
    assert unmatched(path, ROOT, seen) == [
        f"{path}: left out, as the schema does not have them: Age, extra",
        f"{path}: null or their default in every event, as the file does not have them: age, codes",
    ]


def test_a_file_with_the_schemas_names_or_without_events_needs_no_word(tmp_path: Path) -> None:
    seen: set[str] = set()
    read(written(tmp_path / "e.csv", HEAD), ROOT, seen)
    assert unmatched(tmp_path / "e.csv", ROOT, seen) == []
    assert unmatched(tmp_path / "e.jsonl", ROOT, set()) == []


def test_of_many_names_the_first_are_told(tmp_path: Path) -> None:
    seen = {name for name, _ in ROOT.fields} | {f"x{number:02}" for number in range(20)}
    (said,) = unmatched(tmp_path / "e.csv", ROOT, seen)
    assert said.endswith(": x00, x01, x02, x03, x04, x05, x06, x07, x08, x09 and 10 more")


@pytest.mark.parametrize("text", ["forty", "4.5", "1_000", ""])
def test_a_cell_that_is_no_such_number_stays_text_so_that_its_row_is_named_later(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "e.csv", f"id,age\na,{text}\n")
    assert read(path) == [{"id": "a", "age": text}]


def test_a_cell_that_is_no_boolean_and_no_json_stays_text(tmp_path: Path) -> None:
    path = written(tmp_path / "e.csv", "id,vip,codes\na,perhaps,x\nb,TRUE,null\n")
    assert read(path) == [{"id": "a", "vip": "perhaps", "codes": "x"}, {"id": "b", "vip": True, "codes": None}]


def avro_file(path: Path, *times: int, **options: Any) -> Path:
    moment = {"type": "long", "logicalType": "timestamp-millis"}
    schema = {"type": "record", "name": "R", "fields": [{"name": "at", "type": moment}, {"name": "x", "type": "int"}]}
    events = [{"at": at, "x": number} for number, at in enumerate(times or (1000, 2000), 1)]
    with path.open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(schema), events, **options)
    return path


def test_an_avro_container_brings_its_events_and_its_schema(tmp_path: Path) -> None:
    path = avro_file(tmp_path / "e.avro")
    assert read(path, None) == [{"at": 1000, "x": 1}, {"at": 2000, "x": 2}]
    schema = writer_schema(1, container_schema(path))
    assert [(name, node.kind, node.logical) for name, node in schema.root.fields] == [
        ("at", "long", "timestamp-millis"),
        ("x", "int", ""),
    ]


def test_a_time_that_is_none_for_python_is_what_the_container_holds(tmp_path: Path) -> None:
    path = avro_file(tmp_path / "e.avro", 10**17, -(10**17))
    assert [each["at"] for each in read(path, None)] == [10**17, -(10**17)]


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_every_block_of_a_container_is_read(tmp_path: Path, codec: str) -> None:
    times = range(1000)
    path = avro_file(tmp_path / "e.avro", *times, codec=codec, sync_interval=100)
    assert [each["at"] for each in read(path, None)] == list(times)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.jsonl", '{"a": 1}\n{"a":', "e.jsonl line 2 is no JSON: Expecting value"),
        ("e.jsonl", '{"a": 1}\n[1]\n', "e.jsonl line 2 is no JSON object of an event's fields"),
        ("e.jsonl", b'{"a": "\xff"}\n', "e.jsonl cannot be read: .*codec can't decode byte 0xff"),
        ("e.csv", "who,when\na,b\n", "e.csv has no column of the schema in its first line: who, when; wanted: id, age"),
        ("e.csv", "", "e.csv has no column of the schema in its first line: nothing; wanted: id"),
        ("e.csv", "id,age\na,1\nb,2,3\n", "e.csv line 3 has 3 cells, and the first line names 2 columns"),
        ("e.csv", "id\tage\na\t1\n", "e.csv has no column of the schema in its first line: id\tage; wanted"),
        ("e.csv", f'id,note\na,"{"x" * 200_000}"\n', "e.csv cannot be read: field larger than field limit"),
        ("e.avro", b"Obj\x01 and nothing", "e.avro cannot be read: "),
        ("e.avro", b"", "e.avro cannot be read: "),
        ("e.txt", "", r"e.txt must end in .csv or .jsonl \(both also .gz\), or in .avro"),
        ("e.avro.gz", "", "e.avro.gz must end in .csv or .jsonl"),
        ("e", "", "e must end in .csv or .jsonl"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong_and_where(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read(written(tmp_path / name, content))


def test_what_came_before_a_broken_line_is_read(tmp_path: Path) -> None:
    events = read_events(written(tmp_path / "e.jsonl", '{"a": 1}\n{'), None, set())
    assert next(events) == {"a": 1}
    with pytest.raises(ConfigError, match="line 2"):
        next(events)


def test_a_gz_file_that_is_cut_short_or_no_gz_is_named(tmp_path: Path) -> None:
    whole = written(tmp_path / "e.jsonl.gz", '{"a": 1}\n' * 100)
    whole.write_bytes(whole.read_bytes()[:-10])
    with pytest.raises(ConfigError, match=r"e.jsonl.gz cannot be read: .*end-of-stream"):
        read(whole)
    whole.write_bytes(b'{"a": 1}\n')
    with pytest.raises(ConfigError, match=r"e.jsonl.gz cannot be read: Not a gzipped file"):
        read(whole)


def test_an_avro_container_that_is_cut_short_or_of_another_kind_is_named(tmp_path: Path) -> None:
    path = avro_file(tmp_path / "e.avro")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=r"e.avro cannot be read: "):
        read(path, None)
    with pytest.raises(ConfigError, match=r"e.csv is no Avro container: "):
        container_schema(written(tmp_path / "e.csv", "a,b\n"))


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl", "none.jsonl.gz", "none.avro"])
def test_a_file_that_is_not_there_is_the_operators(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} cannot be read: No such file or directory"):
        read(tmp_path / name)
    with pytest.raises(ConfigError, match=rf"{name} cannot be read: No such file"):
        container_schema(tmp_path / name)


def test_a_folder_in_the_place_of_a_file_is_the_operators(tmp_path: Path) -> None:
    folder = tmp_path / "e.csv"
    folder.mkdir()
    for use in (read, container_schema, read_text, lambda path: read_schema(path, 1)):
        with pytest.raises(ConfigError, match=r"e.csv cannot be read: Is a directory"):
            use(folder)


def test_csv_needs_a_schema(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs the event's schema: give --schema"):
        read(written(tmp_path / "e.csv", HEAD), None)


def test_a_text_is_utf_8_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_text(written(tmp_path / "a", "\ufeffé")) == "é"
    with pytest.raises(ConfigError, match=r"a cannot be read: .*codec can't decode"):
        read_text(written(tmp_path / "a", b"\xff"))


def test_a_schema_in_a_file_gets_the_callers_id(tmp_path: Path) -> None:
    schema = read_schema(written(tmp_path / "e.avsc", json.dumps(SCHEMA)), 7)
    assert (schema.id, schema.root) == (7, ROOT)


@pytest.mark.parametrize("content", ["{", '"string"', "[]", '{"type": "record", "name": "R"}'])
def test_a_file_without_a_schema_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(ContractError, match=r"e.avsc: schema 1 "):
        read_schema(written(tmp_path / "e.avsc", content), 1)
