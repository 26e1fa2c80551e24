"""The rehearsal before a model serves: golden rows come out, whatever their batch-mates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from scorer.core.bundle import Bundle
from scorer.core.errors import ContractError
from scorer.core.model import Model, load_model
from scorer.core.rehearsal import golden_batch, golden_problems, golden_rows, invariance_problems, outcomes
from tests.unit.core.batches import event, event_schema
from tests.unit.core.graphs import HEAD, graph

Node = tuple[str, Sequence[str], Sequence[str], dict[str, Any]]
SCHEMA = event_schema(("x", "double"), ("name", "string"))
RULES = '[inputs.x]\nfield = "x"\n[outputs.y]\nfrom = "y"\n'
DOUBLED: Node = ("Add", ("x", "x"), ("y",), {})
VALUES = (0.1, 0.7, -3.25)


def events(*values: float) -> list[dict[str, Any]]:
    return [event(number, x=value, name="") for number, value in enumerate(values)]


def line(value: float, **expect: Any) -> str:
    return json.dumps({"event": event(x=value, name=""), "expect": expect})


def bundled(
    nodes: Sequence[Node], golden: str, rules: str = RULES, head: str = "", constants: Mapping[str, Any] | None = None
) -> Model:
    """A model from x to y, both float [N, 1]."""
    made = graph(nodes, {"x": ("float", (None, 1))}, {"y": ("float", (None, 1))}, constants)
    files = {"model.onnx": made, "model.toml": (HEAD + head + rules).encode(), "golden.jsonl": golden.encode()}
    return load_model(Bundle("models/m/1", files))


def rehearsed(
    nodes: Sequence[Node],
    values: Sequence[float] = VALUES,
    *,
    one_by_one: bool = False,
    rows_max: int = 80,
    **constants: Any,
) -> list[str]:
    """What the rehearsal says of a model's batches; what its golden rows expect does not matter there."""
    golden = "\n".join(line(value) for value in values)
    model = bundled(nodes, golden, head="one_by_one = true\n" if one_by_one else "", constants=constants)
    return invariance_problems(model, SCHEMA, rows_max)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_golden_rows_are_an_event_and_what_to_expect_a_line_also_behind_a_byte_order_mark(mark: str) -> None:
    model = bundled([DOUBLED], f"{mark}{line(1.5, y=3.0)}\n\n{line(2.0, y=4.0)}\n")
    assert [(row.event["x"], row.expect) for row in golden_rows(model)] == [(1.5, {"y": 3.0}), (2.0, {"y": 4.0})]


def test_a_line_separator_within_a_text_does_not_end_a_golden_row() -> None:
    row = {"event": event(x=1.0, name="a\u2028b\u0085c"), "expect": {"y": 2.0}}
    model = bundled([DOUBLED], json.dumps(row, ensure_ascii=False))
    assert golden_problems(model, SCHEMA, exact=True) == []


@pytest.mark.parametrize(
    ("golden", "said"),
    [
        ("", r"models/m/1: golden.jsonl has no rows; .* scorer model golden models/m/1 --events"),
        ("\n\n", "golden.jsonl has no rows"),
        (f"{line(1.0, y=2.0)}\n{{", "golden.jsonl line 2 is no JSON"),
        ("[1]", r'line 1 is not of the form \{"event": \{...\}, "expect": \{...\}\}'),
        ('{"event": {}}', "line 1 is not of the form"),
        ('{"event": 5, "expect": {}}', "line 1 is not of the form"),
        ('{"event": {}, "expect": [1]}', "line 1 is not of the form"),
    ],
)
def test_what_is_no_golden_row_is_named_by_its_line(golden: str, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        golden_rows(bundled([DOUBLED], golden))


def test_golden_rows_that_come_out_are_no_problem() -> None:
    golden = "\n".join(line(value, y=float(np.float32(value) * 2)) for value in VALUES)
    assert golden_problems(bundled([DOUBLED], golden), SCHEMA, exact=True) == []


def next_bit(value: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def test_a_golden_row_off_by_one_bit_is_refused_where_bits_are_promised_and_taken_elsewhere() -> None:
    right = float(np.float32(0.7) * 2)
    model = bundled([DOUBLED], f"{line(0.1, y=float(np.float32(0.1) * 2))}\n{line(0.7, y=next_bit(right))}")
    assert golden_problems(model, SCHEMA, exact=True) == [f"golden row 2: y is {right!r}, expected {next_bit(right)!r}"]
    assert golden_problems(model, SCHEMA, exact=False) == []


def test_negative_zero_has_other_bits_than_zero() -> None:
    model = bundled([DOUBLED], line(-0.0, y=0.0))
    assert golden_problems(model, SCHEMA, exact=True) == ["golden row 1: y is -0.0, expected 0.0"]
    assert golden_problems(model, SCHEMA, exact=False) == []


@pytest.mark.parametrize(
    ("tolerance", "expected", "fits"),
    [("1e-6", 2.0000019, True), ("1e-6", 2.0000021, False), ("0.1", 2.2, True), ("0.1", 2.3, False), ("0", 2.0, True)],
)
def test_off_the_promised_machine_the_contracts_relative_tolerance_holds(
    tolerance: str, expected: float, fits: bool
) -> None:
    model = bundled([DOUBLED], line(1.0, y=expected), RULES + f"[tolerance]\nrelative = {tolerance}\n")
    assert (golden_problems(model, SCHEMA, exact=False) == []) is fits


def test_a_whole_number_may_stand_for_a_float() -> None:
    assert golden_problems(bundled([DOUBLED], line(1.0, y=2)), SCHEMA, exact=True) == []
    assert golden_problems(bundled([DOUBLED], line(0.5, y=True)), SCHEMA, exact=True) != []


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ({}, ["golden row 1 does not say what to expect of y"]),
        ({"y": 2.0, "z": 1}, ["golden row 1 expects z, which is no output of the contract"]),
        ({"y": "2.0"}, ["golden row 1: y is 2.0, expected '2.0'"]),
        ({"y": None}, ["golden row 1: y is 2.0, expected None"]),
    ],
)
def test_expectations_and_outputs_must_name_the_same_fields(expect: dict[str, Any], said: list[str]) -> None:
    assert golden_problems(bundled([DOUBLED], line(1.0, **expect)), SCHEMA, exact=True) == said


