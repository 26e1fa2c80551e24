"""What is asked for comes to ranges and rows: by definition, for any topic and any wish."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.errors import ConfigError
from scorer.core.letters import OFFSET_MAX, Place
from scorer.core.pieces import (
    NONE_AFTER,
    Asked,
    Piece,
    out_of_reach,
    parse_spans,
    piece_of,
    places_of_ids,
)
from scorer.core.records import Closed, RecordBatch

LATENESS_MS = 2
PARTITIONS = range(3)

topics = st.fixed_dictionaries(
    {p: st.tuples(st.integers(0, 5), st.lists(st.integers(0, 8), max_size=8)) for p in PARTITIONS}
)
"""Partition to its first offset, and the timestamps of its records. All numbers are small, so that bounds are met."""
moments = st.one_of(st.none(), st.integers(0, 10))
ranges = st.tuples(st.integers(0, 14), st.integers(0, 14)).map(lambda pair: (min(pair), max(pair)))
wishes = st.builds(
    Asked,
    moments,
    moments,
    st.just(LATENESS_MS),
    st.one_of(st.none(), st.dictionaries(st.sampled_from(PARTITIONS), ranges)),
    st.one_of(st.none(), st.frozensets(st.tuples(st.sampled_from(PARTITIONS), st.integers(0, 14)), max_size=12)),
)

Topic = dict[int, tuple[int, list[int]]]


def extents(topic: Topic) -> dict[int, tuple[int, int]]:
    return {p: (low, low + len(stamps)) for p, (low, stamps) in topic.items()}


def answers(topic: Topic, at_ms: int | None) -> dict[int, int] | None:
    """What a broker says: the first offset that is not older, -1 where there is none."""
    if at_ms is None:
        return None
    return {
        p: next((low + at for at, stamp in enumerate(stamps) if stamp >= at_ms), NONE_AFTER)
        for p, (low, stamps) in topic.items()
    }


def batch(topic: Topic) -> RecordBatch:
    records = [(p, low + at, stamp) for p, (low, stamps) in topic.items() for at, stamp in enumerate(stamps)]
    n = len(records)
    columns = np.array(records, dtype=np.int64).reshape(n, 3)
    values: list[bytes | None] = [b""] * n
    return RecordBatch(
        "events",
        columns[:, 0].astype(np.int32),
        columns[:, 1],
        columns[:, 2],
        values,
        [None] * n,
        [None] * n,
        Closed.IDLE,
    )


def made(asked: Asked, topic: Topic) -> Piece:
    until = None if asked.until_ms is None else answers(topic, asked.until_ms + asked.lateness_ms)
    return piece_of(asked, extents(topic), answers(topic, asked.since_ms), until)


def meant(asked: Asked, place: Place, stamp: int) -> bool:
    first, end = (asked.offsets or {}).get(place[0], (0, 0))
    return (
        (asked.since_ms is None or stamp >= asked.since_ms)
        and (asked.until_ms is None or stamp < asked.until_ms)
        and (asked.offsets is None or first <= place[1] < end)
        and (asked.places is None or place in asked.places)
    )


@given(topics, wishes)
def test_the_rows_that_are_taken_are_those_of_which_all_that_was_asked_holds(topic: Topic, asked: Asked) -> None:
    whole, piece = batch(topic), made(asked, topic)
    rows = piece.rows(whole).tolist()
    columns = (whole.partitions.tolist(), whole.offsets.tolist(), whole.timestamps.tolist())
    assert rows == [row for row, record in enumerate(zip(*columns, strict=True)) if piece.means(*record)]
    taken = [(int(whole.partitions[row]), int(whole.offsets[row])) for row in rows]
    assert rows == sorted(rows)
    late = dict.fromkeys(PARTITIONS, OFFSET_MAX)  # behind it, a record is later than was allowed for
    if asked.until_ms is not None:
        found = answers(topic, asked.until_ms + LATENESS_MS) or {}
        late = {p: OFFSET_MAX if at == NONE_AFTER else at for p, at in found.items()}
    assert taken == [
        (p, low + at)
        for p, (low, stamps) in topic.items()
        for at, stamp in enumerate(stamps)
        if meant(asked, (p, low + at), stamp) and low + at < late[p]
    ]
    assert len(rows) <= piece.records


@given(topics, wishes)
def test_ranges_lie_in_the_topic_and_an_empty_one_is_a_position_in_it(topic: Topic, asked: Asked) -> None:
    piece = made(asked, topic)
    assert piece.ranges.keys() == topic.keys()
    for partition, (first, end) in piece.ranges.items():
        low, high = extents(topic)[partition]
        assert low <= first <= end <= high
    assert piece.offsets == sum(end - first for first, end in piece.ranges.values())


@given(topics, wishes, st.dictionaries(st.sampled_from(PARTITIONS), st.integers(0, 15)))
def test_what_is_left_is_nothing_when_every_end_is_committed_and_all_before_anything_is(
    topic: Topic, asked: Asked, committed: dict[int, int]
) -> None:
    piece = made(asked, topic)
    assert piece.left({}) == piece.left(piece.starts) == piece.offsets
    assert piece.left({p: piece.end(p) for p in piece.ranges}) == 0
    left = piece.left(committed)
    assert left == sum(
        sum(offset >= committed.get(p, 0) for offset in range(first, end)) for p, (first, end) in piece.ranges.items()
    )


def test_a_time_after_which_there_is_nothing_is_an_empty_range_and_never_the_whole_partition() -> None:
    piece = piece_of(Asked(since_ms=5), {0: (3, 9), 1: (0, 4)}, {0: NONE_AFTER, 1: 2})
    assert piece.ranges == {0: (9, 9), 1: (2, 4)}
    assert piece_of(Asked(until_ms=5), {0: (3, 9)}, None, {0: NONE_AFTER}).ranges == {0: (3, 9)}


def test_what_comes_in_after_the_ends_were_read_is_not_in_a_range_though_the_broker_names_it() -> None:
    extents = {0: (3, 9)}
    assert piece_of(Asked(until_ms=5), extents, None, {0: 12}).ranges == {0: (3, 9)}
    assert piece_of(Asked(since_ms=5), extents, {0: 12}).ranges == {0: (9, 9)}


def test_a_range_and_a_time_begin_with_what_they_name_first_and_end_before_what_they_name_last() -> None:
    piece = Piece({0: (3, 5)}, since_ms=1, until_ms=4)
    assert [piece.means(0, offset, 1) for offset in (2, 3, 4, 5)] == [False, True, True, False]
    assert [piece.means(0, 3, timestamp_ms) for timestamp_ms in (0, 1, 3, 4)] == [False, True, True, False]
    assert not piece.means(1, 3, 1)


def test_a_partition_that_was_added_later_is_done_at_once() -> None:
    assert Piece({0: (0, 5)}).end(7) == 0


def test_what_was_named_and_is_not_there_is_said() -> None:
    asked = Asked(offsets={0: (1, 5), 1: (2, 99), 2: (0, OFFSET_MAX), 7: (0, 1)}, places=frozenset({(0, 1), (1, 3)}))
    said = out_of_reach(asked, {0: (3, 9), 1: (0, 4), 2: (0, 4)})
    assert said == [
        "0: offsets 1 to 2 have expired",
        "1: it ends at 4",
        "there is no partition 7",
        "1 of the records are not in the topic any more, or not yet: 0:1",
    ]


def test_ranges_are_read_as_they_are_written() -> None:
    assert parse_spans(["2:100-200", "0:7-"]) == {2: (100, 200), 0: (7, OFFSET_MAX)}
    for text in ("", "2", "2:5", "2:5-5", "2:9-3", "a:1-2", "2:-5", "-1:0-2", "2:1-2 ", "0:0-1-2", "9999999999:0-1"):
        with pytest.raises(ConfigError, match=r"is no range|is empty"):
            parse_spans([text])
    with pytest.raises(ConfigError, match="partition 0 for the second time"):
        parse_spans(["0:1-2", "0:3-4"])


def test_an_id_says_where_its_event_is() -> None:
    assert places_of_ids(["lead/1/events.new-lead/2/17"], "events.new-lead") == {(2, 17)}
    for wrong in ("lead/1/events.new-lead/2", "", "events.new-lead/2/17", "lead/1/events.new-lead/2/x"):
        with pytest.raises(ValueError, match="is no prediction's id"):
            places_of_ids([wrong], "events.new-lead")
    with pytest.raises(ValueError, match=r"is of topic events\.login"):
        places_of_ids(["lead/1/events.login/2/17"], "events.new-lead")
