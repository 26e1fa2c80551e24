"""`scorer model`: from an ONNX file and a schema to a bundle that can serve, as a person does it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scorer.cli import main
from scorer.local.places import shipped
from tests.unit.cli.visits import SCHEMA, lines, visit, write_files

Run = Callable[..., tuple[int, str, str]]
BUNDLE = "models/churn/1"
SCHEMAS = ("--schema", "events.visit.avsc", "--prediction", "predictions.churn.avsc")
INIT = ("model", "init", "churn.onnx", "--schema", "events.visit.avsc")
GOLDEN = ("model", "golden", BUNDLE, "--events", "visits.jsonl", "--schema", "events.visit.avsc")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder that holds an ONNX file, a schema and events. Returns exit code, stdout and stderr."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCORER_DEBUG", raising=False)

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "this is a bug" not in err
        return code, out, err

    return command


@pytest.fixture
def made(run: Run) -> Run:
    """The same, with a bundle that can serve."""
    for command in (INIT, GOLDEN):
        assert run(*command)[0] == 0
    return run


def test_a_model_goes_from_onnx_to_checked_in_the_three_steps_that_init_names(run: Run) -> None:
    code, out, err = run(*INIT)
    assert (code, err) == (0, "")
    assert "drafted models/churn/1 and predictions.churn.avsc" in out
    steps = re.findall(r"\d\. scorer (.*)", out)
    assert [step.replace("SOME.jsonl", "visits.jsonl").split() for step in steps] == [
        list(GOLDEN),
        ["model", "check", BUNDLE, *SCHEMAS],
    ]
    for step in steps:
        code, out, err = run(*step.replace("SOME.jsonl", "visits.jsonl").split())
        assert (code, err) == (0, "")
    assert re.search(r"churn/1 can serve\.  sha256 [0-9a-f]{64}\n", out)
    assert "event schema events.visit.avsc: decoded by column" in out
    assert len(re.findall(r"batches of +\d+: model [\d.]+ us a row, decode to tensors [\d.]+", out)) == 3


def test_golden_rows_are_the_events_with_what_the_model_makes_of_them(made: Run) -> None:
    rows = [json.loads(line) for line in Path(BUNDLE, "golden.jsonl").read_text().splitlines()]
    assert [row["event"] for row in rows] == [visit(number) for number in range(6)]
    assert all(0 < row["expect"]["score"] < 1 for row in rows)


def test_golden_rows_that_are_written_again_say_how_many_they_replace(made: Run) -> None:
    Path("visits.jsonl").write_text(lines([visit(1), visit(2)]))
    assert made(*GOLDEN) == (0, f"2 golden rows in {BUNDLE}/golden.jsonl, in the place of 6\n", "")


def test_golden_rows_may_come_from_csv(made: Run) -> None:
    header = ",".join(field["name"] for field in SCHEMA["fields"])
    Path("visits.csv").write_text(f"{header}\ne,c,5,41,,NL\n")
    assert made("model", "golden", BUNDLE, "--events", "visits.csv", "--schema", "events.visit.avsc")[0] == 3
    contract = Path(BUNDLE, "model.toml")
    contract.write_text(
        contract.read_text().replace('field = "spent"\nmissing = "reject"', 'field = "spent"\nmissing = 0.0')
    )
    code, out, _ = made("model", "golden", BUNDLE, "--events", "visits.csv", "--schema", "events.visit.avsc")
    assert (code, out.split()[0]) == (0, "1")
    Path("visits.csv").write_text(f"{header.replace('spent', 'Spent')}\ne,c,5,41,7,NL\n")
    _, _, err = made("model", "golden", BUNDLE, "--events", "visits.csv", "--schema", "events.visit.avsc")
    assert err == (
        "visits.csv: left out, as the schema does not have them: Spent\n"
        "visits.csv: null or their default in every event, as the file does not have them: spent\n"
    )


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (
            [visit(0), visit(1, spent=None)],
            "golden row 2 is rejected: assemble, missing_field: spent is absent or null",
        ),
        ([visit(0), {"event_id": "e"}], "golden row 2 is no event of schema 1: "),
        ([visit(0), 7], "visits.jsonl line 2 is no JSON object of an event's fields"),
        ([], "visits.jsonl holds no events"),
    ],
)
def test_an_event_that_cannot_be_golden_is_named_and_nothing_is_written(
    run: Run, events: list[object], said: str
) -> None:
    run(*INIT)
    Path("visits.jsonl").write_text(lines(events))
    code, _, err = run(*GOLDEN)
    assert code == 3
    assert err.startswith(f"error: {said}")
    assert not Path(BUNDLE, "golden.jsonl").exists()


def test_a_mistake_in_the_contract_is_named_before_golden_rows_are_made(run: Run) -> None:
    run(*INIT)
    contract = Path(BUNDLE, "model.toml")
    contract.write_text(contract.read_text().replace("[inputs.age]", "[inputs.aeg]").replace('"country"', '"land"'))
    code, _, err = run(*GOLDEN)
    assert code == 3
    assert "models/churn/1/model.toml has to be corrected first:\n" in err
    assert "- ONNX input age is fed by nothing; add [inputs.age]\n" in err
    assert "- [inputs.aeg] is no ONNX input; did you mean age?\n" in err


def test_golden_rows_are_json_and_so_are_their_events(run: Run) -> None:
    run(*INIT)
    code, _, err = run("model", "golden", BUNDLE, "--events", "visits.avro", "--schema", "events.visit.avsc")
    assert (code, err) == (3, "error: visits.avro: golden rows are JSON, so give events as .jsonl or .csv\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("model", "golden", "models/none/1", *GOLDEN[3:]), "there is no bundle at models/none/1: No such file"),
        ((*GOLDEN[:4], "none.jsonl", *GOLDEN[5:]), "none.jsonl cannot be read: No such file or directory"),
        ((*GOLDEN[:-1], "none.avsc"), "none.avsc cannot be read: No such file or directory"),
        ((*GOLDEN[:-1], "."), ". cannot be read: Is a directory"),
        ((*GOLDEN[:-1], "visits.jsonl"), "visits.jsonl: schema 1 is no valid Avro schema"),
        (("model", "check", "none"), "there is no bundle at none: No such file or directory"),
        (("model", "check", "churn.onnx"), "there is no bundle at churn.onnx: Not a directory"),
        (("model", "check", "."), ". is no bundle: it lacks model.onnx, model.toml, golden.jsonl; there is churn.onnx"),
        (("model", "check", BUNDLE), "no stream of the settings serves models/churn/1: give --schema EVENT.avsc and"),
        (("model", "check", BUNDLE, "--schema", "none.avsc"), "none.avsc cannot be read: No such file or directory"),
        (("model", "check", BUNDLE, "--schema", "."), ". cannot be read: Is a directory"),
        (
            ("model", "check", BUNDLE, "--schema", "events.visit.avsc"),
            "no shipped schema is named predictions.churn: give",
        ),
        (
            ("model", "check", BUNDLE, "--schema", "events.visit.avsc", "--prediction", "none.avsc"),
            "none.avsc cannot be read: No such file or directory",
        ),
        (
            ("model", "check", BUNDLE, *SCHEMAS, "--config", "none.toml"),
            "the settings file none.toml cannot be read: No such file",
        ),
        (("model", "list", "none", "--json"), "none holds no bundle (NAME/VERSION/model.toml)"),
        (("model", "list", "none"), "none holds no bundle (NAME/VERSION/model.toml)"),
        (("model", "list", "churn.onnx"), "churn.onnx holds no bundle (NAME/VERSION/model.toml)"),
    ],
)
def test_what_is_not_there_or_of_another_kind_is_one_line_that_names_it(
    made: Run, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = made(*arguments)
    assert (code, out) == (3, "")
    assert err.startswith(f"error: {said}"), err
    assert len(err.splitlines()) == 1


def test_everything_that_keeps_a_model_from_serving_is_listed_at_once(made: Run) -> None:
    contract = Path(BUNDLE, "model.toml")
    contract.write_text(
        contract.read_text().replace('field = "spent"', 'field = "spend"').replace('field = "age"', 'field = "country"')
    )
    code, out, err = made("model", "check", BUNDLE, *SCHEMAS)
    assert (code, out) == (3, "")
    assert err.splitlines() == [
        "error: bundle models/churn/1 cannot serve:",
        "    - event schema events.visit.avsc: [inputs.age] country is a text, the model takes float32",
        '    - event schema events.visit.avsc: field spend is absent and has no default (missing = "reject"), so every '
        "event of this version would be rejected",
    ]


def test_a_model_is_checked_against_every_version_of_the_event(made: Run) -> None:
    older = {**SCHEMA, "fields": [field for field in SCHEMA["fields"] if field["name"] != "country"]}
    Path("older.avsc").write_text(json.dumps(older))
    code, _, err = made("model", "check", BUNDLE, "--schema", "older.avsc", *SCHEMAS)
    assert code == 3
    assert 'event schema older.avsc: field country is absent and has no default (missing = "reject")' in err


def test_a_golden_row_that_does_not_come_out_is_shown(made: Run) -> None:
    path = Path(BUNDLE, "golden.jsonl")
    first, *rest = path.read_text().splitlines()
    row = json.loads(first)
    wrong = {**row, "expect": {"score": row["expect"]["score"] + 0.001}}
    path.write_text("\n".join([json.dumps(wrong), *rest]))
    code, _, err = made("model", "check", BUNDLE, *SCHEMAS)
    assert code == 3
    assert f"- golden row 1: score is {row['expect']['score']!r}, expected" in err


def test_a_checked_model_is_told_as_json_for_machines(made: Run) -> None:
    code, out, err = made("model", "check", BUNDLE, *SCHEMAS, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["model"] == "churn/1"
    assert document["event_schemas"] == {"events.visit.avsc": True}
    assert document["microseconds_per_row"].keys() == {"1", "32", "512"}


def test_versions_of_a_schema_that_are_in_files_of_one_name_are_told_apart(made: Run) -> None:
    for version in ("v1", "v2"):
        Path(version).mkdir()
        Path(version, "e.avsc").write_text(json.dumps(SCHEMA))
    code, out, _ = made(
        "model", "check", BUNDLE, "--schema", "v1/e.avsc", "--schema", "v2/e.avsc", *SCHEMAS[2:], "--json"
    )
    assert (code, json.loads(out)["event_schemas"]) == (0, {"v1/e.avsc": True, "v2/e.avsc": True})


def test_a_schema_that_is_decoded_by_record_alone_is_told_with_field_and_cost(made: Run) -> None:
    slow = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "photo", "type": ["null", "bytes"]}]}
    Path("slow.avsc").write_text(json.dumps(slow))
    code, out, _ = made("model", "check", BUNDLE, "--schema", "slow.avsc", *SCHEMAS[2:])
    assert code == 0
    assert "event schema slow.avsc: decoded by record alone, some 10 times the cost, because of photo (bytes)" in out


def test_a_shipped_model_is_checked_against_the_shipped_schemas(run: Run) -> None:
    code, out, _ = run("model", "check", shipped("models") / "lead" / "1")
    assert code == 0
    assert "lead/1 can serve." in out


def test_a_prediction_that_is_given_counts_also_where_the_rest_is_known(run: Run) -> None:
    own = json.loads((shipped("schemas") / "predictions.lead-score.avsc").read_text())
    own["fields"] = [field for field in own["fields"] if field["name"] != "lane"]
    Path("own.avsc").write_text(json.dumps(own))
    code, _, err = run("model", "check", shipped("models") / "lead" / "1", "--prediction", "own.avsc")
    assert code == 3
    assert "prediction schema lacks the provenance field lane (string)" in err


def test_bundles_are_listed_with_their_identity_and_what_is_wrong_with_them(made: Run) -> None:
    code, out, _ = made("model", "check", BUNDLE, *SCHEMAS, "--json")
    sha256 = json.loads(out)["sha256"]
    Path("models/churn/2").mkdir()
    Path("models/churn/2/model.toml").touch()
    code, out, _ = made("model", "list", "models", "--json")
    first, second = json.loads(out)
    assert code == 0
    assert first == {"model": "churn/1", "sha256": sha256, "folder": BUNDLE, "problem": ""}
    assert "it lacks model.onnx, golden.jsonl" in second["problem"]
    code, out, _ = made("model", "list", "models")
    assert out.splitlines()[0].split() == ["churn/1", sha256[:16], BUNDLE]


def test_the_shipped_bundles_are_listed_by_default(run: Run) -> None:
    code, out, _ = run("model", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["lead/1", "recommend/1"]
