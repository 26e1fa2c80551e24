from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from scorer.cli.keys import effective
from scorer.cli.secrets import SECRET_BYTES_MAX, Secret
from scorer.core.errors import ConfigError
from tests.unit.cli.conftest import Load

CANARY = "canary-7Qx"


def test_a_secret_is_never_printed() -> None:
    secret = Secret("k", value=CANARY)
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}", f"{secret!r:>5}"):
        assert CANARY not in text
        assert "***" in text
    assert secret.reveal() == CANARY


def test_a_secret_comes_from_a_file_beside_the_settings_without_its_line_end(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(f" {CANARY} \r\n")
    settings = load('[kafka]\n"sasl.password" = { file = "pw" }').settings
    assert settings.kafka_for("producer")["sasl.password"] == f" {CANARY} "


def test_a_byte_order_mark_in_front_is_no_part_of_a_secret(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(CANARY, "utf-8-sig")
    settings = load('[kafka]\n"sasl.password" = { file = "pw" }').settings
    assert settings.kafka_for("producer")["sasl.password"] == CANARY


def test_a_secret_comes_from_a_variable_that_the_file_names(load: Load) -> None:
    settings = load('[registry]\npassword = { env = "PW" }', {"PW": CANARY}).settings
    assert settings.registry.password is not None
    assert settings.registry.password.reveal() == CANARY


def test_a_secret_comes_from_its_own_variable_or_that_with_file_behind_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(CANARY)
    direct = load("", {"SCORER_KAFKA__SASL_PASSWORD": CANARY}).settings
    by_file = load("", {"SCORER_KAFKA__SASL_PASSWORD_FILE": "pw", "SCORER_REGISTRY__PASSWORD_FILE": "pw"}).settings
    assert direct.kafka_for("admin")["sasl.password"] == by_file.kafka_for("admin")["sasl.password"] == CANARY
    assert by_file.registry.password is not None
    assert by_file.registry.password.reveal() == CANARY


def test_a_secrets_file_may_be_in_the_home_folder(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(CANARY)
    written = load('[kafka]\n"sasl.password" = { file = "~/pw" }', {"HOME": str(tmp_path)}).settings
    named = load("", {"HOME": str(tmp_path), "SCORER_KAFKA__SASL_PASSWORD_FILE": "~/pw"}).settings
    assert written.kafka_for("admin")["sasl.password"] == named.kafka_for("admin")["sasl.password"] == CANARY


def test_a_flag_may_say_where_a_secret_is(load: Load) -> None:
    settings = load("", {"PW": CANARY}, ('kafka.sasl.password={ env = "PW" }',)).settings
    assert settings.kafka_for("admin")["sasl.password"] == CANARY


def test_a_variables_value_is_the_secret_itself_though_it_looks_like_toml(load: Load) -> None:
    settings = load("", {"SCORER_KAFKA__SASL_PASSWORD": '{ env = "PW" }'}).settings
    assert settings.kafka_for("admin")["sasl.password"] == '{ env = "PW" }'


def test_a_property_of_its_own_that_ends_with_file_is_no_reference(load: Load) -> None:
    environ = {"SCORER_KAFKA__SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_FILE": "/key"}
    assert load("", environ).settings.kafka_for("admin")["sasl.oauthbearer.assertion.private.key.file"] == "/key"


def test_a_setting_and_its_file_variable_together_are_refused(load: Load) -> None:
    environ = {"SCORER_KAFKA__SASL_PASSWORD": "a", "SCORER_KAFKA__SASL_PASSWORD_FILE": "b"}
    with pytest.raises(
        ConfigError, match="SCORER_KAFKA__SASL_PASSWORD_FILE sets what SCORER_KAFKA__SASL_PASSWORD sets"
    ):
        load("", environ)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * (SECRET_BYTES_MAX + 1), "is longer than"),
    ],
)
def test_a_secret_that_cannot_be_read_stops_only_those_who_need_it(
    load: Load, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "pw").write_bytes(content)
    settings = load('[kafka.producer]\n"sasl.password" = { file = "pw" }').settings
    assert settings.kafka_for("consumer")
    with pytest.raises(ConfigError, match=rf"kafka\.producer\.sasl\.password: the file .*pw {message}"):
        settings.kafka_for("producer")