def test_a_golden_row_that_is_rejected_is_named_with_why() -> None:
    ranged = RULES.replace('field = "x"', 'field = "x"\nrange = [0, 1]')
    model = bundled([DOUBLED], f"{line(1.0, y=2.0)}\n{line(7.0, y=14.0)}", ranged)
    assert golden_problems(model, SCHEMA, exact=True) == [
        "golden row 2 is rejected: assemble, out_of_range: x is outside [0, 1]"
    ]


def test_a_golden_row_that_is_no_event_of_the_schema_is_named() -> None:
    model = bundled([DOUBLED], '{"event": {"event_id": "e"}, "expect": {"y": 1.0}}')
    (said,) = golden_problems(model, SCHEMA, exact=True)
    assert said.startswith("golden row 1 is no event of schema 1: ")


WIDE = {"y": ("float", (None, None)), "z": ("float", (None, None))}


def open_widths(rules: str) -> Model:
    """A model whose outputs have widths that its file does not tell: y has 2 columns, z has 3."""
    made = graph(
        [("Concat", ("x", "x"), ("y",), {"axis": 1}), ("Concat", ("x", "y"), ("z",), {"axis": 1})],
        {"x": ("float", (None, 1))},
        WIDE,
    )
    toml = f'{HEAD}[inputs.x]\nfield = "x"\n{rules}'
    golden = line(1.0, y=1.0)
    return load_model(Bundle("m", {"model.onnx": made, "model.toml": toml.encode(), "golden.jsonl": golden.encode()}))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('[outputs.y]\nfrom = "y"\n', "[outputs.y] y has 2 columns; say which column"),
        ('[outputs.y]\nfrom = "y"\ncolumn = 2\n', "the outputs do not fit the contract's [outputs]: y (1, 2): index 2"),
        (
            '[outputs.y]\neach = { a = "y", b = "z" }\n',
            "the outputs do not fit the contract's [outputs]: y (1, 2), z (",
        ),
    ],
)
def test_widths_that_the_graph_leaves_open_are_seen_in_rehearsal(rules: str, said: str) -> None:
    (found,) = golden_problems(open_widths(rules), SCHEMA, exact=True)
    assert found.startswith(said)


def test_outcomes_are_the_predictions_own_fields_with_lists_and_bins_as_python_values() -> None:
    rules = (
        '[outputs.score]\nfrom = "y"\ncolumn = 1\n[outputs.bucket]\nof = "score"\nbins = { A = 0.5, B = 0.0 }\n'
        '[outputs.items]\neach = { a = "y", b = "y" }\n'
    )
    found = outcomes(open_widths(rules), SCHEMA, events(0.1, 0.7))
    low, high = float(np.float32(0.1)), float(np.float32(0.7))
    assert found == [
        {"score": low, "bucket": "B", "items": [{"a": low, "b": low}] * 2},
        {"score": high, "bucket": "A", "items": [{"a": high, "b": high}] * 2},
    ]


def test_a_model_that_looks_at_each_row_alone_passes() -> None:
    assert rehearsed([DOUBLED]) == []


CENTRED: list[Node] = [
    ("ReduceMean", ("x",), ("mean",), {"axes": [0], "keepdims": 1}),
    ("Sub", ("x", "mean"), ("y",), {}),
]


