from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from scorer.cli.librdkafka import RESERVED
from scorer.cli.settings import Settings
from scorer.cli.status import status_server
from scorer.core.errors import ConfigError
from scorer.core.floods import FloodLimit
from scorer.core.ports import BatchLimits
from scorer.core.state import Status
from scorer.edges.clock import SystemClock
from tests.unit.cli.conftest import LEAD, Load

LOGIN = LEAD.replace("lead", "login").replace("new-login", "login")


def test_the_defaults_of_the_core_and_of_the_settings_are_the_same() -> None:
    assert Settings().batch.limits == BatchLimits()
    assert Settings().rejections.limit == FloodLimit()


def test_limits_reach_the_core_as_they_were_set(load: Load) -> None:
    settings = load("[batch]\nrows_max = 2\nwait_ms_max = 3\nvalue_bytes_max = 4\n[rejections]\nratio_max = 1").settings
    assert settings.batch.limits == BatchLimits(2, 3, 4)
    assert settings.rejections.limit == FloodLimit(ratio_max=1.0)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().batch.rows_max = 3  # type: ignore[misc]


def test_several_registries_may_be_written_with_blanks_between(load: Load) -> None:
    url = "http://a:1, https://b/apis/ccompat/v7"
    assert load(f"[registry]\nurl = '{url}'").settings.registry.url == url


def test_dead_letters_go_beside_the_input_unless_named(load: Load) -> None:
    assert load(LEAD).settings.stream("lead").dead_letters == "events.new-lead.dead-letter"
    assert load(LEAD + 'dead_letters = "d"').settings.stream("lead").dead_letters == "d"


def test_dead_letters_that_any_stream_reads_are_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"streams.lead.dead_letters = \"events.login\" is what stream login reads"):
        load(LEAD + 'dead_letters = "events.login"' + LOGIN)
    with pytest.raises(ConfigError, match=r"scorer.toml:7: streams.lead.dead_letters .* is what stream lead reads"):
        load(LEAD + 'dead_letters = "events.new-lead"')


def test_dead_letters_among_predictions_are_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"streams.lead.dead_letters .* is where stream lead publishes"):
        load(LEAD + 'dead_letters = "predictions.lead-score"')


def test_a_stream_that_would_read_its_own_predictions_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"streams.lead.to = .* its predictions would go round for ever"):
        load(LEAD.replace("predictions.lead-score", "events.new-lead"))


def test_two_streams_may_read_one_topic(load: Load) -> None:
    shadow = LEAD.replace('"lead"', '"shadow"').replace("lead-score", "lead-shadow")
    assert len(load(LEAD + shadow).settings.streams) == 2


def test_exactly_once_is_a_streams_own_choice(load: Load) -> None:
    assert load(LEAD + 'delivery = "exactly_once"').settings.stream("lead").delivery == "exactly_once"
    assert load(LEAD).settings.stream("lead").delivery == "at_least_once"


def test_a_transaction_is_committed_long_before_the_broker_aborts_it(load: Load) -> None:
    assert load("[transaction]\nevery_ms = 500\ntimeout_ms = 1500").settings.transaction.every_ms == 500
    with pytest.raises(ConfigError, match=r"transaction.every_ms = 501 is more than a third of transaction.timeout_ms"):
        load("[transaction]\nevery_ms = 501\ntimeout_ms = 1500")


@pytest.mark.parametrize("topic", ["a b", "", "x" * 250, "a/b"])
def test_names_that_kafka_does_not_take_are_refused(load: Load, topic: str) -> None:
    with pytest.raises(ConfigError, match=r"streams.lead.to"):
        load(LEAD.replace("predictions.lead-score", topic))


def test_credentials_in_a_bundles_place_are_refused_with_where_they_belong(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"deployments.bundles holds a user .* leave them to the environment"):
        load("", {}, ("deployments.bundles=s3://user:secret@bucket/bundles",))


