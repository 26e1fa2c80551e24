"""What `scorer watch` shows of predictions and dead letters, and that it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from scorer.cli import main, stopping
from scorer.cli.watch import _letters, _line, _predictions, _told
from scorer.core.dead_letters import dead_letters
from scorer.core.errors import ContractError, TransientError
from scorer.core.records import Rejection, Stage
from scorer.edges.schema_folder import SchemaFolder
from scorer.local.places import shipped
from tests.unit.core.batches import batch_of, framed, record_schema
from tests.unit.edges.mock_cluster import Cluster

RECORD = record_schema(("prediction_id", "string"), ("score", "double"), schema_id=3)
BYTES = record_schema(("raw", "bytes"), schema_id=4)
SHIPPED = ("--set", f"streams.lead.bundle={shipped('models') / 'lead' / '1'}")
LEAD = record_schema(("lead_id", "string"), ("age", "int"), schema_id=1)


class Registry:
    """Schemas by id; `asked` notes each question."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def text(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        if schema_id == 66:
            raise ContractError("schema 66 refers to other schemas")
        if schema_id == 77:
            raise TransientError("the registry does not answer")
        known = {3: RECORD.text, 4: BYTES.text, 5: '"string"'}
        return known.get(schema_id)


def shown(*values: bytes | None, registry: Registry | None = None) -> list[dict[str, Any]]:
    return list(_predictions(batch_of(list(values)), {}, registry or Registry()))


def good(number: int) -> bytes:
    return framed(RECORD, {"prediction_id": f"p{number}", "score": 0.5})


def test_predictions_are_shown_in_order_with_each_schema_asked_for_once() -> None:
    registry = Registry()
    found = shown(good(1), framed(BYTES, {"raw": b"\xff"}), good(2), registry=registry)
    assert found == [{"prediction_id": "p1", "score": 0.5}, {"raw": b"\xff"}, {"prediction_id": "p2", "score": 0.5}]
    assert sorted(registry.asked) == [3, 4]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\0\0\0\0\x63", "schema id 99 is unknown to the registry"),
        (b"\0\0\0\0\x42", "schema 66 refers to other schemas"),
        (b"\0\0\0\0\x05", "schema 5 is of type string; events and predictions are records"),
        (good(1)[:-1], "malformed: the bytes end inside a field"),
        (good(1) + b"x", "trailing_bytes: 1 bytes follow the record"),
        (b"text", "4 bytes, the wire format needs 5"),
    ],
)
def test_a_value_that_does_not_decode_is_shown_as_what_it_is_and_hides_no_other(value: bytes, why: str) -> None:
    assert shown(good(1), value, good(2)) == [
        {"prediction_id": "p1", "score": 0.5},
        {"undecodable": why},
        {"prediction_id": "p2", "score": 0.5},
    ]


def test_tombstones_are_not_shown() -> None:
    assert shown(None, good(1)) == [{"prediction_id": "p1", "score": 0.5}]


def test_a_registry_that_does_not_answer_is_an_outage() -> None:
    with pytest.raises(TransientError):
        shown(b"\0\0\0\0\x4d")


def test_a_dead_letter_is_shown_by_where_it_came_from_and_why_never_by_its_bytes() -> None:
    bad = batch_of(
        [b"secret"], partitions=[2], offsets=[7], headers=[[("own", b"\xff"), ("__connect.errors.stage", b"x")]]
    )
    rejection = Rejection(0, Stage.DECODE, "bad_frame", "the first byte is 115, not 0")
    (letter,) = dead_letters(bad, [rejection], topic="l", stream="scorer.lead", model="lead/1", now_ms=5)
    batch = batch_of([letter.value], headers=[letter.headers])
    assert list(_letters(batch)) == [
        {
            "topic": "events",
            "partition": "2",
            "offset": "7",
            "connector.name": "scorer.lead",
            "stage": "DECODE",
            "class.name": "scorer",
            "exception.class.name": "bad_frame",
            "exception.message": "the first byte is 115, not 0",
            "scorer.model": "lead/1",
            "scorer.rejected_at_ms": "5",
            "value_bytes": 6,
        }
    ]


def test_a_dead_letter_without_headers_or_value_is_shown_too() -> None:
    assert list(_letters(batch_of([None]))) == [{"value_bytes": 0}]