def test_a_variable_that_is_not_set_is_named(load: Load) -> None:
    settings = load('[kafka]\n"sasl.password" = { env = "PW" }', {"PW": ""}).settings
    with pytest.raises(ConfigError, match=r"kafka.sasl.password: the variable PW is not set"):
        settings.kafka_for("admin")


@pytest.mark.parametrize(
    ("text", "environ", "sets"),
    [
        (f'[kafka]\n"sasl.password" = "{CANARY}"', {}, ()),
        (f'[kafka]\n"sasl.pasword" = "{CANARY}"', {}, ()),
        (f'[kafka]\n"sasl.password" = ["{CANARY}"]', {}, ()),
        (f'[kafka]\n"bootstrap.servers" = "u:{CANARY}@h:1"', {}, ()),
        (f'[kafka]\n"sasl.oauthbearer.token.endpoint.url" = "https://u:{CANARY}@h"', {}, ()),
        (f'[registry]\nurl = "http://u:{CANARY}@h"', {}, ()),
        (f'[registry]\nurl = "http://u:a/{CANARY}@h"', {}, ()),
        (f'[registry]\nurl = "http://u:a b{CANARY}@h"', {}, ()),
        (f'[registry]\nurl = "http://h?Password={CANARY}"', {}, ()),
        (f'[registry]\npassword = "{CANARY}"', {}, ()),
        (f'[sink.sql]\nurl = "postgresql://h/db?user=a&sslpassword={CANARY}"', {}, ()),
        ("", {"SCORER_SINK__SQL__URL": f"postgresql://h/db?user=a&password={CANARY}"}, ()),
        ("", {"SCORER_SINK__SQL__URL": f"postgresql://h/db?passfile=/{CANARY}"}, ()),
        (f'group = "http://u:{CANARY}@h"', {}, ()),
        ("", {"SCORER_KAFKA__SASL_PASWORD": CANARY}, ()),
        ("", {"SCORER_REGISTRY__URL": f"http://{CANARY}@h"}, ()),
        ("", {}, (f"kafka.sasl.password={CANARY}",)),
        ("", {}, (f"kafka.sasl.pasword={CANARY}",)),
        ("", {}, (f'registry.password={{ file = "{CANARY}", a = 1 }}',)),
    ],
)
def test_no_message_repeats_a_secret(load: Load, text: str, environ: dict[str, str], sets: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text, environ, sets)
    seen: BaseException | None = refused.value
    while seen is not None:
        assert CANARY not in str(seen)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def test_settings_hold_no_readable_secret(load: Load) -> None:
    text = f"""
[kafka]
"sasl.username" = "{CANARY}"
"sasl.oauthbearer.extensions" = "{CANARY}"
"ssl.ca.pem" = "{CANARY}"
"sasl.kerberos.kinit.cmd" = "{CANARY}"
"""
    environ = {"SCORER_KAFKA__SASL_PASSWORD": CANARY, "SCORER_REGISTRY__PASSWORD": CANARY, "K": CANARY}
    settings = load(text, environ, ('kafka.producer.ssl.key.pem={ env = "K" }',)).settings
    assert CANARY not in f"{settings!r} {settings} {effective(settings)} {settings.model_dump()}"
    assert settings.kafka_for("producer")["ssl.key.pem"] == CANARY


def test_a_number_in_a_secrets_place_is_hidden_too(load: Load) -> None:
    settings = load("", {"SCORER_KAFKA__SASL_PASSWORD": "12345"}).settings
    assert "12345" not in repr(settings)
    assert settings.kafka_for("admin")["sasl.password"] == "12345"


def test_numbers_booleans_and_harmless_text_are_shown(load: Load) -> None:
    text = (
        '[kafka]\n"bootstrap.servers" = "h:1"\n"socket.timeout.ms" = 77\n"log_level" = 3\ndebug = "cgrp"\nacks = "all"'
    )
    shown = effective(load(text).settings)
    assert shown["kafka.bootstrap.servers"] == "h:1"
    assert shown["kafka.socket.timeout.ms"] == 77
    assert shown["kafka.debug"] == "cgrp"
    assert shown["kafka.acks"] == "all"


def test_settings_travel_to_another_process(load: Load) -> None:
    settings = load("", {"SCORER_KAFKA__SASL_PASSWORD": CANARY}).settings
    assert pickle.loads(pickle.dumps(settings)).kafka_for("admin") == settings.kafka_for("admin")