def test_there_is_a_port_for_each_stream(load: Load) -> None:
    for ports in ("metrics.port=65534", "metrics.port=0", "sink.port=-1"):
        load(LEAD + LOGIN, {}, (ports,))
    with pytest.raises(ConfigError, match=r"metrics.port leaves no port for each of the 2 streams"):
        load("[metrics]\nport = 65535" + LEAD + LOGIN)


def test_a_gateway_or_a_sink_that_is_left_no_port_says_so_and_nobody_else_does(load: Load) -> None:
    load(LEAD + LOGIN, {}, ("metrics.port=65534", "sink.port=65535"))
    told = Status(lambda *_: None), lambda: b"", SystemClock()
    for first, place in ((65_534, 2), (65_535, 1)):
        with pytest.raises(ConfigError, match=f"number {place} behind {first}"):
            status_server("127.0.0.1", first, place, *told)


def test_an_unknown_stream_names_the_nearest_or_says_which_there_are(load: Load) -> None:
    settings = load(LEAD + LOGIN).settings
    with pytest.raises(ConfigError, match=r"there is no stream leads; did you mean lead?"):
        settings.stream("leads")
    with pytest.raises(ConfigError, match="there is no stream x; there are lead, login"):
        settings.stream("x")
    with pytest.raises(ConfigError, match="there is no stream x; no stream is configured"):
        Settings().stream("x")


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_properties_that_the_scorer_sets_itself_are_refused_with_the_reason(load: Load, name: str) -> None:
    for text, key in (
        (f'[kafka]\n"{name}" = "x"', f"kafka.{name}"),
        (f'[kafka.consumer]\n"{name}" = "x"', "kafka.consumer"),
    ):
        with pytest.raises(ConfigError) as refused:
            load(text)
        assert str(refused.value).startswith(f"scorer.toml:2: {key}")
        assert RESERVED[name] in str(refused.value)


def test_a_second_name_of_a_reserved_property_is_refused_too(load: Load) -> None:
    for name in ("auto.commit.enable", "message.timeout.ms"):
        with pytest.raises(ConfigError, match=f"kafka.{name} is not yours to set"):
            load(f'[kafka]\n"{name}" = 1')


def test_consumers_may_choose_their_isolation_level(load: Load) -> None:
    settings = load('[kafka.consumer]\n"isolation.level" = "read_uncommitted"').settings
    assert settings.kafka_for("consumer")["isolation.level"] == "read_uncommitted"


def test_each_client_gets_what_is_shared_its_own_overrides_and_nothing_meant_for_others(load: Load) -> None:
    text = """
[kafka]
"client.id" = "a"
"fetch.min.bytes" = 1
"linger.ms" = 2
[kafka.consumer]
"client.id" = "c"
[kafka.producer]
"linger.ms" = 3
"""
    settings = load(text).settings
    servers = {"bootstrap.servers": "127.0.0.1:9092"}
    assert settings.kafka_for("consumer") == {**servers, "client.id": "c", "fetch.min.bytes": 1}
    assert settings.kafka_for("producer") == {**servers, "client.id": "a", "linger.ms": 3}
    assert settings.kafka_for("admin") == {**servers, "client.id": "a"}


def test_a_number_in_a_texts_or_a_paths_place_is_one_line_with_its_origin(load: Load) -> None:
    stream = LEAD.replace('"models/lead/1"', "5")
    with pytest.raises(ConfigError) as refused:
        load(f"group = 5\n[deployments]\nbundles = 5\n[registry]\nca = 5\n{stream}")
    assert str(refused.value).splitlines() == [
        "scorer.toml:1: group = 5 should be a valid string",
        "scorer.toml:5: registry.ca = 5 should be a valid string",
        "scorer.toml:3: deployments.bundles = 5 should be a valid string",
        "scorer.toml:9: streams.lead.bundle = 5 should be a valid string",
    ]


def test_settings_that_are_built_by_hand_pass_the_same_checks() -> None:
    stream = {"name": "a", "bundle": Path("b"), "from_topic": "f", "to_topic": "t"}
    with pytest.raises(ValidationError, match="names more than one stream"):
        Settings.model_validate({"streams": (stream, stream)})
