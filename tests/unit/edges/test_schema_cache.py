"""What the disk keeps of a registry's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scorer.core.errors import ConfigError, ContractError, TransientError
from scorer.edges.schema_cache import CachedRegistry

RECORD = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}'
LONGER = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}'
URL = "http://127.0.0.1:8081"


@dataclass
class Script:
    """A registry that answers from dictionaries, unless it is down."""

    texts: dict[int, str] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    down: bool = False
    asked: list[object] = field(default_factory=list)

    def text(self, schema_id: int) -> str | None:
        self.note(schema_id)
        return self.texts.get(schema_id)

    def versions(self, subject: str) -> list[tuple[int, str]]:
        self.note(subject)
        return [(schema_id, self.texts[schema_id]) for schema_id in self.subjects.get(subject, [])]

    def register(self, subject: str, text: str, compatibility: str) -> int:
        self.note((subject, text, compatibility))
        return 12

    def note(self, what: object) -> None:
        self.asked.append(what)
        if self.down:
            raise TransientError("down")


@dataclass
class Place:
    """A cache's folder; each `open` is another process."""

    folder: Path
    registry: Script
    reports: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def open(self, url: str = URL) -> CachedRegistry:
        return CachedRegistry(
            self.registry, url, self.folder, lambda event, fields: self.reports.append((event, fields))
        )

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "cache", Script({1: RECORD, 2: LONGER}, {"a-value": [1, 2]}))


def test_an_id_is_asked_for_once_also_across_processes(place: Place) -> None:
    assert place.open().text(1) == RECORD
    place.registry.down = True
    assert place.open().text(1) == RECORD
    assert place.registry.asked == [1]


def test_an_unknown_id_is_asked_for_each_time(place: Place) -> None:
    cached = place.open()
    assert cached.text(3) is None
    place.registry.texts[3] = RECORD
    assert cached.text(3) == RECORD


def test_an_id_that_was_never_seen_waits_for_the_registry(place: Place) -> None:
    place.registry.down = True
    with pytest.raises(TransientError):
        place.open().text(1)


def test_versions_are_the_registrys_while_it_answers(place: Place) -> None:
    cached = place.open()
    assert cached.versions("a-value") == [(1, RECORD), (2, LONGER)]
    place.registry.subjects["a-value"] = [2]
    assert cached.versions("a-value") == [(2, LONGER)]
    assert place.reports == []


def test_a_start_while_the_registry_is_down_gets_the_latest_versions_from_the_disk_and_says_so(place: Place) -> None:
    place.open().versions("a-value")
    place.registry.down = True
    assert place.open().versions("a-value") == [(1, RECORD), (2, LONGER)]
    assert place.reports == [("registry.from_disk", {"subject": "a-value", "versions": 2, "error": "down"})]


def test_versions_teach_ids(place: Place) -> None:
    place.open().versions("a-value")
    place.registry.down = True
    assert place.open().text(2) == LONGER


def test_a_subject_that_was_never_seen_or_had_no_versions_waits_for_the_registry(place: Place) -> None:
    assert place.open().versions("b-value") == []
    place.registry.down = True
    for subject in ("b-value", "c-value"):
        with pytest.raises(TransientError, match="down"):
            place.open().versions(subject)


def test_registries_at_different_urls_share_nothing(place: Place) -> None:
    place.open().text(1)
    place.registry.down = True
    with pytest.raises(TransientError):
        place.open("http://127.0.0.1:8082").text(1)


def test_another_password_costs_no_answer_and_none_is_on_the_disk(place: Place) -> None:
    place.open("http://ann:one@127.0.0.1:8081/").text(1)
    place.registry.down = True
    assert place.open("http://ann:two@127.0.0.1:8081").text(1) == RECORD
    assert all("ann" not in path.read_text() for path in place.files())


def test_a_damaged_file_is_as_good_as_none(place: Place) -> None:
    place.open().versions("a-value")
    for path in place.files():
        path.write_bytes(path.read_bytes()[:-1])
    cached = place.open()
    assert cached.text(1) == RECORD
    assert place.registry.asked == ["a-value", 1]
    place.registry.down = True
    with pytest.raises(TransientError):
        place.open().versions("a-value")
    for path in place.files():
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(TransientError):
        place.open().text(1)


def test_versions_of_which_one_is_damaged_are_not_taken_for_all(place: Place) -> None:
    place.open().versions("a-value")
    place.registry.down = True
    next(path for path in place.files() if path.name == "2").unlink()
    with pytest.raises(TransientError):
        place.open().versions("a-value")


def test_another_registry_at_the_same_url_is_noticed_and_the_old_answers_are_dropped(place: Place) -> None:
    place.registry.texts[9] = RECORD
    cached = place.open()
    cached.versions("a-value")
    cached.text(9)
    place.registry.texts = {1: LONGER, 2: RECORD}
    assert place.open().versions("a-value") == [(1, LONGER), (2, RECORD)]
    assert place.open().text(9) is None
    place.registry.down = True
    assert place.open().versions("a-value") == [(1, LONGER), (2, RECORD)]


def test_a_schema_that_is_merely_spaced_differently_is_the_same(place: Place) -> None:
    place.registry.texts[9] = RECORD
    cached = place.open()
    for schema_id in (1, 9):
        cached.text(schema_id)
    place.registry.texts[1] = RECORD.replace(" ", "")
    cached.versions("a-value")
    place.registry.down = True
    assert place.open().text(9) == RECORD


def test_a_disk_that_takes_no_more_costs_nothing_but_a_report(place: Place) -> None:
    cached = place.open()
    (ids,) = place.folder.glob("*/ids")
    ids.rmdir()
    assert cached.text(1) == RECORD
    ((event, fields),) = place.reports
    assert event == "registry.not_kept"
    assert "cannot be written" in fields["error"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"schema cache's folder .*file"):
        Place(tmp_path / "file", Script()).open()


def test_registering_is_the_registrys(place: Place) -> None:
    assert place.open().register("a-value", RECORD, "FULL") == 12
    assert place.registry.asked == [("a-value", RECORD, "FULL")]


def test_a_refusal_is_not_kept(place: Place) -> None:
    class Refusing(Script):
        def text(self, schema_id: int) -> str | None:
            raise ContractError(f"schema {schema_id} refers to other schemas")

    place.registry = Refusing()
    with pytest.raises(ContractError):
        place.open().text(1)
    assert place.files() == []
