"""`scorer setup`: which topics and schemas the streams need, and what is said where they cannot be made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scorer.cli import main
from scorer.cli.setup import DEAD_LETTER_ROOM_BYTES, _entries, _make_topics
from scorer.core.errors import ConfigError, TransientError
from scorer.edges.kafka.admin import Topic
from scorer.local.places import shipped
from tests.unit.cli.conftest import LEAD, Load

LOGIN = """
[[streams]]
name = "login"
bundle = "models/recommend/1"
from = "events.login"
to = "predictions.recommendation"
"""


class Admin:
    """A broker's topics by name, with what a message may have; and for how long their records are kept."""

    def __init__(self, kept: Mapping[str, str] | None = None, **there: int) -> None:
        self.there = {name.replace("__", "-").replace("_", "."): bytes_max for name, bytes_max in there.items()}
        self.kept = kept or {"cleanup.policy": "delete", "retention.ms": "604800000"}
        self.made: list[Topic] = []

    def topics(self) -> dict[str, int]:
        return dict.fromkeys(self.there, 4)

    def topic(self, name: str) -> tuple[Topic, dict[str, str]]:
        if name not in self.there:
            raise ConfigError(f"topic {name} does not exist; run: scorer setup")
        return Topic(name), {**self.kept, "max.message.bytes": str(self.there[name])}

    def create(self, topics: list[Topic]) -> list[str]:
        self.made += topics
        self.there |= {topic.name: int(topic.settings.get("max.message.bytes", 1_048_588)) for topic in topics}
        return [topic.name for topic in topics]


def topics_made(load: Load, text: str, admin: Admin, partitions: int = 4, replication: int = -1) -> list[str]:
    made: list[str] = []
    _make_topics(load(text).settings, admin, partitions, replication, made)  # type: ignore[arg-type]
    return made


def test_each_stream_gets_its_three_topics_and_all_have_one_for_their_deployments(load: Load) -> None:
    admin = Admin()
    made = topics_made(load, LEAD + LOGIN, admin, 6, 3)
    assert made == [
        *("events.new-lead", "predictions.lead-score", "events.login", "predictions.recommendation"),
        *("scorer.deployments", "events.new-lead.dead-letter", "events.login.dead-letter"),
    ]
    assert {topic.replication for topic in admin.made} == {3}
    assert {topic.partitions for topic in admin.made if topic.name != "scorer.deployments"} == {6}


def test_deployments_are_kept_for_ever_in_one_order(load: Load) -> None:
    admin = Admin()
    topics_made(load, LEAD, admin, 6, 3)
    (topic,) = (topic for topic in admin.made if topic.name == "scorer.deployments")
    assert topic.partitions == 1
    kept = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "min.insync.replicas": "2"}
    assert topic.settings == kept


def test_a_dead_letter_topic_takes_an_event_of_any_size_and_its_headers(load: Load) -> None:
    admin = Admin(events_new__lead=5_000_000)
    topics_made(load, LEAD, admin)
    assert admin.there["events.new-lead.dead-letter"] == 5_000_000 + DEAD_LETTER_ROOM_BYTES


@pytest.mark.parametrize(
    ("policy", "kept_ms", "wanted"),
    [("delete", "86400000", "86400000"), ("delete", "-1", None), ("compact", "1", None), ("compact,delete", "1", "1")],
)
def test_a_dead_letter_is_kept_as_long_as_its_record_and_for_the_brokers_default_where_that_is_for_ever(
    load: Load, policy: str, kept_ms: str, wanted: str | None
) -> None:
    admin = Admin({"cleanup.policy": policy, "retention.ms": kept_ms}, events_new__lead=1_000)
    topics_made(load, LEAD, admin)
    assert [topic.settings.get("retention.ms") for topic in admin.made if "dead" in topic.name] == [wanted]


def test_topics_that_are_there_stay_as_they_are(load: Load) -> None:
    there = {"events_new__lead": 1, "predictions_lead__score": 2, "events_new__lead_dead__letter": 3}
    there["scorer_deployments"] = 4
    admin = Admin(**there)
    assert topics_made(load, LEAD, admin) == []
    assert admin.made == []


def test_a_topic_of_two_streams_is_made_once(load: Load) -> None:
    both = LOGIN.replace("events.login", "events.new-lead").replace("[[streams]]", "[[streams]]\ndead_letters = 'bad'")
    admin = Admin()
    topics_made(load, LEAD + both, admin)
    names = [topic.name for topic in admin.made]
    assert sorted(names) == sorted(set(names))


def test_a_topic_that_was_made_and_is_not_to_be_seen_yet_is_waited_for_and_told_of_once(load: Load) -> None:
    class Slow(Admin):
        asked = 0

        def topic(self, name: str) -> tuple[Topic, dict[str, str]]:
            self.asked += 1
            return super().topic("not yet" if self.asked == 1 else name)

    admin, made = Slow(), list[str]()
    with pytest.raises(TransientError, match=r"topic events\.new-lead is not there yet"):
        _make_topics(load(LEAD).settings, admin, 4, -1, made)  # type: ignore[arg-type]
    _make_topics(load(LEAD).settings, admin, 4, -1, made)  # type: ignore[arg-type]
    assert made == ["events.new-lead", "predictions.lead-score", "scorer.deployments", "events.new-lead.dead-letter"]


