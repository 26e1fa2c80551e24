"""The store on a real disk: newest wins, positions go with what was read, the log is bounded, erasures are whole."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scorer.core.answers import Answer, Mark
from scorer.core.errors import ConfigError, TransientError
from scorer.edges.latest_reader import StoreReader
from scorer.edges.latest_store import Keep, LatestStore
from tests.unit.edges.web.live_world import KEEP, KIND, answer, erasure, reading


@pytest.mark.parametrize("seed", range(5))
def test_the_newest_stays_in_whatever_order_and_grouping_they_come(
    store: LatestStore, reader: StoreReader, seed: int
) -> None:
    chance = random.Random(seed)
    numbers = [(chance.choice("abc"), number) for number in range(60)]
    chance.shuffle(numbers)
    for at in range(0, 60, 7):
        some = [answer(entity, number, at + more) for more, (entity, number) in enumerate(numbers[at : at + 7])]
        store.write([reading(*some)], 0)
    for entity in "abc":
        found = reader.latest("ks", entity)
        assert found is not None
        assert found.order[0] == max(number for each, number in numbers if each == entity)


def test_one_that_is_as_new_changes_nothing(store: LatestStore, reader: StoreReader) -> None:
    first = answer("a", 1, 0)
    store.write([reading(first)], 0)
    store.write([reading(replace(first, offset=1, tag="repeat"))], 0)
    assert reader.latest("ks", "a") == first


def test_positions_and_answers_are_there_again_after_a_restart(store: LatestStore, path: Path) -> None:
    store.write([reading(answer("a", 1, 5), answer("b", 2, 7, part=1))], 0)
    store.close()
    again = LatestStore(path, KEEP)
    assert again.begin(KIND, "e1")
    assert again.epoch("ks") == "e1"
    assert again.resume("ks", {0: 0, 1: 0, 2: 4}) == {0: 6, 1: 8, 2: 4}
    with closing(StoreReader(path)) as reader:
        assert reader.latest("ks", "b") == answer("b", 2, 7, part=1)
    again.close()


def test_a_position_never_goes_back_and_what_the_topic_no_longer_held_at_first_is_lost_to_a_reader(
    store: LatestStore, reader: StoreReader
) -> None:
    assert store.resume("ks", {0: 10}) == {0: 10}
    assert reader.page("ks", None, Mark("e1", {0: 4}), 0, 10).lost == {0: 10}
    assert reader.page("ks", None, Mark("e1", {0: 10}), 0, 10).lost is None
    store.write([reading(answer("a", 2, 14))], 0)
    store.write([reading(answer("a", 1, 12))], 0)
    assert store.resume("ks", {0: 10}) == {0: 15}


def test_a_topic_that_was_made_anew_voids_all_that_is_kept_of_it(store: LatestStore, reader: StoreReader) -> None:
    store.write([reading(answer("a", 1, 5))], 0)
    assert not store.begin(KIND, "e2")
    assert (reader.latest("ks", "a"), store.resume("ks", {}), store.epoch("ks")) == (None, {}, "e2")
    store.write([reading(answer("a", 1, 5))], 0)
    store.start_over(KIND, "e2")
    assert reader.latest("ks", "a") is None


def test_an_erasure_takes_what_came_before_it_and_nothing_after(
    store: LatestStore, reader: StoreReader, path: Path
) -> None:
    store.write([reading(answer("secret-person", 9, 0), answer("b", 1, 1))], 0)
    store.write(
        [reading(answer("secret-person", 10, 2), erasure("secret-person", 3), answer("secret-person", 4, 4))], 0
    )
    found = reader.latest("ks", "secret-person")
    assert found is not None
    assert found.order[0] == 4
    assert reader.of_event("ks", "secret-person", "e9") is None
    store.write([reading(erasure("secret-person", 5))], 0)
    store.write([reading(answer("neighbour", 1, 6), erasure("secret-person", 7))], 0)
    assert reader.latest("ks", "neighbour") is not None
    assert reader.latest("ks", "secret-person") is None
    reader.close()
    store.close()
    assert b'"x":10}' not in path.read_bytes()


def test_an_erasure_itself_is_logged_until_the_log_is_cut_and_is_no_prediction(path: Path) -> None:
    store = LatestStore(path, Keep(1_000, 1_000))
    store.begin(KIND, "e1")
    reader = StoreReader(path)
    store.write([reading(answer("secret-person", 1, 0), answer("b", 2, 1), erasure("secret-person", 2))], 0)
    page = reader.page("ks", None, Mark("e1", {0: 1}), 0, 10)
    assert page.answers == [answer("b", 2, 1), erasure("secret-person", 2)]
    assert reader.recent("ks", 10) == [b'"x":2}']
    assert reader.of_event("ks", "secret-person", "") is None
    assert reader.back("ks", None, 1, {0: 3}) == {0: 1}
    store.write([reading(answer("c", 3, 3))], 100_000)
    assert reader.page("ks", None, Mark("e1", {0: 2}), 0, 10).lost == {0: 3}
    reader.close()
    store.close()
    assert b"secret-person" not in path.read_bytes()


def test_a_record_that_is_read_again_stands_once_in_the_log(store: LatestStore, reader: StoreReader) -> None:
    for _ in range(2):
        store.write([reading(answer("a", 1, 0), answer("a", 2, 1))], 0)
    assert len(reader.page("ks", None, Mark("e1", {}), 0, 10).answers) == 2


def test_pages_give_everything_from_a_position_on_in_the_order_of_reading(
    store: LatestStore, reader: StoreReader
) -> None:
    for number in range(50):
        store.write([reading(answer("ab"[number % 2], number, number // 2, part=number % 2))], 0)
    since, seq, got = Mark("e1", {0: 10, 1: 20}), 0, []
    while True:
        page = reader.page("ks", None, since, seq, 7)
        got += [(each.partition, each.offset) for each in page.answers]
        seq = page.next_seq
        if page.reached is not None:
            break
    assert page.reached == {0: 25, 1: 25}
    wanted = [(n % 2, n // 2) for n in range(50) if n // 2 >= (10, 20)[n % 2]]
    assert got == wanted
    own = reader.page("ks", "a", Mark("e1", {}), 0, 100)
    assert [each.offset for each in own.answers] == list(range(25))
    assert reader.back("ks", None, 3, {0: 25, 1: 25}) == {0: 24, 1: 23}


def test_a_page_is_of_one_moment_though_more_is_written_while_it_is_read(
    store: LatestStore, reader: StoreReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([reading(answer("a", 1, 0))], 0)
    first_seq = StoreReader._first_seq

    def written_meanwhile(own: StoreReader, *args: Any) -> int:
        store.write([reading(answer("b", 2, 1))], 0)
        return first_seq(own, *args)

    monkeypatch.setattr(StoreReader, "_first_seq", written_meanwhile)
    page = reader.page("ks", None, Mark("e1", {}), 0, 10)
    assert ([each.offset for each in page.answers], page.reached) == ([0], {0: 1})


def test_the_log_is_cut_by_rows_and_by_age_and_says_what_is_lost(path: Path) -> None:
    store = LatestStore(path, Keep(10, 1_000))
    store.begin(KIND, "e1")
    reader = StoreReader(path)
    store.write([reading(*(answer(f"a{n}", n, n) for n in range(1_500)))], 100_000)
    page = reader.page("ks", None, Mark("e1", {0: 5}), 0, 100)
    assert page.lost == {0: 1_490}
    assert [each.offset for each in page.answers] == list(range(1_490, 1_500))
    assert reader.page("ks", None, Mark("e1", {0: 1_490}), 0, 100).lost is None
    assert reader.latest("ks", "a0") is not None
    store.write([reading(answer("late", 2_000, 1_500))], 200_000)
    assert [each.offset for each in reader.page("ks", None, Mark("e1", {}), 0, 100).answers] == [1_500]
    reader.close()
    store.close()


def test_a_reader_whose_next_page_was_cut_meanwhile_is_told(path: Path) -> None:
    store = LatestStore(path, Keep(10, 10**12))
    store.begin(KIND, "e1")
    reader = StoreReader(path)
    store.write([reading(*(answer("a", n, n) for n in range(100)))], 0)
    page = reader.page("ks", None, Mark("e1", {}), 0, 20)
    store.write([reading(*(answer("a", n, n) for n in range(100, 1_200)))], 0)
    assert reader.page("ks", None, Mark("e1", {0: 20}), page.next_seq, 20).lost is not None
    reader.close()
    store.close()


@pytest.mark.parametrize(("rows", "lost"), [(30, None), (31, {0: 21})])
def test_a_reader_is_told_of_a_cut_from_the_first_answer_on_that_it_would_have_got_next(
    path: Path, rows: int, lost: dict[int, int] | None
) -> None:
    store = LatestStore(path, Keep(10, 10**12))
    store.begin(KIND, "e1")
    store.resume("ks", {0: 0})
    reader = StoreReader(path)
    store.write([reading(*(answer("a", n, n) for n in range(rows)))], 0)
    page = reader.page("ks", None, Mark("e1", {}), 0, 20)
    store.write([], 10**9)  # time to cut what is over ten rows
    assert reader.page("ks", None, Mark("e1", {0: 20}), page.next_seq, 20).lost == lost
    reader.close()
    store.close()


def test_nothing_of_whom_was_erased_is_left_in_the_file(store: LatestStore, path: Path) -> None:
    own = [replace(answer("a", number, number), body=b"whose-secret" * 100) for number in range(50)]
    store.write([reading(*own, answer("b", 2, 50))], 0)
    store.write([reading(erasure("a", 51))], 0)
    store.close()
    assert all(b"whose-secret" not in each.read_bytes() for each in path.parent.iterdir())


def test_a_store_of_another_release_is_built_anew(store: LatestStore, path: Path) -> None:
    store.write([reading(answer("a", 1, 0))], 0)
    store._db.execute("PRAGMA user_version = 999")
    store.close()
    again, reader = LatestStore(path, KEEP), StoreReader(path)
    assert (again.epoch("ks"), reader.latest("ks", "a")) == ("", None)
    reader.close()
    again.close()


def test_the_prediction_for_one_event_is_its_entitys_alone(store: LatestStore, reader: StoreReader) -> None:
    store.write([reading(answer("a", 1, 0), answer("a", 2, 1))], 0)
    found = reader.of_event("ks", "a", "e1")
    assert found == answer("a", 1, 0)
    assert reader.of_event("ks", "b", "e1") is None
    assert reader.recent("ks", 1) == [b'"x":2}']


def test_two_stores_cannot_share_a_file_and_a_damaged_one_is_refused_with_advice(
    store: LatestStore, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="another gateway's"):
        LatestStore(store.path, KEEP)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"no database at all" * 100)
    opened = _files_open()
    with pytest.raises(ConfigError, match="delete it"):
        LatestStore(damaged, KEEP)
    assert _files_open() == opened, "a file is left open"


def test_a_write_that_fails_keeps_nothing_of_it(store: LatestStore, reader: StoreReader) -> None:
    bad = Answer("ks", "a", 0, 0, "e", (1, 0, 0, 0), 2**70, "", b"}")
    with pytest.raises((TransientError, OverflowError)):
        store.write([reading(answer("b", 1, 0)), reading(bad)], 0)
    assert reader.latest("ks", "b") is None
    store.write([reading(answer("b", 1, 0))], 0)
    assert reader.latest("ks", "b") is not None


def _files_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
