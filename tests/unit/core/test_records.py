"""What travels between the steps."""

from __future__ import annotations

import ast
import inspect

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scorer.core import assemble, decode, encode, model, strict, wire
from scorer.core.records import REASONS, VECTOR_ROWS_MIN, Headers, Outbound
from tests.unit.core.batches import batch_of


def test_next_offsets_are_one_past_the_last_of_each_partition() -> None:
    batch = batch_of([b""] * 4, partitions=[2, 0, 2, 0], offsets=[7, 1, 9, 2])
    assert batch.next_offsets == {0: 3, 2: 10}


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3)), min_size=1, max_size=2 * VECTOR_ROWS_MIN))
def test_next_offsets_do_not_depend_on_the_batch_size(steps: list[tuple[int, int]]) -> None:
    offsets, latest = [], dict[int, int]()
    for partition, gap in steps:
        latest[partition] = latest.get(partition, -1) + 1 + gap
        offsets.append(latest[partition])
    batch = batch_of([b""] * len(steps), partitions=[partition for partition, _ in steps], offsets=offsets)
    assert batch.next_offsets == {partition: offset + 1 for partition, offset in latest.items()}


def test_an_empty_batch_has_no_next_offsets() -> None:
    assert batch_of([]).next_offsets == {}


def test_tombstones_count_for_next_offsets() -> None:
    assert batch_of([b"", None]).next_offsets == {0: 102}


def test_predictions_taken_out_of_many_keep_their_own_rows_keys_values_and_headers() -> None:
    headers: list[Headers] = [[("traceparent", text)] for text in (b"x", b"y", b"z")]
    taken = Outbound("predictions", np.array([4, 6, 9]), [b"a", b"b", b"c"], [b"1", b"2", b"3"], headers).take([2, 0])
    assert (taken.rows.tolist(), taken.keys, taken.values) == ([9, 4], [b"c", b"a"], [b"3", b"1"])
    assert taken.headers == [[("traceparent", b"z")], [("traceparent", b"x")]]


def test_every_reason_code_in_the_steps_is_on_the_closed_list() -> None:
    used = set()
    for module in (wire, strict, decode, assemble, model, encode):
        for call in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("Rejection", "_note", "MalformedError"):
                texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
                used |= {text for text in texts if text.replace("_", "").isalpha()}
    assert {"bad_frame", "malformed", "in_future", "model_failed", "unencodable"} <= used
    assert used <= REASONS.keys()
