"""Confluent's client against an HTTP server that misbehaves on demand."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from scorer.core.errors import ConfigError, ContractError, RefusedError, TransientError
from scorer.edges.registry import HttpRegistry, RegistryAccess
from tests.unit.edges.registry_stub import Running, serve

RECORD = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}'
LONGER = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}'
SECRET = "s3cr:et"


def test_a_schema_is_given_by_its_id(served: Running) -> None:
    served.registry.schemas[7] = {"schema": RECORD}
    assert served.client().text(7) == RECORD


def test_an_id_that_the_registry_does_not_know_is_none(served: Running) -> None:
    assert served.client().text(7) is None


def test_an_id_beyond_what_registries_number_is_none_without_a_question(served: Running) -> None:
    assert served.client().text(2**31) is None
    assert served.registry.requests == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507])
def test_an_answer_that_says_later_is_an_outage(served: Running, status: int) -> None:
    served.registry.answer = status, b'{"error_code": 50002, "message": "busy"}'
    with pytest.raises(TransientError, match=f"127.0.0.1:{served.port} answers HTTP {status}: busy"):
        served.client().text(7)


def test_a_failing_registry_is_asked_once_per_call(served: Running) -> None:
    served.registry.answer = 503, b""
    with pytest.raises(TransientError):
        served.client().text(7)
    assert len(served.registry.requests) == 1


@pytest.mark.parametrize(
    ("status", "payload"),
    [
        (200, b"<html>maintenance</html>"),
        (200, b"[]"),
        (200, b"{}"),
        (404, b"<html>default backend</html>"),
        (404, b""),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
        (404, b'{"detail": "no such path"}'),
    ],
)
def test_an_answer_that_is_not_a_registrys_is_an_outage_and_no_verdict_on_the_id(
    served: Running, status: int, payload: bytes
) -> None:
    served.registry.answer = status, payload
    with pytest.raises(TransientError, match=f"127.0.0.1:{served.port}"):
        served.client().text(7)


def test_silence_is_an_outage_within_the_time_out(served: Running) -> None:
    served.registry.hang = threading.Event()
    began = time.monotonic()
    with pytest.raises(TransientError, match=rf"127.0.0.1:{served.port} does not answer \(ReadTimeout"):
        served.client(timeout_ms=200).text(7)
    assert 0.15 < time.monotonic() - began < 5


def test_a_refused_connection_is_an_outage_that_ends_with_the_registrys_return(served: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(TransientError, match=rf"127.0.0.1:{port} does not answer \(ConnectError"):
        served.client(f"http://127.0.0.1:{port}").text(7)
    served.registry.schemas[7] = {"schema": RECORD}
    served.registry.answer = 503, b""
    client = served.client()
    with pytest.raises(TransientError):
        client.text(7)
    served.registry.answer = None
    assert client.text(7) == RECORD


def test_of_several_addresses_the_next_is_tried(served: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served.registry.schemas[7] = {"schema": RECORD}
    assert served.client(f"http://127.0.0.1:{port}, http://127.0.0.1:{served.port}/").text(7) == RECORD


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_the_operators_to_mend(served: Running, status: int) -> None:
    served.registry.answer = status, b'{"error_code": 40101, "message": "who are you"}'
    with pytest.raises(RefusedError, match=f"HTTP {status}.*registry.username"):
        served.client().text(7)


@pytest.mark.parametrize("status", [301, 400, 405])
def test_an_answer_that_the_address_is_wrong_is_the_operators_to_mend(served: Running, status: int) -> None:
    served.registry.answer = status, b""
    with pytest.raises(ConfigError, match=f"HTTP {status}.*is registry.url right"):
        served.client().text(7)


def test_credentials_are_sent_whether_they_stand_in_the_url_or_beside_it(served: Running) -> None:
    expected = "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()
    served.client(f"http://ann:s3cr%3Aet@127.0.0.1:{served.port}").text(7)
    assert served.registry.authorization == expected
    served.client(user="ann", password=SECRET).text(8)
    assert served.registry.authorization == expected
    served.client().text(9)
    assert served.registry.authorization is None


@pytest.mark.parametrize("status", [0, 401, 404, 409, 418, 500])
def test_no_message_and_no_log_line_holds_credentials(
    served: Running, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    served.registry.answer = (status, b"no") if status else None
    served.registry.hang = None if status else threading.Event()
    url = f"http://ann:s3cret@127.0.0.1:{served.port}/path"
    access = RegistryAccess(url, user="ann", password="s3cret", timeout_ms=200)
    client = served.client(access.url, user=access.user, password=access.password, timeout_ms=200)
    with pytest.raises((TransientError, ConfigError, ContractError, RefusedError)) as caught:
        client.text(7)
    shown = f"{caught.value}{caught.value.__cause__!r}{client.place}{caplog.text}"
    assert f"127.0.0.1:{served.port}/path" in str(caught.value)
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    "url", ["", "ann:s3cret@host", "ftp://ann:s3cret@host", "http://", "http://ann:s3cret@host:port", "http://a,b"]
)
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form") as caught:
        HttpRegistry(RegistryAccess(url))
    assert "s3cret" not in str(caught.value)


def test_an_access_does_not_show_its_password() -> None:
    assert SECRET not in repr(RegistryAccess("http://127.0.0.1", "ann", SECRET))


def test_a_certificate_is_verified_with_the_ca_file(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(certificate) as served:
        served.registry.schemas[7] = {"schema": RECORD}
        url = f"https://127.0.0.1:{served.port}"
        assert served.client(url, ca_file=str(certificate)).text(7) == RECORD
        with pytest.raises(RefusedError, match=r"is not trusted.*registry.ca"):
            served.client(url).text(7)


def test_a_ca_file_that_is_missing_or_no_pem_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.pem.*no such file"):
        HttpRegistry(RegistryAccess("https://127.0.0.1", ca_file=str(tmp_path / "nowhere.pem")))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca.pem.*is no PEM file"):
        HttpRegistry(RegistryAccess("https://127.0.0.1", ca_file=str(tmp_path / "ca.pem")))


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ({"references": [{"name": "events.Money", "subject": "money", "version": 1}]}, "events.Money"),
        ({"schemaType": "PROTOBUF"}, "is PROTOBUF"),
        ({"schema": "{"}, "is no JSON"),
        ({"schema": RECORD.replace("R", "\ud800")}, "is no JSON"),
    ],
)
def test_a_schema_that_is_not_self_contained_avro_is_refused(
    served: Running, stored: dict[str, Any], reason: str
) -> None:
    served.registry.schemas[7] = {"schema": RECORD} | stored
    served.registry.subjects["s"] = [7]
    with pytest.raises(ContractError, match=f"schema 7 .*{reason}"):
        served.client().text(7)
    with pytest.raises(ContractError, match=f"s version 1 .*{reason}"):
        served.client().versions("s")


def test_versions_come_oldest_first_with_their_ids(served: Running) -> None:
    served.registry.schemas |= {3: {"schema": RECORD}, 9: {"schema": LONGER}}
    served.registry.subjects["events.a-value"] = [9, 3]
    assert served.client().versions("events.a-value") == [(9, LONGER), (3, RECORD)]


def test_an_unknown_subject_has_no_versions(served: Running) -> None:
    assert served.client().versions("events.a-value") == []


def test_a_registry_that_leaves_out_ids_or_loses_what_it_takes_is_an_outage(served: Running) -> None:
    served.registry.schemas[3] = {"schema": RECORD, "id": None}
    served.registry.subjects["s"] = [3]
    with pytest.raises(TransientError, match="no id for s version 1"):
        served.client().versions("s")
    served.registry.answer = 404, b'{"error_code": 40401, "message": "gone"}'
    with pytest.raises(TransientError, match="did not keep the schema of s"):
        served.client().register("s", RECORD, "NONE")


@pytest.mark.parametrize("given", ["1", "../../../victim", 1.5, True, -5, 2**31])
def test_an_id_that_is_no_whole_number_of_31_bits_is_an_outage(served: Running, given: Any) -> None:
    served.registry.schemas[3] = {"schema": RECORD, "id": given}
    served.registry.subjects["s"] = [3]
    with pytest.raises(TransientError, match="no id for s version 1"):
        served.client().versions("s")
    served.registry.subjects["s"] = []
    served.registry.registered = given
    with pytest.raises(TransientError, match="no id for the schema of s"):
        served.client().register("s", LONGER, "NONE")


@pytest.mark.parametrize("given", [{"a": 1}, {}, [1, None], 5, 0, "12", True, [True], ["1"], [-1]])
def test_what_is_no_list_of_versions_is_an_outage(served: Running, given: Any) -> None:
    served.registry.answer = 200, json.dumps(given).encode()
    with pytest.raises(TransientError, match="gives no list of the versions of s"):
        served.client().versions("s")


def test_registering_sets_the_compatibility_first(served: Running) -> None:
    assert served.client().register("events.a-value", RECORD, "FULL_TRANSITIVE") == 1
    assert served.registry.configured == {"events.a-value": "FULL_TRANSITIVE"}
    assert served.registry.schemas[1]["schema"] == RECORD
    changes = [each for each in served.registry.requests if not each.startswith("GET")]
    assert changes == ["PUT /config/events.a-value", "POST /subjects/events.a-value/versions"]


def test_registering_sets_the_compatibility_afterwards_where_new_subjects_have_none(served: Running) -> None:
    served.registry.configures_new_subjects = False
    served.client().register("events.a-value", RECORD, "FULL_TRANSITIVE")
    assert served.registry.configured == {"events.a-value": "FULL_TRANSITIVE"}


def test_registering_again_adds_no_version_however_the_schema_is_spaced(served: Running) -> None:
    first = served.client().register("events.a-value", RECORD, "BACKWARD")
    respaced = json.dumps(json.loads(RECORD), indent=2, sort_keys=True)
    assert served.client().register("events.a-value", respaced, "FULL") == first
    assert len(served.registry.schemas) == 1
    assert served.registry.configured == {"events.a-value": "FULL"}


def test_a_refused_schema_is_refused_with_the_registrys_reason(served: Running) -> None:
    served.registry.refuses = "READER_FIELD_MISSING_DEFAULT_VALUE at /fields/1"
    with pytest.raises(ContractError, match="HTTP 409: READER_FIELD_MISSING_DEFAULT_VALUE"):
        served.client().register("events.a-value", RECORD, "FULL_TRANSITIVE")


def test_what_is_no_json_is_not_sent(served: Running) -> None:
    with pytest.raises(ContractError, match="is no JSON"):
        served.client().register("events.a-value", "{", "FULL_TRANSITIVE")
    assert served.registry.requests == []
