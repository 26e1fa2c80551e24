from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.keys import effective
from scorer.cli.layers import load_settings
from scorer.core.errors import ConfigError
from tests.unit.cli.conftest import LEAD, Load


def test_the_file_wins_over_defaults_the_environment_over_the_file_and_flags_over_all(load: Load) -> None:
    text = "[batch]\nrows_max = 2\nwait_ms_max = 2\nvalue_bytes_max = 2\n"
    environ = {"SCORER_BATCH__WAIT_MS_MAX": "3", "SCORER_BATCH__VALUE_BYTES_MAX": "3"}
    loaded = load(text, environ, ("batch.value_bytes_max=4",))
    batch = loaded.settings.batch
    assert (batch.rows_max, batch.wait_ms_max, batch.value_bytes_max) == (2, 3, 4)
    assert loaded.settings.commit.every_ms == 500
    assert {key: loaded.origins[key] for key in ("batch.rows_max", "batch.wait_ms_max", "batch.value_bytes_max")} == {
        "batch.rows_max": "scorer.toml:2",
        "batch.wait_ms_max": "SCORER_BATCH__WAIT_MS_MAX",
        "batch.value_bytes_max": "--set",
    }
    assert loaded.origins["commit.every_ms"] == "default"


def test_every_effective_value_has_an_origin(load: Load) -> None:
    loaded = load(LEAD, {"SCORER_KAFKA__PRODUCER__LINGER_MS": "3"})
    assert loaded.origins.keys() == effective(loaded.settings).keys()
    assert loaded.origins["streams.lead.from"] == "scorer.toml:5"
    assert loaded.origins["streams.lead.dead_letters"] == "default"
    assert loaded.origins["kafka.bootstrap.servers"] == "default"


def test_without_a_settings_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_settings(None, {}, ())
    assert loaded.file is None
    assert loaded.settings.group == "scorer"
    assert loaded.settings.kafka_for("admin") == {"bootstrap.servers": "127.0.0.1:9092"}


def test_the_file_is_the_flags_else_the_variables_else_the_current_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scorer", "variable", "flag"):
        Path(f"{name}.toml").write_text(f'group = "{name}"')
    environ = {"SCORER_CONFIG": "variable.toml"}
    assert load_settings(None, {}, ()).settings.group == "scorer"
    assert load_settings(None, environ, ()).settings.group == "variable"
    assert load_settings(Path("flag.toml"), environ, ()).settings.group == "flag"


def test_a_file_that_was_named_and_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml cannot be read"):
        load_settings(tmp_path / "none.toml", {}, ())


def test_underscores_of_a_variable_become_a_property_s_dots(load: Load) -> None:
    environ = {
        "SCORER_KAFKA__BOOTSTRAP_SERVERS": "b:1",
        "SCORER_KAFKA__LOG_LEVEL": "3",
        "SCORER_KAFKA__CONSUMER__FETCH_MIN_BYTES": "7",
        "SCORER_KAFKA__PRODUCER__ACKS": "all",
        "SCORER_KAFKA__SOCKET_KEEPALIVE_ENABLE": "true",
    }
    settings = load("", environ).settings
    shared = {"bootstrap.servers": "b:1", "log_level": 3, "socket.keepalive.enable": True}
    assert settings.kafka_for("consumer") == {**shared, "fetch.min.bytes": 7}
    assert settings.kafka_for("producer") == {**shared, "acks": "all"}


def test_a_variable_names_a_stream_in_capitals_with_underscores_for_dashes(load: Load) -> None:
    text = LEAD.replace('"lead"', '"lead-eu"')
    assert load(text, {"SCORER_STREAMS__LEAD_EU__PROFILE": "eager"}).settings.stream("lead-eu").profile == "eager"


def test_a_stream_may_stand_in_variables_alone(load: Load) -> None:
    environ = {f"SCORER_STREAMS__LOGIN__{name}": name.lower() for name in ("BUNDLE", "FROM", "TO")}
    settings = load(LEAD, environ).settings
    assert [stream.name for stream in settings.streams] == ["lead", "login"]
    assert settings.stream("login").dead_letters == "from.dead-letter"


def test_a_misspelt_stream_in_a_variable_names_the_right_one(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"streams\.leed\.bundle is missing.*no stream leed; did you mean lead\?"):
        load(LEAD, {"SCORER_STREAMS__LEED__PROFILE": "eager"})


def test_flags_take_properties_with_and_without_quotes(load: Load) -> None:
    sets = ('kafka."client.id"=a', "kafka.producer.linger.ms=0.5", "kafka.consumer.'fetch.min.bytes'=3")
    settings = load("", {}, sets).settings
    assert settings.kafka_for("producer") == {"bootstrap.servers": "127.0.0.1:9092", "client.id": "a", "linger.ms": 0.5}
    assert settings.kafka_for("consumer")["fetch.min.bytes"] == 3


