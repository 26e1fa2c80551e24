"""Texts for the model: whichever way they are handed over, the model sees the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.assemble import assemble
from scorer.core.decode import decode
from scorer.core.packed import WIDTH_MAX, as_type, end_to_end, packed, wide_enough
from scorer.core.records import VECTOR_ROWS_MIN
from scorer.core.wire import split_frames
from tests.unit.core.batches import Way, batch_of, event, event_schema, events_of, framed
from tests.unit.core.features import array, both_ways, fed, one
from tests.unit.core.graphs import interface_of, seen

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=8)
LONG = "x" * WIDTH_MAX


@given(TEXTS)
def test_the_model_sees_the_very_texts(texts: list[str]) -> None:
    assert seen(packed(texts)).tolist() == texts


@pytest.mark.parametrize(
    ("texts", "kind"),
    [(["a", "ä"], "S"), ([""], "S"), ([LONG[1:]], "S"), (["a", LONG], "O"), (["ä" * 16], "O"), (["\0"], "O")],
)
def test_short_texts_are_bytes_and_others_python_strings(texts: list[str], kind: str) -> None:
    found = packed(texts)
    assert (found.dtype.kind, seen(found).tolist()) == (kind, texts)


@given(TEXTS, TEXTS)
def test_texts_of_both_sorts_can_stand_together(some: list[str], others: list[str]) -> None:
    arrays = [packed(some), packed(others)]
    assert seen(end_to_end(arrays)).tolist() == [*some, *others]
    dtype = wide_enough(arrays)
    assert all(seen(as_type(each, dtype)).tolist() == seen(each).tolist() for each in arrays)


def test_numbers_end_to_end_keep_their_type_and_bits() -> None:
    parts = [np.array([[0.1], [-0.0]], dtype=np.float32), np.array([[3.0]], dtype=np.float32)]
    assert end_to_end(parts).tobytes() == np.concatenate(parts).tobytes()


@both_ways
@pytest.mark.parametrize("value", [LONG + "y", "a\0b", "ä"])
def test_a_default_stands_beside_any_text(way: Way, value: str) -> None:
    interface = one("string", f'missing = "{LONG}z"')
    assert fed(way, interface, ["null", "string"], [value, None, "b"]) == ([value, f"{LONG}z", "b"], {})


@both_ways
@pytest.mark.parametrize("pad", ["-", LONG])
@pytest.mark.parametrize("value", [LONG + "y", "a\0b", "ä"])
def test_a_pad_stands_beside_any_text(way: Way, value: str, pad: str) -> None:
    interface = one("string", f'length = 2\npad = "{pad}"', (None, 2))
    assert fed(way, interface, array("string"), [[value], []]) == ([value, pad, pad, pad], {})


def test_events_of_one_batch_that_came_by_column_and_by_record_stand_together() -> None:
    many, few = event_schema(("a", "string"), schema_id=1), event_schema(("a", ["null", "string"]), schema_id=2)
    texts = [f"{at}" for at in range(VECTOR_ROWS_MIN + 2)]
    schemas = [few if at in (3, 4) else many for at in range(len(texts))]
    batch = batch_of([framed(schema, event(at, a=texts[at])) for at, schema in enumerate(schemas)])
    events, _ = decode(batch, split_frames(batch.values, 1000), {1: many, 2: few})
    assert {isinstance(each.table, list) for each in events} == {True, False}
    features, rejections = assemble(events, batch, one("string"))
    assert (seen(features.tensors["x"])[:, 0].tolist(), rejections) == (texts, [])


@both_ways
def test_a_long_text_leaves_the_other_inputs_as_they_are(way: Way) -> None:
    toml = "".join(f'[inputs.{name}]\nfield = "{name}"\n' for name in "ab")
    schema = event_schema(("a", "string"), ("b", "string"))
    events, batch = events_of(schema, [event(at, a=LONG, b="b") for at in range(2)], way)
    tensors = assemble([events], batch, interface_of(toml, dict.fromkeys("ab", ("string", (None, 1)))))[0].tensors
    assert [seen(tensors[name]).tolist() for name in "ab"] == [[[LONG], [LONG]], [["b"], ["b"]]]
    assert way == "by record" or tensors["b"].dtype.kind == "S"


@both_ways
@pytest.mark.parametrize("b", ["b", LONG])
def test_texts_of_several_fields_make_one_tensor(way: Way, b: str) -> None:
    interface = interface_of('[inputs.x]\nfields = ["a", "b", "c"]\nmissing = "-"\n', {"x": ("string", (None, 3))})
    schema = event_schema(("a", ["null", "string"]), ("b", "string"))
    events, batch = events_of(schema, [event(0, a="a", b=b), event(1, a=None, b="")], way)
    found = assemble([events], batch, interface)[0].tensors["x"]
    assert seen(found).tolist() == [["a", b, "-"], ["-", "", "-"]]
    assert found.flags.c_contiguous
