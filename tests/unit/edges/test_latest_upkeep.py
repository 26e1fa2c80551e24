"""A store in use for long: what is erased or old leaves its files, and a file that is damaged says what to do."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from scorer.core.answers import Kind, Mark
from scorer.core.errors import ConfigError, TransientError
from scorer.edges.latest_reader import StoreReader
from scorer.edges.latest_store import Keep, LatestStore, connected
from tests.unit.edges.web.live_world import KEEP, KIND, answer, erasure, reading


def test_nothing_of_whom_was_erased_is_left_in_the_files_of_a_store_that_is_tidied_while_it_is_in_use(
    store: LatestStore, reader: StoreReader, path: Path
) -> None:
    def left() -> list[str]:
        return [each.name for each in path.parent.iterdir() if b"whose-secret" in each.read_bytes()]

    store.tidy(0)
    store.write([reading(replace(answer("a", 1, 0), body=b"whose-secret"))], 0)
    store.write([reading(answer("b", 2, 1))], 0)
    store.write([reading(erasure("a", 2))], 0)
    assert left(), "else this shows nothing"
    store.tidy(0)
    assert left() == []
    assert reader.latest("ks", "b") is not None
    store.write([reading(answer("b", 3, 3))], 0)
    size = path.with_name(f"{path.name}-wal").stat().st_size
    store.tidy(0)
    assert path.with_name(f"{path.name}-wal").stat().st_size >= size, "nobody was erased: it is left as it is"


def test_what_was_erased_is_gone_once_nobody_reads_and_after_a_restart_as_well(path: Path) -> None:
    def left() -> bool:
        return any(b"whose-secret" in each.read_bytes() for each in path.parent.iterdir())

    store, other = LatestStore(path, KEEP), connected(path)
    store.begin(KIND, "e1")
    store.write([reading(replace(answer("a", 1, 0), body=b"whose-secret"))], 0)
    store.write([reading(erasure("a", 1))], 0)
    store._db.execute("PRAGMA busy_timeout = 10")
    other.execute("BEGIN")
    other.execute("SELECT * FROM latest").fetchall()
    store.tidy(0)
    assert left(), "somebody reads what was there before"
    other.execute("COMMIT")
    store.tidy(0)
    assert not left()
    store.write([reading(replace(answer("a", 2, 2), body=b"whose-secret"))], 0)
    store.write([reading(erasure("a", 3))], 0)
    store.close()
    again = LatestStore(path, KEEP)
    again.tidy(0)
    assert not left()
    again.close()
    other.close()


def test_of_each_kind_so_much_is_kept_and_what_is_cut_or_dropped_of_one_leaves_the_others(path: Path) -> None:
    store, reader = LatestStore(path, Keep(3, 10**12)), StoreReader(path)
    kinds = [Kind(name, f"t.{name}", "id") for name in ("ks", "js")]

    def logged() -> list[int]:
        return [len(reader.page(kind.name, None, Mark("e1", {}), 0, 10).answers) for kind in kinds]

    for kind in kinds:
        store.begin(kind, "e1")
    for offset in range(3):
        store.write(
            [replace(reading(replace(answer("a", 1, offset), kind=kind.name)), kind=kind.name) for kind in kinds], 0
        )
    store.tidy(0)
    assert logged() == [3, 3]
    store.write([reading(*(answer("a", 1, offset) for offset in range(3, 8)))], 0)
    store.tidy(0)
    assert logged() == [3, 3]
    assert not store.begin(kinds[0], "e2")
    store.write([reading(answer("new", 9, 7))], 0)
    assert [each.entity for each in reader.page("ks", None, Mark("e2", {}), 0, 10).answers] == ["new"]
    assert logged() == [1, 3]
    reader.close()
    store.close()


def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "store"
    store = LatestStore(path, KEEP)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    store.close()


def test_several_threads_may_write_at_once(store: LatestStore, reader: StoreReader) -> None:
    def write(part: int) -> None:
        for offset in range(100):
            store.write([reading(answer("a", offset, offset, part))], 0)
            store.resume(KIND.name, {})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert store.resume(KIND.name, {}) == {0: 100, 1: 100, 2: 100}
    assert len(reader.page(KIND.name, None, Mark("e1", {}), 0, 1_000).answers) == 300


def test_the_log_of_a_topic_on_which_nothing_comes_is_cut_by_age_as_well(path: Path) -> None:
    store = LatestStore(path, Keep(1_000, 1_000))
    store.begin(KIND, "e1")
    store.write([reading(answer("a", 1, 0), erasure("a", 1))], 100_000)
    store.tidy(100_500)
    assert [page.offset for page in StoreReader(path).page("ks", None, Mark("e1", {}), 0, 10).answers] == [1]
    store.tidy(102_000)
    assert StoreReader(path).page("ks", None, Mark("e1", {}), 0, 10).answers == []
    store.close()


@pytest.mark.parametrize("harm", ["cut off", "overwritten"])
def test_a_file_that_is_damaged_is_told_from_a_full_disk_and_says_that_it_may_be_deleted(path: Path, harm: str) -> None:
    store = LatestStore(path, KEEP)
    store.begin(KIND, "e1")
    store.write([reading(*(replace(answer(f"a{n}", n, n), body=b"x" * 500) for n in range(2_000)))], 0)
    store.close()
    whole = path.read_bytes()
    head = whole[: len(whole) // 3]
    path.write_bytes(head if harm == "cut off" else head + b"\xff" * (len(whole) - len(head)))

    def used() -> None:
        again = LatestStore(path, KEEP)
        try:
            for number in range(2_000):
                again.write([reading(answer(f"a{number}", 10_000 + number, 10_000 + number))], 0)
        finally:
            again.close()

    with pytest.raises(ConfigError, match="delete it, it is only a cache"):
        used()


def test_a_disk_that_is_full_is_an_outage(store: LatestStore) -> None:
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(TransientError, match="full"):
        store.write([reading(*(replace(answer(f"a{n}", n, n), body=b"x" * 500) for n in range(2_000)))], 0)
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.write([reading(answer("a", 1, 0))], 0)


def test_a_store_that_another_process_holds_for_too_long_is_an_outage(store: LatestStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._db.execute("PRAGMA busy_timeout = 10")
    for attempt in (lambda: store.write([reading(answer("a", 1, 0))], 0), lambda: store.tidy(0)):
        with pytest.raises(TransientError, match="locked"):
            attempt()
    other.execute("ROLLBACK")
    store.write([reading(answer("a", 1, 0))], 0)
    other.close()