def test_the_last_of_equal_flags_wins_and_a_value_may_hold_an_equals_sign(load: Load) -> None:
    assert load("", {}, ("batch.rows_max=2", "batch.rows_max=3")).settings.batch.rows_max == 3
    assert load("", {}, ("kafka.client.id=a=b",)).settings.kafka_for("admin")["client.id"] == "a=b"


def test_text_stays_text_though_it_looks_like_a_number(load: Load) -> None:
    settings = load("", {"SCORER_GROUP": "7", "SCORER_KAFKA__CLIENT_ID": "007"}).settings
    assert settings.group == "7"
    assert settings.kafka_for("admin")["client.id"] == "007"


@pytest.mark.parametrize(
    ("text", "environ", "sets", "message"),
    [
        ('grup = "x"', {}, (), "scorer.toml:1: grup is not a setting; did you mean group?"),
        ("[batch]\nrow_max = 1", {}, (), "scorer.toml:2: batch.row_max is not a setting; did you mean batch.rows_max?"),
        ("[batchs]", {}, (), "scorer.toml:1: batchs is not a setting"),
        ("batch = 3", {}, (), "scorer.toml:1: batch is a table: its settings are batch.*"),
        ("streams = 3", {}, (), "scorer.toml:1: streams are a list of tables"),
        ('[streams.lead]\nfrom = "a"', {}, (), "scorer.toml:1: streams are a list of tables"),
        (
            '[kafka]\n"bootstrap.server" = "h"',
            {},
            (),
            "scorer.toml:2: kafka.bootstrap.server is not a setting; did you mean kafka.bootstrap.servers?",
        ),
        (
            LEAD + 'delivry = "x"',
            {},
            (),
            "scorer.toml:7: streams.lead.delivry is not a setting; did you mean streams.lead.delivery?",
        ),
        (
            "",
            {"SCORER_BATCH__ROW_MAX": "1"},
            (),
            "SCORER_BATCH__ROW_MAX is not a setting; did you mean SCORER_BATCH__ROWS_MAX?",
        ),
        (
            "",
            {"SCORER_METRICS_PORT": "1"},
            (),
            "SCORER_METRICS_PORT is not a setting; did you mean SCORER_METRICS__PORT?",
        ),
        (
            "",
            {"SCORER_KAFKA__DEBAG": "1"},
            (),
            "SCORER_KAFKA__DEBAG is not a setting; did you mean SCORER_KAFKA__DEBUG?",
        ),
        (LEAD, {"SCORER_STREAMS__LEAD__NAME": "x"}, (), "SCORER_STREAMS__LEAD__NAME is not a setting"),
        (
            "",
            {"SCORER_LOG__LEVEL_FILE": "x"},
            (),
            "SCORER_LOG__LEVEL_FILE is not a setting; did you mean SCORER_LOG__LEVEL?",
        ),
        ("", {}, ("log.levl=info",), "--set log.levl is not a setting; did you mean log.level?"),
        ("", {}, ("kafka.qqq=1",), "--set kafka.qqq is not a setting"),
        ("", {}, ("batch",), "--set batch has no value"),
    ],
)
def test_a_wrong_name_is_refused_with_its_origin_and_the_nearest_right_one(
    load: Load, text: str, environ: dict[str, str], sets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text, environ, sets)
    first = str(refused.value).splitlines()[0]
    assert first == message if message.endswith("?") else first.startswith(message)