def prediction(**own: Any) -> dict[str, Any]:
    rest = {"prediction_id": "p", "model_name": "lead", "model_version": "1", "lane": "live", "model_sha256": "ab"}
    return {"lead_id": "l1", **own, **rest, "scored_at": 1_700_000_000_250, "source_timestamp": 1_700_000_000_000}


def test_a_person_reads_when_who_what_and_by_which_model() -> None:
    assert _line(prediction(score=0.123456, bucket="A")) == (
        "22:13:20  lead_id=l1  score=0.1235  bucket=A  by lead/1 after 250 ms"
    )


def test_a_list_of_records_is_shown_by_the_first_field_of_its_first_five() -> None:
    items = [{"product_code": f"p{number}", "score": 0.5} for number in range(7)]
    assert "items=[p0 p1 p2 p3 p4 ...]" in _line(prediction(items=items))
    assert "items=[p0]" in _line(prediction(items=items[:1]))
    assert "items=[]" in _line(prediction(items=[]))


@pytest.mark.parametrize("own", [{"scored_at": None}, {"source_timestamp": "x"}, {"model_name": None}])
def test_another_writer_s_record_with_a_prediction_s_name_is_shown_field_by_field(own: dict[str, Any]) -> None:
    assert _line({**prediction(), **own}).startswith("lead_id=l1  prediction_id=p")


def test_no_value_drives_the_terminal() -> None:
    assert "lead_id=\\x1b[2J" in _line({**prediction(), "lead_id": "\x1b[2J"})
    assert _line({"a": "\x1b[2J"}) == "a=\\x1b[2J"


def test_a_time_that_no_calendar_has_ends_no_watch() -> None:
    assert _line({**prediction(), "scored_at": 2**62}).startswith("23:59:59  lead_id=l1")


def test_numbers_that_json_lacks_are_words() -> None:
    record = {"a": float("nan"), "b": [{"c": float("-inf")}], "d": 0.5, "e": None, "f": b"x"}
    assert _told(record) == {"a": "nan", "b": [{"c": "-inf"}], "d": 0.5, "e": None, "f": b"x"}


