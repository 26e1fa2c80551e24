from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.document import key_lines, read_document
from scorer.core.errors import ConfigError


def test_headers_and_keys_are_found_by_line_and_streams_by_number() -> None:
    text = """
# x = 1
group = "a" # b = 2
[kafka] # c
"bootstrap.servers" = "h"
[[streams]]
from = "a"
[[streams]]
from="b"
"""
    assert key_lines(text) == {
        "group": 3,
        "kafka": 4,
        "kafka.bootstrap.servers": 5,
        "streams.0": 6,
        "streams.0.from": 7,
        "streams.1": 8,
        "streams.1.from": 9,
    }


def test_a_key_within_an_inline_table_has_the_tables_line(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('\nbatch = { rows_max = 3 }\nregistry = { password = { file = "p" } }')
    entries = {entry.key: (entry.value, entry.origin) for entry in read_document(file).entries}
    assert entries == {
        "batch.rows_max": (3, f"{file}:2"),
        "registry.password": ({"file": "p"}, f"{file}:3"),
    }


def test_a_key_that_no_line_shows_has_the_file_as_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('"\\u0067roup" = "x"\n"a=b" = 1')
    origins = {entry.key: entry.origin for entry in read_document(file).entries}
    assert origins == {"group": f"{file}:1", "a=b": str(file)}


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(b'group = "\xff"')
    with pytest.raises(ConfigError, match=r"s\.toml is not UTF-8"):
        read_document(file)


def test_a_byte_order_mark_in_front_is_no_part_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('group = "x"\n', "utf-8-sig")
    (entry,) = read_document(file).entries
    assert (entry.key, entry.value, entry.origin) == ("group", "x", f"{file}:1")
