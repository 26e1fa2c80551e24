from __future__ import annotations

import ctypes
import re
from pathlib import Path

import confluent_kafka
import pytest

from scorer.cli.librdkafka import ALIASES, PROPERTIES, RESERVED, SAFE_TEXT, SECRETS, Client

NO_VALUES = {"builtin.features", "enabled_events", "internal.termination.signal"}
"""Not for settings: a query, a bit set and a signal number of librdkafka's own machinery."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, str]]:
    """The installed library's own list: name to (C, P or *, type, the name that it is an alias for)."""
    libraries = list(Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*"))
    if not libraries:
        pytest.skip("librdkafka is not bundled with this confluent-kafka")
    library, libc = ctypes.CDLL(str(libraries[0])), ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    libc.fclose.argtypes = library.rd_kafka_conf_properties_show.argtypes = [ctypes.c_void_p]
    path = tmp_path_factory.mktemp("librdkafka") / "properties"
    file = libc.fopen(str(path).encode(), b"w")
    library.rd_kafka_conf_properties_show(file)
    libc.fclose(file)
    found: dict[str, tuple[str, str, str]] = {}
    for line in path.read_text().splitlines():
        if row := re.match(r"(\S+)\s+\|\s+(C|P|\*)\s+\|.*\*Type: (.*?)\*$", line.rstrip()):
            alias = re.search(r"Alias for `(.*?)`", line)
            found.setdefault(row[1], (row[2], row[3], alias[1] if alias else ""))
    assert len(found) > 150
    return {name: row for name, row in found.items() if row[1] != "see dedicated API" and name not in NO_VALUES}


def test_the_names_are_those_of_the_installed_library(installed: dict[str, tuple[str, str, str]]) -> None:
    assert PROPERTIES.keys() == installed.keys()


def test_clients_and_types_are_those_of_the_installed_library(installed: dict[str, tuple[str, str, str]]) -> None:
    clients = {"C": Client.CONSUMER, "P": Client.PRODUCER, "*": Client.ANY}
    for name, (client, kind, _) in installed.items():
        assert PROPERTIES[name].client == clients[client], name
        assert PROPERTIES[name].text == (kind in ("string", "pattern list")), name


def test_every_alias_of_the_installed_library_is_known(installed: dict[str, tuple[str, str, str]]) -> None:
    pairs = {frozenset((name, alias)) for name, (_, _, alias) in installed.items() if alias}
    pairs.add(frozenset(("auto.commit.enable", "enable.auto.commit")))
    assert {frozenset(pair) for pair in ALIASES.items()} == pairs


def test_every_list_names_properties_by_the_name_that_is_kept() -> None:
    kept = PROPERTIES.keys() - ALIASES.keys()
    assert set(ALIASES.values()) | RESERVED.keys() | SECRETS | SAFE_TEXT <= kept


def test_only_text_can_be_secret_and_no_secret_is_safe_to_print() -> None:
    assert all(PROPERTIES[name].text for name in SECRETS | SAFE_TEXT)
    assert not SECRETS & SAFE_TEXT


def test_whatever_sounds_like_a_secret_is_one_or_hidden() -> None:
    sounds = re.compile(r"password|secret|passphrase|token|key\.pem|username|config$")
    for name, known in PROPERTIES.items():
        if sounds.search(name) and known.text:
            assert ALIASES.get(name, name) not in SAFE_TEXT, name
    assert {name for name in PROPERTIES if re.search(r"password|secret$|passphrase", name)} - ALIASES.keys() <= SECRETS