def test_a_command_that_is_told_to_stop_before_its_end_says_so_by_its_code(
    run: Run, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Event()
    told.set()
    monkeypatch.setattr(stopping, "stopped_by_signals", lambda: told)
    code, out, _ = run("send", "lead", "-n", 5, "--json")
    assert (code, json.loads(out)["sent"]) == (130, 0)
    cluster.broker.create(["topic-z"])
    cluster.produce("topic-z", 1, partitions=[0])
    assert run("watch", "lead", "--once", "--set", "streams.lead.to=topic-z")[0] == 130
    assert run("watch", "lead", "--set", "streams.lead.to=topic-z")[0] == 0, "it follows until it is told to stop"


def test_what_is_no_prediction_is_shown_field_by_field() -> None:
    assert _line({"undecodable": "why", "n": 1}) == "undecodable=why  n=1"


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    made.broker.create(["events.new-lead", "predictions.lead-score", "events.new-lead.dead-letter"])
    yield made
    made.close()


@pytest.fixture
def run(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs a command on the stream `lead` of the mock cluster, with the shipped schemas as its registry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCORER_DEBUG", raising=False)
    Path("scorer.toml").write_text(
        f"""
        [kafka]
        "bootstrap.servers" = "{cluster.broker.bootstrap}"
        [registry]
        url = "folder:{shipped("schemas")}"
        [[streams]]
        name = "lead"
        bundle = "models/lead/1"
        from = "events.new-lead"
        to = "predictions.lead-score"
        """
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    yield command
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_once_on_an_empty_topic_ends_at_once(run: Run) -> None:
    assert run("watch", "lead", "--once")[:2] == (0, "")


def test_what_was_sent_is_on_the_topic_and_once_ends_behind_the_last_record(run: Run, cluster: Cluster) -> None:
    code, out, _ = run("send", "lead", "-n", 12, "--seed", 3, "--json")
    document = json.loads(out)
    assert (code, document["sent"], document["topic"]) == (0, 12, "events.new-lead")
    assert sum(map(len, cluster.read("events.new-lead", 12))) == 12
    code, out, _ = run("watch", "lead", "--once", "--set", "streams.lead.to=events.new-lead")
    assert code == 3  # what a stream reads is not what it writes
    code, out, _ = run(
        *("watch", "lead", "--once", "--json"),
        *("--set", "streams.lead.to=events.new-lead", "--set", "streams.lead.from=events.login"),
    )
    assert code == 0
    assert len({json.loads(line)["lead_id"] for line in out.splitlines()}) == 12


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.jsonl", '{"lead_id": "a", "age": 41, "nmae": 1}\n{"lead_id": "b", "age": 7}\n'),
        ("own.csv", "age,lead_id,nmae\n41,a,1\n7,b,\n"),
    ],
)
def test_events_of_ones_own_are_sent_by_the_topics_schema_and_keyed_by_the_contracts_entity(
    run: Run, cluster: Cluster, name: str, text: str
) -> None:
    topic = cluster.topic()
    Path("own").mkdir()
    Path("own/registry.json").write_text("[]")
    SchemaFolder(Path("own")).register(f"{topic}-value", LEAD.text, "NONE")
    Path(name).write_text(text)
    where = ("--set", f"streams.lead.from={topic}", "--set", "registry.url=folder:own")
    code, out, err = run("send", "lead", "--events", name, *where, *SHIPPED)
    assert (code, out.partition(" in ")[0]) == (0, f"2 events sent to {topic}")
    assert err == f"{name}: left out, as the schema does not have them: nmae\n"
    sent = {key: value for batch in cluster.read(topic, 2) for key, value in zip(batch.keys, batch.values, strict=True)}
    assert sent == {b"a": framed(LEAD, {"lead_id": "a", "age": 41}), b"b": framed(LEAD, {"lead_id": "b", "age": 7})}


def test_bytes_are_shown_as_avro_writes_them_in_json(run: Run, cluster: Cluster) -> None:
    cluster.broker.create(["topic-y"])
    Path("own").mkdir()
    Path("own/registry.json").write_text("[]")
    schema_id = SchemaFolder(Path("own")).register("topic-y-value", BYTES.text, "NONE")
    cluster.send("topic-y", framed(replace(BYTES, id=schema_id), {"raw": b"a\xff"}))
    own = ("--set", "streams.lead.to=topic-y", "--set", "registry.url=folder:own")
    code, out, _ = run("watch", "lead", "--once", "--json", *own)
    assert (code, json.loads(out)) == (0, {"raw": "a\u00ff"})


def test_a_limit_ends_the_watch(run: Run, cluster: Cluster) -> None:
    cluster.broker.create(["topic-x"])
    cluster.produce("topic-x", 3, partitions=[0])
    options = ("--json", "--from-beginning", "--limit", 2, "--set", "streams.lead.to=topic-x")
    code, out, _ = run("watch", "lead", *options)
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [{"undecodable": "3 bytes, the wire format needs 5"}] * 2
    code, out, _ = run("watch", "lead", "--dead-letters", *options[:4], "--set", "streams.lead.dead_letters=topic-x")
    assert [json.loads(line)["value_bytes"] for line in out.splitlines()] == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("watch", "leed"), 3, "there is no stream leed; did you mean lead?"),
        (("send", "leed"), 3, "there is no stream leed; did you mean lead?"),
        (("send", "lead", "--kind", "visit"), 3, "--kind visit is none of lead, login"),
        (("send", "lead", "--csv", "none.csv"), 3, "none.csv cannot be read: No such file or directory"),
        (
            ("send", "lead", "--csv", "retail.csv"),
            3,
            "retail.csv holds login events, topic events.new-lead takes lead events",
        ),
        (
            ("send", "lead", "--set", "streams.lead.from=visits"),
            3,
            "no samples fit topic visits: say --kind lead or --kind login, or give --events FILE",
        ),
        (("send", "lead", "--events", "none.csv", *SHIPPED), 3, "none.csv cannot be read: No such file or directory"),
        (
            ("send", "lead", "--events", "none.csv", "--kind", "lead"),
            3,
            "--events are your own: leave out --csv and --kind",
        ),
        (("send", "lead", "--rate", "-1"), 2, ""),
        (("send", "lead", "-n", "0"), 2, ""),
    ],
)
def test_an_ordinary_mistake_is_one_line(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    Path("retail.csv").write_text("InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n")
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    if said:
        assert err == f"error: {said}\n"


def test_events_that_do_not_fit_the_topics_schema_are_named(run: Run) -> None:
    code, _, err = run("send", "lead", "--kind", "login")
    assert code == 3
    assert err.startswith("error: event 1 is not of the topic's schema (id 1): ")
