"""The registry's wire format."""

from __future__ import annotations

import pytest

from scorer.core.wire import prefix, split_frames


def test_a_prefix_is_a_zero_byte_and_the_schema_id_in_four_bytes_big_endian() -> None:
    assert prefix(0x01020304) == b"\x00\x01\x02\x03\x04"


def test_values_are_grouped_by_schema_id_in_ascending_rows() -> None:
    frames = split_frames([prefix(7) + b"a", prefix(9) + b"b", prefix(7) + b"c", prefix(9)], 100)
    assert {key: rows.tolist() for key, rows in frames.groups.items()} == {7: [0, 2], 9: [1, 3]}
    assert (frames.rejections, frames.tombstones) == ([], 0)


def test_a_batch_of_one_schema_is_one_group() -> None:
    frames = split_frames([prefix(7) + b"a"] * 5, 100)
    assert {key: rows.tolist() for key, rows in frames.groups.items()} == {7: [0, 1, 2, 3, 4]}


def test_ids_beyond_31_bits_are_read_unsigned() -> None:
    assert list(split_frames([prefix(0xFFFFFFFF)], 100).groups) == [0xFFFFFFFF]


def test_tombstones_are_counted_and_in_no_group() -> None:
    frames = split_frames([None, prefix(7) + b"a", None], 100)
    assert frames.tombstones == 2
    assert {key: rows.tolist() for key, rows in frames.groups.items()} == {7: [1]}


@pytest.mark.parametrize("values", [[None], [None, None], []])
def test_a_batch_without_values_has_no_groups(values: list[bytes | None]) -> None:
    frames = split_frames(values, 100)
    assert (frames.groups, frames.rejections, frames.tombstones) == ({}, [], len(values))


@pytest.mark.parametrize(
    "value", [b"", b"\x00", b"\x00\x00\x00\x07", b"\x01\x00\x00\x00\x07abc", b'{"a": 1}', b"\xff" * 9]
)
@pytest.mark.parametrize("others", [[], [prefix(7) + b"a"]])
def test_a_value_without_the_wire_format_is_a_bad_frame(value: bytes, others: list[bytes]) -> None:
    frames = split_frames([value, *others], 100)
    assert [(bad.row, bad.reason) for bad in frames.rejections] == [(0, "bad_frame")]
    assert sum(len(rows) for rows in frames.groups.values()) == len(others)


@pytest.mark.parametrize("others", [[], [None], [prefix(7)], [prefix(8)]])
def test_a_value_is_too_large_from_one_byte_over_the_limit_whoever_is_beside_it(others: list[bytes | None]) -> None:
    frames = split_frames([prefix(7) + b"x" * 6, prefix(7) + b"x" * 5, *others], 10)
    assert [(bad.row, bad.reason) for bad in frames.rejections] == [(0, "too_large")]
    assert 1 in frames.groups[7].tolist()


def test_a_value_that_is_both_too_large_and_no_frame_is_rejected_once() -> None:
    assert [bad.reason for bad in split_frames([b"\xff" * 11], 10).rejections] == ["too_large"]
