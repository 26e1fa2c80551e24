"""Parsing model.toml: what is understood, and which key is named where something is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from scorer.core.contract import InputRule, OutputRule, parse_contract
from scorer.core.errors import ContractError
from tests.unit.core.graphs import HEAD

INPUT = '[inputs.x]\nfield = "a"\n'
OUTPUT = '[outputs.score]\nfrom = "y"\n'


def one_input(rules: str) -> InputRule:
    return parse_contract(f"{HEAD}[inputs.x]\n{rules}\n{OUTPUT}").inputs[0]


def one_output(rules: str) -> OutputRule:
    return parse_contract(f"{HEAD}{INPUT}{OUTPUT}[outputs.z]\n{rules}\n").outputs[1]


def refusal(toml: str) -> str:
    with pytest.raises(ContractError) as caught:
        parse_contract(toml)
    return str(caught.value)


def input_refusal(rules: str) -> str:
    return refusal(f"{HEAD}[inputs.x]\n{rules}\n{OUTPUT}")


def output_refusal(rules: str) -> str:
    return refusal(f"{HEAD}{INPUT}{OUTPUT}[outputs.z]\n{rules}\n")


def test_the_example_of_the_design_is_understood() -> None:
    contract = parse_contract(
        HEAD
        + """
        [inputs.age]
        field = "age"
        missing = "reject"
        range = [0, 130]
        [inputs.matrix]
        fields = ["a", "b.c"]
        missing = 0.0
        [inputs.codes]
        field = "recent_products"
        length = 200
        pad = ""
        [outputs.score]
        from = "probabilities"
        column = 1
        [outputs.bucket]
        of = "score"
        bins = { D = 0.0, A = 0.5, C = 0.08, B = 0.2 }
        [outputs.items]
        each = { product_code = "items", score = "scores" }
        """
    )
    assert (contract.name, contract.version) == ("lead", "1")
    assert (contract.entity, contract.prediction) == ("lead_id", "predictions.lead-score")
    assert (contract.event_id, contract.occurred_at) == ("event_id", "occurred_at")
    assert (contract.one_by_one, contract.tolerance_relative) == (False, 1e-6)
    assert contract.inputs == (
        InputRule("age", ("age",), range=(0.0, 130.0)),
        InputRule("matrix", ("a", "b.c"), matrix=True, missing=0.0),
        InputRule("codes", ("recent_products",), length=200, pad=""),
    )
    assert contract.outputs == (
        OutputRule("score", "probabilities", 1),
        OutputRule("bucket", of="score", bins=(("A", 0.5), ("B", 0.2), ("C", 0.08), ("D", 0.0))),
        OutputRule("items", each=(("product_code", "items"), ("score", "scores"))),
    )


def test_optional_keys_are_taken() -> None:
    text = HEAD + 'event_id = "meta.id"\noccurred_at = "at"\none_by_one = true\n' + INPUT + OUTPUT
    contract = parse_contract(text + "[tolerance]\nrelative = 1e-4\n")
    assert (contract.event_id, contract.occurred_at) == ("meta.id", "at")
    assert (contract.one_by_one, contract.tolerance_relative) == (True, 1e-4)


def test_text_that_is_no_toml_is_refused() -> None:
    assert "no valid TOML" in refusal("name = ")


@pytest.mark.parametrize("key", ["name", "version", "entity", "prediction"])
def test_a_key_that_is_lacking_is_named(key: str) -> None:
    text = "\n".join(line for line in HEAD.splitlines() if not line.startswith(key)) + "\n"
    assert refusal(text + INPUT + OUTPUT) == f"model.toml lacks {key}"


@pytest.mark.parametrize(
    ("toml", "wrong", "right"),
    [
        (HEAD + 'evnt_id = "x"\n' + INPUT + OUTPUT, "evnt_id", "event_id"),
        (HEAD + "one_by_on = true\n" + INPUT + OUTPUT, "one_by_on", "one_by_one"),
        (HEAD + INPUT.replace("inputs", "input") + OUTPUT, "input", "inputs"),
        (HEAD + INPUT + 'mising = "reject"\n' + OUTPUT, "mising", "missing"),
        (HEAD + INPUT + OUTPUT + "colum = 1\n", "colum", "column"),
        (HEAD + INPUT + OUTPUT + "[tolerance]\nrelativ = 1\n", "relativ", "relative"),
    ],
)
def test_a_key_misspelt_is_named_with_the_nearest_right_one(toml: str, wrong: str, right: str) -> None:
    text = refusal(toml)
    assert f"unknown key {wrong!r}" in text
    assert f"did you mean {right!r}?" in text


def test_a_key_like_no_other_is_answered_with_all_that_are_known() -> None:
    assert "known: bins, column, each, from, of" in output_refusal('zzz = 1\nfrom = "y"')


@pytest.mark.parametrize("name", ['""', '"a/b"', "3", "true"])
@pytest.mark.parametrize("key", ["name", "version"])
def test_name_and_version_are_words_without_a_slash_since_ids_are_built_from_them(key: str, name: str) -> None:
    lines = [f"{key} = {name}" if line.startswith(key) else line for line in HEAD.splitlines()]
    assert f"{key} = " in refusal("\n".join(lines) + "\n" + INPUT + OUTPUT)


@pytest.mark.parametrize(("toml", "words"), [(HEAD + OUTPUT, "[inputs.NAME]"), (HEAD + INPUT, "[outputs.NAME]")])
def test_a_contract_has_inputs_and_outputs(toml: str, words: str) -> None:
    assert words in refusal(toml)


@pytest.mark.parametrize(
    "toml",
    [
        HEAD + "inputs = 3\n" + OUTPUT,
        HEAD + "[inputs]\nx = 3\n" + OUTPUT,
        HEAD + "tolerance = 3\n" + INPUT + OUTPUT,
        HEAD + "[inputs]\n" + OUTPUT,
    ],
)
def test_what_must_be_a_table_is_one(toml: str) -> None:
    assert "table" in refusal(toml)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("", 'needs either field = "path" or fields'),
        ('field = "a"\nfields = ["b"]', "needs either field"),
        ("field = 3", "field = 3 must be of type str"),
        ('field = ""', "list of field paths"),
        ("fields = []", "list of field paths"),
        ('fields = ["a", 3]', "list of field paths"),
        ('fields = "a"', "must be of type list"),
    ],
)
def test_an_input_is_fed_by_one_field_or_by_several(rules: str, words: str) -> None:
    assert words in input_refusal(rules)


@pytest.mark.parametrize(
    "bounds",
    ["[1]", "[1, 2, 3]", "[2, 1]", '["a", "b"]', '[0, "b"]', "[false, true]", "[nan, 1]", "3", f"[0, 1{'0' * 400}]"],
)
def test_a_range_is_two_numbers_in_order(bounds: str) -> None:
    assert "[inputs.x] range" in input_refusal(f'field = "a"\nrange = {bounds}')


def test_a_range_may_be_open_on_a_side() -> None:
    assert one_input('field = "a"\nrange = [0, inf]').range == (0.0, float("inf"))
    assert one_input('field = "a"\nrange = [1, 1]').range == (1.0, 1.0)


@pytest.mark.parametrize("length", ["0", "-1", "100001", "true", "2.0", '"2"'])
def test_a_length_is_a_whole_number_within_limits(length: str) -> None:
    assert "length must be 1 to 100000" in input_refusal(f'field = "a"\nlength = {length}')


def test_a_length_goes_with_a_single_field_and_a_pad_goes_with_a_length() -> None:
    assert "single field" in input_refusal('fields = ["a"]\nlength = 2')
    assert "pad goes with length" in input_refusal('field = "a"\npad = 0')


@pytest.mark.parametrize("pad", ["[1]", "{ a = 1 }", "2020-01-01"])
def test_a_pad_is_a_text_or_a_number(pad: str) -> None:
    assert "pad must be" in input_refusal(f'field = "a"\nlength = 2\npad = {pad}')


@pytest.mark.parametrize("missing", ["[1]", "{ a = 1 }", "2020-01-01"])
def test_a_default_is_a_text_a_number_or_a_boolean(missing: str) -> None:
    assert "missing must be" in input_refusal(f'field = "a"\nmissing = {missing}')


@pytest.mark.parametrize(("text", "value"), [('"x"', "x"), ("3", 3), ("0.5", 0.5), ("true", True)])
def test_a_default_is_kept_as_it_is_written(text: str, value: Any) -> None:
    found = one_input(f'field = "a"\nmissing = {text}').missing
    assert (found, type(found)) == (value, type(value))


def test_an_array_has_no_default_since_an_empty_one_is_padded() -> None:
    assert "an empty array is padded" in input_refusal('field = "a"\nlength = 2\nmissing = ""')


@pytest.mark.parametrize(
    "rules",
    [
        "",
        'from = "y"\nof = "score"',
        'of = "score"\neach = { a = "y" }',
        'from = "y"\neach = { a = "y" }',
        "column = 1",
    ],
)
def test_an_output_has_exactly_one_origin(rules: str) -> None:
    assert "exactly one of from, of (with bins), each" in output_refusal(rules)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ('from = "y"\nbins = { A = 1, B = 0 }', "bins goes with of"),
        ('of = "score"\ncolumn = 1\nbins = { A = 1, B = 0 }', "column goes with from"),
        ('each = { a = "y" }\ncolumn = 1', "column goes with from"),
        ('each = { a = "y" }\nbins = { A = 1, B = 0 }', "bins goes with of"),
    ],
)
def test_a_key_without_its_companion_is_refused_rather_than_ignored(rules: str, words: str) -> None:
    assert words in output_refusal(rules)


@pytest.mark.parametrize("column", ["-1", "true", "1.0", '"1"'])
def test_a_column_is_a_whole_number_from_0_on(column: str) -> None:
    assert "column must be 0 or more" in output_refusal(f'from = "y"\ncolumn = {column}')


@pytest.mark.parametrize(
    "bins",
    ["{ A = 1 }", "{}", '{ A = "1", B = 0 }', "{ A = true, B = 0 }", "{ A = nan, B = 0 }", "{ A = 1, B = 1.0 }", "3"],
)
def test_bins_are_two_labels_or_more_each_with_its_own_bound(bins: str) -> None:
    assert "bins" in output_refusal(f'of = "score"\nbins = {bins}')


def test_bins_without_bounds_are_lacking() -> None:
    assert "lacks bins" in output_refusal('of = "score"')


def test_bins_are_of_an_output_that_comes_from_the_model() -> None:
    assert "did you mean 'score'?" in output_refusal('of = "scor"\nbins = { A = 1, B = 0 }')
    assert "is not an output with a 'from'" in output_refusal('of = "z"\nbins = { A = 1, B = 0 }')


@pytest.mark.parametrize("each", ["{}", "{ a = 3 }", '"y"', '["y"]'])
def test_each_names_an_onnx_output_for_every_sub_field(each: str) -> None:
    assert "each" in output_refusal(f"each = {each}")


@pytest.mark.parametrize("relative", ['"x"', "true", "nan", "[1]"])
def test_a_tolerance_is_a_number(relative: str) -> None:
    assert "[tolerance] relative" in refusal(f"{HEAD}{INPUT}{OUTPUT}[tolerance]\nrelative = {relative}\n")


def test_an_output_may_be_taken_whole() -> None:
    assert one_output('from = "w"') == OutputRule("z", "w")
    assert one_output('from = "w"\ncolumn = 0').column == 0