@pytest.mark.parametrize(
    ("text", "environ", "sets", "message"),
    [
        ('[batch]\nrows_max = "9"', {}, (), 'scorer.toml:2: batch.rows_max = "9" should be a valid integer'),
        ("[batch]\nrows_max = true", {}, (), "scorer.toml:2: batch.rows_max = true should be a valid integer"),
        ("[batch]\nrows_max = 0", {}, (), "scorer.toml:2: batch.rows_max = 0 should be greater than or equal to 1"),
        ("", {"SCORER_BATCH__ROWS_MAX": "1.5"}, (), "SCORER_BATCH__ROWS_MAX = 1.5 should be a valid integer"),
        ("", {"SCORER_BATCH__ROWS_MAX": "many"}, (), 'SCORER_BATCH__ROWS_MAX = "many" should be a number'),
        ("", {"SCORER_BATCH__ROWS_MAX": "1\na=2"}, (), 'SCORER_BATCH__ROWS_MAX = "1\na=2" should be a number'),
        ("", {}, ("rejections.ratio_max=nan",), "--set rejections.ratio_max = NaN should be"),
        ("[log]\nlevel = 'loud'", {}, (), "scorer.toml:2: log.level = \"loud\" should be 'debug', 'info'"),
        ("[registry]\nurl = 'ftp://h'", {}, (), 'scorer.toml:2: registry.url = "ftp://h" should be http://HOST:PORT'),
        ("[registry]\nurl = 'http://h?token=x'", {}, (), "scorer.toml:2: registry.url"),
        ("[registry]\nurl = 'http://h:1,ftp://g:2'", {}, (), "scorer.toml:2: registry.url"),
        ("[registry]\nurl = 'http://h:1,'", {}, (), "scorer.toml:2: registry.url"),
        ("[registry]\nurl = 'http://h:port'", {}, (), "scorer.toml:2: registry.url"),
        ("[[streams]]\nfrom = 'a'", {}, (), "scorer.toml:1: this stream has no name"),
        ("[[streams]]\nname = 'a'", {}, (), "scorer.toml:1: streams.a.bundle is missing"),
        (LEAD + LEAD, {}, (), "scorer.toml:8: there is a stream lead already, at scorer.toml:2"),
        (LEAD.replace('"lead"', '"Lead"'), {}, (), "scorer.toml:2: streams.Lead.name should match pattern"),
        ('group = { file = "x" }', {}, (), "scorer.toml:1: group is neither a secret nor free text of Kafka's"),
        ('[kafka]\n"fetch.min.bytes" = { env = "X" }', {}, (), "scorer.toml:2: kafka.fetch.min.bytes is neither"),
        (
            '[kafka]\n"client.id" = ["a"]',
            {},
            (),
            "scorer.toml:2: kafka.client.id should be text, a number or a boolean",
        ),
        (
            '[kafka]\n"acks" = 1\n"request.required.acks" = 1',
            {},
            (),
            "scorer.toml:3: kafka.request.required.acks sets what",
        ),
        (
            "[kafka.producer]\n'fetch.min.bytes' = 1",
            {},
            (),
            "scorer.toml:2: kafka.producer.fetch.min.bytes is for a consumer",
        ),
        ("a = \nb = 1", {}, (), "the settings file scorer.toml is not TOML: Invalid value (at line 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_origin(
    load: Load, text: str, environ: dict[str, str], sets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text, environ, sets)
    assert str(refused.value).startswith(message)


def test_everything_that_is_wrong_is_said_at_once(load: Load) -> None:
    with pytest.raises(ConfigError) as refused:
        load("a = 1\nb = 2", {"SCORER_X": "1"}, ("y=1",))
    assert len(str(refused.value).splitlines()) == 4


def test_complaints_that_only_follow_from_another_one_are_left_out(load: Load) -> None:
    with pytest.raises(ConfigError) as refused:
        load(LEAD.replace('"events.new-lead"', "3"))
    assert str(refused.value) == "scorer.toml:5: streams.lead.from = 3 should be a valid string"


def test_variables_that_kubernetes_sets_for_a_service_of_that_name_are_left_alone(load: Load) -> None:
    environ = {
        "SCORER_SERVICE_HOST": "10.0.0.1",
        "SCORER_SERVICE_PORT": "9464",
        "SCORER_SERVICE_PORT_METRICS": "9464",
        "SCORER_METRICS_SERVICE_HOST": "10.0.0.1",
        "SCORER_METRICS_PORT": "tcp://10.0.0.1:9464",
        "SCORER_PORT": "tcp://10.0.0.1:9464",
        "SCORER_PORT_9464_TCP_ADDR": "10.0.0.1",
    }
    assert load("", environ).settings.metrics.port == 9464


def test_empty_variables_and_the_command_lines_own_count_as_not_set(load: Load) -> None:
    environ = {"SCORER_GROUP": "", "SCORER_DEBUG": "1", "SCORER_SUPERVISED": "1"}
    assert load('group = "g"', environ).settings.group == "g"


def test_an_unquoted_property_means_the_same_as_a_quoted_one(load: Load) -> None:
    text = '[kafka]\nssl.ca.location = "/ca"\nsasl.oauthbearer.assertion.file = "/jwt"\n'
    loaded = load(text + "[kafka.consumer]\nfetch.min.bytes = 3")
    assert loaded.settings.kafka_for("consumer") == {
        "bootstrap.servers": "127.0.0.1:9092",
        "ssl.ca.location": "/ca",
        "sasl.oauthbearer.assertion.file": "/jwt",
        "fetch.min.bytes": 3,
    }
    assert loaded.origins["kafka.consumer.fetch.min.bytes"] == "scorer.toml:5"


def test_two_layers_meet_though_they_use_two_names_of_one_property(load: Load) -> None:
    loaded = load('[kafka]\n"queue.buffering.max.ms" = 5', {"SCORER_KAFKA__LINGER_MS": "7"})
    assert loaded.settings.kafka_for("producer")["linger.ms"] == 7
    assert "queue.buffering.max.ms" not in loaded.settings.kafka_for("producer")
