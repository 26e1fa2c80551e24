"""`scorer watch` and `scorer send` on a cluster: what comes back of what was sent, how they end, what they refuse."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from scorer.cli import main, stopping
from scorer.edges.schema_folder import SchemaFolder
from scorer.local.places import shipped
from tests.unit.core.batches import framed, record_schema
from tests.unit.edges.mock_cluster import Cluster

BYTES = record_schema(("raw", "bytes"), schema_id=4)
SHIPPED = ("--set", f"streams.lead.bundle={shipped('models') / 'lead' / '1'}")
LEAD = record_schema(("lead_id", "string"), ("age", "int"), schema_id=1)
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