def test_a_model_that_takes_the_batchs_mean_is_refused_with_what_to_do() -> None:
    problems = rehearsed(CENTRED)
    assert 1 <= len(problems) <= 3
    assert problems[0] == (
        "golden row 1 gives other bits in a batch of 2, in order than alone; set one_by_one = true, or mend it"
    )


def test_a_model_that_depends_on_its_batch_is_served_one_by_one_and_then_passes() -> None:
    assert rehearsed(CENTRED, one_by_one=True) == []


def test_one_golden_row_is_enough_to_find_a_model_that_takes_the_batchs_mean() -> None:
    assert rehearsed(CENTRED, (0.5,)) != []


def test_a_model_that_only_an_outlier_disturbs_is_refused() -> None:
    capped: list[Node] = [
        ("ReduceMax", ("x",), ("most",), {"axes": [0], "keepdims": 1}),
        ("Max", ("most", "limit"), ("scale",), {}),
        ("Div", ("x", "scale"), ("y",), {}),
    ]
    limit = np.array([[1e6]], np.float32)
    assert rehearsed(capped, limit=limit) == [
        "golden row 1 gives other bits beside an outlier than alone; set one_by_one = true, or mend it"
    ]


def test_a_neighbour_that_makes_a_row_nan_is_noticed_though_such_a_row_is_rejected() -> None:
    squashed: list[Node] = [("Exp", ("x",), ("e",), {})]  # infinite for the outlier
    squashed += [
        ("ReduceMax", ("e",), ("most",), {"axes": [0], "keepdims": 1}),
        ("Sub", ("most", "most"), ("zero",), {}),
    ]
    squashed += [("Add", ("x", "zero"), ("y",), {})]  # infinite minus infinite is no number, zero otherwise
    assert rehearsed(squashed) == [
        "golden row 1 gives other bits beside an outlier than alone; set one_by_one = true, or mend it"
    ]


def larger_from(rows: int) -> list[Node]:
    """A model that adds one to every row of a batch of so many rows or more."""
    return [
        ("Shape", ("x",), ("shape",), {"end": 1}),
        ("GreaterOrEqual", ("shape", "limit"), ("large",), {}),
        ("Cast", ("large",), ("one",), {"to": 1}),
        ("Add", ("x", "one"), ("y",), {}),
    ]


@pytest.mark.parametrize("rows", [2, 3, 7, 64, 500])
def test_batches_of_several_sizes_up_to_the_largest_are_tried(rows: int) -> None:
    problems = rehearsed(larger_from(rows), rows_max=500, limit=np.array([rows]))
    assert f"in a batch of {rows}, in order" in problems[0]
    assert rehearsed(larger_from(501), rows_max=500, limit=np.array([501])) == []


def test_the_order_of_the_rows_is_tried() -> None:
    first_plus_one: list[Node] = [
        ("Slice", ("x", "zero", "one"), ("head",), {}),
        ("Equal", ("head", "first"), ("same",), {}),
        ("Cast", ("same",), ("bonus",), {"to": 1}),
        ("Add", ("x", "bonus"), ("y",), {}),
    ]
    marks = {"zero": np.array([0]), "one": np.array([1]), "first": np.array([[-3.25]], np.float32)}
    problems = rehearsed(first_plus_one, (0.5, -3.25), rows_max=2, **marks)
    assert any("permuted" in problem for problem in problems)


FLAT: list[Node] = [("Reshape", ("x", "single"), ("y",), {})]


def test_a_model_that_takes_no_batches_is_refused_although_it_could_be_served_row_by_row() -> None:
    (problem, *_) = rehearsed(FLAT, single=np.array([1, 1]))
    assert problem.startswith("a batch of 4 golden rows fails (")
    assert problem.endswith("); set one_by_one = true, or export an open batch axis")
    assert rehearsed(FLAT, one_by_one=True, single=np.array([1, 1])) == []


def test_a_model_that_gives_one_row_for_a_whole_batch_is_refused() -> None:
    mean: list[Node] = [("ReduceMean", ("x",), ("y",), {"axes": [0], "keepdims": 1})]
    assert rehearsed(mean)[0].startswith("a batch of 4 golden rows fails (y is (1, 1));")


def test_a_model_whose_golden_rows_are_all_rejected_cannot_be_rehearsed() -> None:
    model = bundled([DOUBLED], line(7.0, y=14.0), RULES.replace('field = "x"', 'field = "x"\nrange = [0, 1]'))
    assert invariance_problems(model, SCHEMA, 10) == [
        "no golden row can be assembled, so the model cannot be rehearsed"
    ]


def test_golden_rows_are_repeated_to_a_batch_of_any_size() -> None:
    batch = golden_batch(bundled([DOUBLED], "\n".join(line(value) for value in VALUES)), SCHEMA, 7)
    assert batch.values == [*batch.values[:3], *batch.values[:3], batch.values[0]]
    assert len(set(batch.values)) == 3
