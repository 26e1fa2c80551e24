from __future__ import annotations

import json
from pathlib import Path

import pytest

from scorer.cli.main import run
from tests.unit.cli.conftest import LEAD

CANARY = "canary-7Qx"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/lead/1").mkdir(parents=True)
    return tmp_path


def test_show_prints_each_value_with_its_origin_and_no_secret(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "scorer.toml").write_text('[kafka]\n"sasl.username" = "canary-7Qx"' + LEAD)
    monkeypatch.setenv("SCORER_REGISTRY__PASSWORD", CANARY)
    monkeypatch.setenv("SCORER_LOG__LEVEL", "debug")
    assert run(["config", "show", "--set", "batch.rows_max=7"]) == 0
    out, err = capsys.readouterr()
    lines = {line.split(" = ")[0]: line.split(" = ")[1].split() for line in out.splitlines()}
    assert lines["batch.rows_max"] == ["7", "#", "--set"]
    assert lines["log.level"] == ['"debug"', "#", "SCORER_LOG__LEVEL"]
    assert lines["streams.lead.to"] == ['"predictions.lead-score"', "#", "scorer.toml:7"]
    assert lines["commit.every_ms"] == ["500", "#", "default"]
    assert lines["registry.password"] == ['"***"', "#", "SCORER_REGISTRY__PASSWORD"]
    assert lines["registry.ca"] == ["(unset)", "#", "default"]
    assert CANARY not in out
    assert err == ""


def test_show_prints_the_same_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "scorer.toml").write_text('[kafka]\n"sasl.username" = "canary-7Qx"' + LEAD)
    assert run(["config", "show", "--json"]) == 0
    out = capsys.readouterr().out
    shown = json.loads(out)
    assert shown["batch.rows_max"] == {"value": 4000, "origin": "default"}
    assert shown["kafka.sasl.username"] == {"value": "***", "origin": "scorer.toml:2"}
    assert shown["streams.lead.bundle"] == {"value": str(folder / "models/lead/1"), "origin": "scorer.toml:5"}
    assert shown["registry.ca"]["value"] is None
    assert CANARY not in out


def test_show_works_where_secrets_are_not_at_hand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "scorer.toml").write_text('[kafka]\n"sasl.password" = { file = "none" }')
    assert run(["config", "show"]) == 0
    assert 'kafka.sasl.password = "***"' in capsys.readouterr().out


def test_check_says_ok(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "scorer.toml").write_text(LEAD)
    assert run(["config", "check"]) == 0
    assert capsys.readouterr() == ("ok\n", "")


def test_check_refuses_wrong_settings_on_stderr_with_exit_code_3(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "other.toml").write_text("a = 1\nb = 2")
    assert run(["config", "check", "--config", "other.toml"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: other.toml:1: a is not a setting\n  other.toml:2: b is not a setting\n"


def test_check_refuses_secrets_and_folders_that_are_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = '[registry]\nurl = "folder:schemas"\nca = "ca.pem"\npassword = { env = "SCORER_TEST_NONE_" }'
    kafka = '[kafka.producer]\n"sasl.password" = { file = "none" }\n'
    (folder / "scorer.toml").write_text(kafka + registry + LEAD.replace("lead/1", "lead/2"))
    assert run(["config", "check"]) == 3
    err = capsys.readouterr().err
    assert "kafka.producer.sasl.password: the file" in err
    assert "registry.password: the variable SCORER_TEST_NONE_ is not set" in err
    assert f"scorer.toml:4: registry.url = {folder / 'schemas'} does not exist" in err
    assert f"scorer.toml:5: registry.ca = {folder / 'ca.pem'} does not exist" in err
    assert f"scorer.toml:9: streams.lead.bundle = {folder / 'models/lead/2'} does not exist" in err


def test_check_refuses_every_path_that_has_to_be_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kafka = '[kafka]\n"ssl.ca.location" = "ca.pem"\n"sasl.kerberos.keytab" = "there"\n'
    producer = '[kafka.producer]\n"ssl.key.location" = "key.pem"\n"sasl.oauthbearer.assertion.file" = "token"\n'
    others = '[deployments]\nbundles = "elsewhere"\n[gateway]\ntokens = "tokens.toml"\nstore = "made"\n'
    sink = '[sink.sql]\npassword = { file = "none" }'
    (folder / "there").touch()
    (folder / "scorer.toml").write_text(kafka + producer + others + sink + LEAD)
    assert run(["config", "check"]) == 3
    err = capsys.readouterr().err
    assert f"scorer.toml:2: kafka.ssl.ca.location = {folder / 'ca.pem'} does not exist" in err
    assert f"scorer.toml:5: kafka.producer.ssl.key.location = {folder / 'key.pem'} does not exist" in err
    assert "scorer.toml:6: kafka.producer.sasl.oauthbearer.assertion.file = *** does not exist" in err
    assert f"scorer.toml:8: deployments.bundles = {folder / 'elsewhere'} does not exist" in err
    assert f"scorer.toml:10: gateway.tokens = {folder / 'tokens.toml'} does not exist" in err
    assert "sink.sql.password: the file" in err
    assert err.count("\n") == 6


def test_check_takes_words_and_urls_in_a_paths_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kafka = '[kafka]\n"ssl.ca.location" = "probe"\n[deployments]\nbundles = "https://h.example/models"\n'
    (folder / "scorer.toml").write_text(kafka + LEAD)
    assert run(["config", "check"]) == 0, capsys.readouterr().err


def test_check_refuses_values_that_librdkafka_does_not_take(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kafka = '[kafka]\n"fetch.min.bytes" = "abc"\nlog_level = 3\n[kafka.producer]\nacks = "all"\n"linger.ms" = -1\n'
    (folder / "scorer.toml").write_text(kafka + LEAD)
    assert run(["config", "check"]) == 3
    err = capsys.readouterr().err
    assert 'scorer.toml:2: kafka.fetch.min.bytes = "abc": Invalid value' in err
    assert "scorer.toml:6: kafka.producer.linger.ms = -1: Configuration property" in err
    assert err.count("\n") == 2


def test_check_refuses_a_folder_without_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check"]) == 3
    assert "there is no scorer.toml in this folder" in capsys.readouterr().err
