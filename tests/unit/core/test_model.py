"""Running a model: one bad row never costs its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scorer.core.errors import ContractError
from scorer.core.model import RUN_ROWS_MAX, Model, load_model, predict, signature
from scorer.core.signature import Tensor
from tests.unit.core.batches import reasons
from tests.unit.core.graphs import bundle_of, graph, lookup, model_of

PRICES = [0.5, 1.5, 2.5]
ONE_BY_ONE = "one_by_one = true\n"
IN_OUT = '[inputs.x]\nfield = "x"\n[outputs.score]\nfrom = "y"\n'


def prices_of(items: list[int], toml: str = "") -> tuple[list[float], list[int], dict[int, str]]:
    """Scores and indices of the rows that went well, and the reasons of the others; rows start at 10."""
    rows = np.arange(10, 10 + len(items))
    outputs, kept, rejections = predict(lookup(PRICES, toml), {"item": np.array(items, dtype=np.int64)}, rows)
    return outputs["price"].tolist(), kept.tolist(), reasons(rejections)


@pytest.mark.parametrize("toml", ["", ONE_BY_ONE])
def test_good_rows_come_back_in_their_order(toml: str) -> None:
    assert prices_of([2, 0, 1, 2], toml) == ([2.5, 0.5, 1.5, 2.5], [0, 1, 2, 3], {})


@pytest.mark.parametrize("toml", ["", ONE_BY_ONE])
@pytest.mark.parametrize("bad", [[0], [6], [3, 4], [0, 1, 2, 5], list(range(7))])
def test_rows_on_which_the_model_fails_are_found_and_their_neighbours_scored(toml: str, bad: list[int]) -> None:
    items = [99 if at in bad else at % 3 for at in range(7)]
    good = [at for at in range(7) if at not in bad]
    wanted = [PRICES[at % 3] for at in good]
    assert prices_of(items, toml) == (wanted, good, {10 + at: "model_failed" for at in bad})


def test_a_failing_row_in_a_large_batch_takes_few_runs_to_find() -> None:
    model = lookup(PRICES)
    runs = []

    class Counting:
        def run(self, names: list[str], feed: dict[str, Any]) -> Any:
            runs.append(len(feed["item"]))
            return model.session.run(names, feed)

    counting = Model(model.bundle, model.interface, Counting(), model.wanted)
    items = np.zeros(1024, dtype=np.int64)
    items[700] = 99
    _, kept, rejections = predict(counting, {"item": items}, np.arange(1024))
    assert (len(kept), reasons(rejections)) == (1023, {700: "model_failed"})
    assert len(runs) == 20


def test_a_batch_of_several_runs_comes_back_whole_and_in_order() -> None:
    count = 2 * RUN_ROWS_MAX + 3
    items = np.arange(count) % len(PRICES)
    bad = RUN_ROWS_MAX + 1
    items[bad] = 99
    outputs, kept, rejections = predict(lookup(PRICES), {"item": items}, np.arange(count))
    assert reasons(rejections) == {bad: "model_failed"}
    assert kept.tolist() == [row for row in range(count) if row != bad]
    assert outputs["price"].tolist() == [PRICES[item] for item in items[kept]]


def test_the_runtimes_words_are_not_kept_since_they_quote_the_payload(capfd: pytest.CaptureFixture[str]) -> None:
    _, _, rejections = predict(lookup(PRICES), {"item": np.array([424242])}, np.arange(1))
    assert rejections[0].detail == "InvalidArgument"
    assert "424242" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("toml", ["", ONE_BY_ONE])
def test_no_rows_give_outputs_of_no_rows(toml: str) -> None:
    model = lookup(PRICES, toml)
    outputs, kept, rejections = predict(model, {"item": np.empty(0, dtype=np.int64)}, np.arange(0))
    assert (outputs["price"].shape, outputs["price"].dtype, len(kept), rejections) == ((0,), np.float32, 0, [])
    outputs, kept, _ = predict(model, {}, np.arange(0))
    assert (outputs["price"].shape, len(kept)) == ((0,), 0)


@pytest.mark.parametrize(("shape", "empty"), [((None, 4), (0, 4)), ((None, None), (0, 0)), ((None,), (0,))])
def test_outputs_of_no_rows_keep_their_type_and_axes(shape: tuple[int | None, ...], empty: tuple[int, ...]) -> None:
    identity = graph([("Identity", ["x"], ["y"], {})], {"x": ("double", shape)}, {"y": ("double", shape)})
    outputs, _, _ = predict(model_of(identity, IN_OUT), {}, np.arange(0))
    assert (outputs["y"].shape, outputs["y"].dtype) == (empty, np.float64)


def logarithm(toml: str = "") -> Model:
    nodes = [("Log", ["x"], ["y"], {}), ("Neg", ["x"], ["unused"], {})]
    ends = {"x": ("float", (None, 2))}
    return model_of(graph(nodes, ends, {"y": ("float", (None, 2)), "unused": ("float", (None, 2))}), toml + IN_OUT)


@pytest.mark.parametrize("toml", ["", ONE_BY_ONE])
def test_rows_with_an_output_that_is_nan_or_infinite_are_rejected(toml: str) -> None:
    x = np.array([[1, 1], [0, 1], [1, -1], [1, 2]], dtype=np.float32)
    outputs, kept, rejections = predict(logarithm(toml), {"x": x}, np.arange(5, 9))
    assert (kept.tolist(), reasons(rejections)) == ([0, 3], {6: "non_finite", 7: "non_finite"})
    assert outputs["y"].tolist() == [[0.0, 0.0], [0.0, float(np.log(np.float32(2)))]]
    assert rejections[0].detail == "output y is NaN or infinite"


def test_an_output_that_the_contract_does_not_use_may_be_anything() -> None:
    outputs, kept, _ = predict(logarithm(), {"x": np.ones((2, 2), dtype=np.float32)}, np.arange(2))
    assert (list(outputs), len(kept)) == (["y"], 2)


def test_rows_that_fail_and_rows_that_are_not_finite_are_told_apart() -> None:
    model = lookup([0.5, float("nan")])
    outputs, kept, rejections = predict(model, {"item": np.array([0, 9, 1, 0])}, np.arange(4))
    assert reasons(rejections) == {1: "model_failed", 2: "non_finite"}
    assert (outputs["price"].tolist(), kept.tolist()) == ([0.5, 0.5], [0, 3])


def test_one_by_one_gives_the_bits_of_the_batch_for_a_model_that_does_not_look_at_batch_mates() -> None:
    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    nodes = [("MatMul", ["x", "w"], ["h"], {}), ("Sigmoid", ["h"], ["y"], {})]
    onnx = graph(nodes, {"x": ("float", (None, 4))}, {"y": ("float", (None, 3))}, {"w": weights})
    x = np.random.default_rng(7).normal(size=(50, 4)).astype(np.float32)
    batch, alone = (
        predict(model_of(onnx, toml + IN_OUT), {"x": x}, np.arange(50))[0]["y"] for toml in ("", ONE_BY_ONE)
    )
    assert batch.tobytes() == alone.tobytes()


def test_one_by_one_hides_batch_mates_from_a_model_that_looks_at_them() -> None:
    nodes = [("ReduceMax", ["x"], ["top"], {"axes": [0]}), ("Div", ["x", "top"], ["y"], {})]
    onnx = graph(nodes, {"x": ("float", (None, 1))}, {"y": ("float", (None, 1))})
    x = np.array([[1], [4]], dtype=np.float32)
    assert predict(model_of(onnx, IN_OUT), {"x": x}, np.arange(2))[0]["y"].tolist() == [[0.25], [1.0]]
    assert predict(model_of(onnx, ONE_BY_ONE + IN_OUT), {"x": x}, np.arange(2))[0]["y"].tolist() == [[1.0], [1.0]]


def test_a_model_that_gives_another_number_of_rows_has_failed() -> None:
    onnx = graph([("ReduceSum", ["x"], ["y"], {"keepdims": 0})], {"x": ("float", (None, 1))}, {"y": ("float", ())})
    _, kept, rejections = predict(model_of(onnx, IN_OUT), {"x": np.ones((2, 1), dtype=np.float32)}, np.arange(2))
    assert (len(kept), reasons(rejections)) == (0, {0: "model_failed", 1: "model_failed"})
    assert rejections[0].detail == "ValueError"


def test_string_outputs_come_as_python_strings() -> None:
    nodes = [("Identity", ["x"], ["y"], {})]
    onnx = graph(nodes, {"x": ("string", (None, 1))}, {"y": ("string", (None, 1))})
    x = np.array([["ä"], [""]], dtype=object)
    outputs, _, rejections = predict(model_of(onnx, IN_OUT), {"x": x}, np.arange(2))
    assert (outputs["y"].tolist(), rejections) == ([["ä"], [""]], [])


def test_a_wish_to_end_the_process_is_no_failure_of_the_model() -> None:
    class Stopping:
        def run(self, *_: Any) -> Any:
            raise KeyboardInterrupt

    model = lookup(PRICES)
    stopping = Model(model.bundle, model.interface, Stopping(), model.wanted)
    with pytest.raises(KeyboardInterrupt):
        predict(stopping, {"item": np.array([1])}, np.arange(1))


@pytest.mark.parametrize("onnx", [b"", b"garbage", b"\x00" * 100])
def test_a_broken_file_is_a_contract_error(onnx: bytes) -> None:
    with pytest.raises(ContractError, match=r"bundle: model\.onnx cannot be loaded"):
        load_model(bundle_of(onnx, IN_OUT))


def test_a_file_beyond_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.core.model.ONNX_BYTES_MAX", 10)
    with pytest.raises(ContractError, match="11 bytes, more than 10"):
        load_model(bundle_of(b"x" * 11, IN_OUT))


def test_an_input_type_that_is_not_served_is_refused() -> None:
    onnx = graph([("Identity", ["x"], ["y"], {})], {"x": ("uint8", (None,))}, {"y": ("uint8", (None,))})
    with pytest.raises(ContractError, match=r"ONNX x is tensor\(uint8\)"):
        load_model(bundle_of(onnx, IN_OUT))


def test_a_wrong_contract_is_refused_when_the_model_is_loaded() -> None:
    onnx = graph([("Identity", ["x"], ["y"], {})], {"x": ("float", (None,))}, {"y": ("float", (None,))})
    with pytest.raises(ContractError, match="inputs"):
        load_model(bundle_of(onnx, ""))


def test_a_loaded_model_knows_its_signature_and_what_the_contract_wants_of_it() -> None:
    ends = {"x": ("float", (None, 2)), "t": ("string", (None, 1))}
    nodes = [("Neg", ["x"], ["y"], {}), ("Identity", ["t"], ["u"], {}), ("Cast", ["x"], ["odd"], {"to": 2})]
    onnx = graph(nodes, ends, {"y": ("float", (None, 2)), "u": ("string", (None, 1)), "odd": ("uint8", (None, 2))})
    toml = '[inputs.x]\nfields = ["a", "b"]\n[inputs.t]\nfield = "t"\n[outputs.z]\nfrom = "y"\ncolumn = 0\n'
    model = model_of(onnx, toml + '[outputs.w]\nfrom = "y"\ncolumn = 1\n[outputs.e]\neach = { a = "u", b = "y" }\n')
    assert model.interface.inputs == {
        "x": Tensor(np.dtype(np.float32), (None, 2)),
        "t": Tensor(np.dtype(object), (None, 1)),
    }
    assert model.interface.outputs.keys() == {"y", "u"}
    assert model.wanted == ("y", "u")
    assert model.contract is model.bundle.contract


def test_a_model_runs_on_one_thread_without_spinning() -> None:
    options = lookup(PRICES).session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.enable_cpu_mem_arena is False


def test_a_signature_is_read_without_a_contract() -> None:
    ends = {"x": ("float", (None, 2))}
    nodes = [("Neg", ["x"], ["y"], {}), ("Cast", ["x"], ["odd"], {"to": 2})]
    onnx = graph(nodes, ends, {"y": ("float", (None, 2)), "odd": ("uint8", (None, 2))})
    tensor = Tensor(np.dtype(np.float32), (None, 2))
    assert signature(onnx, "here") == ({"x": tensor}, {"y": tensor})
    with pytest.raises(ContractError, match="here: "):
        signature(b"garbage", "here")
