"""`scorer score`: a file of events through a bundle, without Kafka."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest

from scorer.cli import main
from scorer.core.compose import PROVENANCE
from scorer.local.places import shipped
from tests.unit.cli.visits import SCHEMA, lines, visit, write_files

Score = Callable[..., tuple[int, list[dict[str, Any]], list[str]]]
OWN = ("--schema", "events.visit.avsc", "--prediction", "predictions.churn.avsc")


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Score:
    """Scores a file with the drafted bundle. Returns exit code, predictions, and the lines of stderr."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCORER_DEBUG", raising=False)
    assert main.run(["model", "init", "churn.onnx", "--schema", "events.visit.avsc"]) == 0
    schema = ["--schema", "events.visit.avsc"]
    assert main.run(["model", "golden", "models/churn/1", "--events", "visits.jsonl", *schema]) == 0

    def run(
        file: str, *options: object, bundle: object = "models/churn/1"
    ) -> tuple[int, list[dict[str, Any]], list[str]]:
        capsys.readouterr()
        code = main.run(["score", file, "--bundle", str(bundle), *map(str, options)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "this is a bug" not in err
        return code, [json.loads(line) for line in out.splitlines()], err.splitlines()

    return run


def expected() -> list[float]:
    rows = Path("models/churn/1/golden.jsonl").read_text().splitlines()
    return [json.loads(row)["expect"]["score"] for row in rows]


def test_every_event_of_a_file_becomes_one_line_with_the_models_score(score: Score) -> None:
    code, found, said = score("visits.jsonl", *OWN)
    assert code == 0
    assert [each["customer_id"] for each in found] == [f"c{number}" for number in range(6)]
    assert [each["score"] for each in found] == expected()
    assert said == ["6 of 6 events scored, 0 rejected"]


def test_a_line_is_the_whole_prediction_and_names_file_and_row_as_its_source(score: Score) -> None:
    _, found, _ = score("visits.jsonl", *OWN)
    assert found[2].keys() >= PROVENANCE.keys()
    assert found[2]["prediction_id"] == "churn/1/visits.jsonl/0/2"
    assert (found[2]["source_topic"], found[2]["source_offset"], found[2]["lane"]) == ("visits.jsonl", 2, "file")


def avro_file(path: Path, far: int = -1) -> None:
    """The visits as an Avro container; number `far` happened in the year 3170843."""
    moments = [visit(number, **({"occurred_at": 10**17} if number == far else {})) for number in range(6)]
    with path.open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(SCHEMA), moments)


def test_csv_json_and_avro_give_the_same_scores(score: Score) -> None:
    names = [field["name"] for field in SCHEMA["fields"]]
    rows = [",".join(str(visit(number)[name]) for name in names) for number in range(6)]
    Path("visits.csv").write_text("\n".join([",".join(names), *rows]))
    Path("visits.csv.gz").write_bytes(gzip.compress(Path("visits.csv").read_bytes()))
    avro_file(Path("visits.avro"))
    for file, options in (("visits.csv", OWN), ("visits.csv.gz", OWN), ("visits.avro", OWN[2:])):
        code, found, _ = score(file, *options)
        assert code == 0, file
        assert [each["score"] for each in found] == expected()
        assert {each["occurred_at"] for each in found} == {1_700_000_000_000}


def test_a_row_that_is_rejected_is_named_on_stderr_and_the_exit_code_says_so(score: Score) -> None:
    events = [visit(0), visit(1, spent=None), visit(2), visit(3, age="old"), visit(4, spent=1e300), visit(5)]
    Path("visits.jsonl").write_text(lines(events))
    code, found, said = score("visits.jsonl", *OWN)
    assert code == 5
    assert [each["source_offset"] for each in found] == [0, 2, 5]
    assert said[0].startswith("event 4: is not of the schema: ")
    assert said[1:] == [
        "event 2: assemble, missing_field: spent is absent or null",
        "event 5: assemble, out_of_range: spent does not fit float32",
        "3 of 6 events scored, 3 rejected",
    ]


def test_a_misspelt_column_is_told_of_and_not_scored_as_missing_in_silence(score: Score) -> None:
    names = [field["name"] for field in SCHEMA["fields"]]
    head = ["Country" if name == "country" else "spend" if name == "spent" else name for name in names]
    rows = [",".join(str(visit(number)[name]) for name in names) for number in range(2)]
    Path("visits.csv").write_text("\n".join([",".join(head), *rows]))
    code, _, said = score("visits.csv", *OWN)
    assert code == 5
    assert said[-3:] == [
        "visits.csv: left out, as the schema does not have them: Country, spend",
        "visits.csv: null or their default in every event, as the file does not have them: spent, country",
        "0 of 2 events scored, 2 rejected",
    ]


def test_one_odd_time_in_an_avro_container_is_one_rejection(score: Score) -> None:
    avro_file(Path("visits.avro"), far=2)
    code, found, said = score("visits.avro", *OWN[2:])
    assert (code, [each["source_offset"] for each in found]) == (5, [0, 1, 3, 4, 5])
    assert said[0].startswith("event 3: assemble, in_future: ")
    assert said[1:] == ["5 of 6 events scored, 1 rejected"]


def test_rows_keep_their_numbers_beyond_the_first_thousand(score: Score) -> None:
    events = [visit(0)] * 1500
    events[1200] = visit(0, spent=None)
    Path("visits.jsonl").write_text(lines(events))
    code, found, said = score("visits.jsonl", *OWN)
    assert (code, len(found)) == (5, 1499)
    assert said == [
        "event 1201: assemble, missing_field: spent is absent or null",
        "1,499 of 1,500 events scored, 1 rejected",
    ]
    assert found[-1]["source_offset"] == 1499


def test_a_limit_takes_only_so_many(score: Score) -> None:
    code, found, said = score("visits.jsonl", *OWN, "-n", 2)
    assert (code, len(found), said) == (0, 2, ["2 of 2 events scored, 0 rejected"])


def test_a_shipped_model_scores_a_real_file_without_more_options(score: Score) -> None:
    header = "age;job;marital;education;default;housing;loan;contact;month;day_of_week;duration;campaign;pdays;previous"
    Path("bank.csv").write_text(
        f"{header};poutcome;emp.var.rate;cons.price.idx;cons.conf.idx;euribor3m;nr.employed;y\n"
        "56;housemaid;married;basic.4y;no;no;no;telephone;may;mon;261;1;999;0;nonexistent;1.1;93.994;-36.4;4.857;5191;no\n"
    )
    code, (found,), _ = score("bank.csv", bundle=shipped("models") / "lead" / "1")
    assert code == 0
    assert found["lead_id"] == "lead-000001"
    assert found["bucket"] in "ABCD"


@pytest.mark.parametrize(
    ("file", "options", "said"),
    [
        ("none.jsonl", OWN, "none.jsonl is not there; give a file of events"),
        (".", OWN, ". is a folder; give a file of events"),
        ("visits.jsonl", OWN[2:], "visits.jsonl does not say what its fields are: give --schema EVENT.avsc"),
        ("visits.jsonl", ("--schema", "none.avsc", *OWN[2:]), "none.avsc cannot be read: No such file or directory"),
        ("visits.jsonl", ("--schema", "visits.jsonl", *OWN[2:]), "visits.jsonl: schema 1 is no valid Avro schema"),
        (
            "visits.jsonl",
            OWN[:2],
            "no shipped schema is named predictions.churn: give --prediction predictions.churn.avsc",
        ),
        ("visits.jsonl", (*OWN[:3], "none.avsc"), "none.avsc cannot be read: No such file or directory"),
        ("visits.jsonl", (*OWN[:3], "."), ". cannot be read: Is a directory"),
        ("churn.onnx", OWN, "churn.onnx must end in .csv or .jsonl (both also .gz), or in .avro"),
        ("broken.jsonl", OWN, "broken.jsonl line 2 is no JSON: "),
        ("broken.csv", OWN, "broken.csv has no column of the schema in its first line: a, b; wanted: event_id, "),
        ("broken.csv", OWN[2:], "broken.csv is neither Bank Marketing ("),
        ("broken.avro", OWN[2:], "broken.avro is no Avro container: "),
        ("visits.avro", OWN, "visits.avro brings its own schema: leave out --schema"),
    ],
)
def test_an_ordinary_mistake_is_one_line_that_says_what_to_do(
    score: Score, file: str, options: tuple[str, ...], said: str
) -> None:
    Path("broken.jsonl").write_text(json.dumps(visit(0)) + "\n{")
    Path("broken.csv").write_text("a,b\n1,2\n")
    Path("broken.avro").write_text("Obj")
    avro_file(Path("visits.avro"))
    code, _, err = score(file, *options)
    assert code == 3
    assert err[-1].startswith(f"error: {said}")
    assert len(err) == 1


def test_a_file_of_another_kind_than_the_real_ones_says_how_it_can_be_scored(score: Score) -> None:
    Path("own.csv").write_text("a,b\n1,2\n")
    assert score("own.csv", *OWN[2:])[2][0].endswith("; for other files give --schema EVENT.avsc")


def test_a_bundle_that_is_not_there_is_named(score: Score) -> None:
    code, _, err = score("visits.jsonl", *OWN, bundle="models/none/1")
    assert (code, err) == (3, ["error: there is no bundle at models/none/1: No such file or directory"])


def test_a_model_that_cannot_serve_is_refused_before_anything_is_scored(score: Score) -> None:
    wrong = {
        **SCHEMA,
        "fields": [{**each, "type": "string"} if each["name"] == "age" else each for each in SCHEMA["fields"]],
    }
    Path("wrong.avsc").write_text(json.dumps(wrong))
    code, found, err = score("visits.jsonl", "--schema", "wrong.avsc", *OWN[2:])
    assert (code, found) == (3, [])
    assert err[0] == "error: bundle models/churn/1 cannot serve:"