@pytest.fixture
def bundles(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(shipped("models"))


@pytest.mark.usefixtures("bundles")
def test_an_events_schema_grows_backward_and_a_predictions_in_both_directions(load: Load) -> None:
    found = {subject: (json.loads(text)["name"], kind) for subject, text, kind in _entries(load(LEAD).settings, None)}
    assert found == {
        "scorer.deployments-value": ("Deployment", "FULL_TRANSITIVE"),
        "events.new-lead-value": ("NewLead", "BACKWARD"),
        "predictions.lead-score-value": ("LeadScore", "FULL_TRANSITIVE"),
    }


@pytest.mark.usefixtures("bundles")
def test_a_topic_of_two_streams_is_registered_once(load: Load) -> None:
    second = LEAD.replace('"lead"', '"again"').replace('to = "predictions.lead-score"', 'to = "again"')
    subjects = [subject for subject, _, _ in _entries(load(LEAD + second).settings, None)]
    assert subjects[1:] == ["events.new-lead-value", "predictions.lead-score-value", "again-value"]


@pytest.mark.usefixtures("bundles")
def test_a_topic_of_another_name_gets_the_schema_that_the_contract_names(load: Load, tmp_path: Path) -> None:
    renamed = LEAD.replace('to = "predictions.lead-score"', 'to = "scores"')
    assert [subject for subject, _, _ in _entries(load(renamed).settings, None)] == [
        "scorer.deployments-value",
        "events.new-lead-value",
        "scores-value",
    ]


def model(text: str = 'prediction = "predictions.lead-score"') -> None:
    """A bundle whose contract says what it predicts."""
    folder = Path("models/lead/1")
    folder.mkdir(parents=True)
    rest = 'name = "lead"\nversion = "1"\nentity = "lead_id"\n[inputs.x]\nfield = "x"\n[outputs.y]\nfrom = "y"\n'
    (folder / "model.toml").write_text(f"{text}\n{rest}")


def schemas(text: str) -> None:
    model()
    Path("own").mkdir()
    Path("own/events.new-lead.avsc").write_text(text)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `scorer setup` on a settings file; no broker listens where it looks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCORER_DEBUG", raising=False)

    def command(text: str, *arguments: object) -> tuple[int, str]:
        Path("scorer.toml").write_text(
            f'[kafka]\n"bootstrap.servers" = "127.0.0.1:1"\n[registry]\nurl = "folder:."\n{text}'
        )
        Path("registry.json").write_text("[]")
        capsys.readouterr()
        code = main.run(["setup", "--attempts", "1", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert out == ""
        assert "this is a bug" not in err
        return code, err

    return command


@pytest.mark.parametrize(
    ("prepare", "arguments", "said"),
    [
        (lambda: None, (), "models/lead/1/model.toml cannot be read: No such file or directory"),
        (lambda: model("name ="), (), "model.toml is no valid TOML"),
        (
            lambda: model('prediction = "predictions.churn"'),
            (),
            "no schema for topic predictions.lead-score: ",
        ),
        (
            model,
            ("--schemas", "none"),
            "no schema for topic events.new-lead: none/events.new-lead.avsc is missing",
        ),
        (lambda: schemas("{"), ("--schemas", "own"), "own/events.new-lead.avsc: schema 0 is no valid Avro schema"),
        (lambda: schemas('"string"'), ("--schemas", "own"), "own/events.new-lead.avsc: schema 0 is of type string"),
    ],
)
def test_what_is_wrong_with_files_is_said_before_anything_is_made(
    run: Run, prepare: Callable[[], None], arguments: tuple[str, ...], said: str
) -> None:
    prepare()
    code, err = run(LEAD, *arguments)
    assert code == 3
    assert said in err.splitlines()[0]
    assert err.startswith("error: ")


def test_without_streams_it_says_where_they_go(run: Run) -> None:
    code, err = run("")
    assert (code, err) == (3, "error: no stream is configured: add [[streams]] to scorer.toml, or give --config PATH\n")


@pytest.mark.usefixtures("bundles")
def test_it_says_with_how_many_partitions_each_topic_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scorer.edges.kafka.admin.KafkaAdmin", lambda *_: Admin())
    (tmp_path / "registry.json").write_text("[]")
    (tmp_path / "scorer.toml").write_text(f'[registry]\nurl = "folder:."\n{LEAD}')
    assert main.run(["setup", "--partitions", "6"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("topic ")] == [
        "topic   events.new-lead created with 6 partitions",
        "topic   predictions.lead-score created with 6 partitions",
        "topic   scorer.deployments created with 1 partition",
        "topic   events.new-lead.dead-letter created with 6 partitions",
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_dead_letter_topic_of_two_streams_keeps_what_either_of_them_needs(load: Load, order: tuple[int, ...]) -> None:
    class Unequal(Admin):
        """The leads' records are larger, the logins' are kept for longer."""

        def topic(self, name: str) -> tuple[Topic, dict[str, str]]:
            kept = {"events.new-lead": ("1000", "9000000"), "events.login": ("5000", "20")}[name]
            return Topic(name), dict(zip(("retention.ms", "max.message.bytes"), kept, strict=True))

    admin = Unequal()
    texts = [each.rstrip() + '\ndead_letters = "letters"\n' for each in (LEAD, LOGIN)]
    topics_made(load, "".join(texts[at] for at in order), admin)
    (letters,) = (each for each in admin.made if each.name == "letters")
    assert letters.settings == {
        "max.message.bytes": str(9_000_000 + DEAD_LETTER_ROOM_BYTES),
        "retention.ms": "5000",
    }
