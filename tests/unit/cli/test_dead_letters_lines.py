"""How dead letters are named on the command line and printed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from scorer.cli import main
from scorer.cli.dead_letters import _since_ms
from scorer.cli.letters_view import (
    HEX_BYTES_MAX,
    count_lines,
    counts,
    letter_document,
    letter_lines,
    outcome_document,
    outcome_lines,
    plain,
    record_line,
)
from scorer.cli.letters_wiring import Found
from scorer.cli.places import listed, place_of
from scorer.core.dissect import dissect
from scorer.core.errors import ConfigError
from scorer.core.letters import Letter, Stored
from scorer.edges.clock import SystemClock
from scorer.services.redrive import Outcome
from tests.unit.core.batches import framed, record_schema

HOUR_MS = 3_600_000
SCHEMA = record_schema(("name", "string"), ("raw", "bytes"), ("score", "double"), schema_id=4)
LETTER = Letter(
    (0, 1), "events", (2, 3), "decode", "malformed", "why", "scorer.lead", "lead/1", 5 * HOUR_MS, 0, 9, "", False, 1
)


def found(value: bytes, letter: Letter = LETTER) -> Found:
    content = Stored(b"k\x1b[2J", value, [("h\n", b"\xff")], 1000)
    return Found(letter, content, value, True, 4, "", dissect(value, 5, SCHEMA))


@pytest.mark.parametrize(("text", "place"), [("0:0", (0, 0)), ("12:345", (12, 345))])
def test_a_position_is_partition_and_offset(text: str, place: tuple[int, int]) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "-1:2", "1:2:3", "1:x", "1:" + "9" * 19, "७:७"])
def test_what_is_no_position_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="as in 2:17"):
        place_of(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T01:00+01:00", 0),
        ("1970-01-02", 24 * HOUR_MS),
    ],
)
def test_a_time_is_in_utc_unless_it_says_otherwise(text: str, ms: int) -> None:
    assert _since_ms(text) == ms


@pytest.mark.parametrize(("text", "ago_ms"), [("90s", 90_000), ("5m", 300_000), ("1h", HOUR_MS), ("7d", 168 * HOUR_MS)])
def test_a_time_may_be_so_long_ago(text: str, ago_ms: int) -> None:
    assert abs(SystemClock().now_ms() - ago_ms - _since_ms(text)) < 60_000


@pytest.mark.parametrize("text", ["", "1w", "h", "yesterday", "-1h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        _since_ms(text)


def test_no_time_is_the_beginning() -> None:
    assert _since_ms(None) == 0


def test_a_file_of_positions_may_be_what_list_prints(tmp_path: Path) -> None:
    file = tmp_path / "chosen"
    file.write_text(f"# mine\n\n{record_line(LETTER)}\n  3:4\n")
    assert list(listed(str(file))) == ["0:1", "3:4"]
    with pytest.raises(ConfigError, match="cannot be read"):
        listed(str(tmp_path / "none"))


@pytest.mark.parametrize("arguments", [["redrive", "lead", "--file"], ["list", "nothing"], ["show", "lead", "x"]])
def test_a_wrong_command_line_ends_before_anything_is_asked(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "scorer.toml").write_text(
        '[[streams]]\nname = "lead"\nbundle = "b"\nfrom = "events"\nto = "predictions"\n'
    )
    more = [str(tmp_path / "empty")] if arguments[-1] == "--file" else []
    assert main.run(["dead-letters", *arguments, *more]) == 3


def test_letters_are_counted_by_hour_and_over_more_than_two_days_by_day() -> None:
    later = replace(LETTER, place=(0, 2), rejected_at_ms=6 * HOUR_MS, reason="out_of_range")
    near = counts([LETTER, LETTER, later], 0)
    assert (near["letters"], near["records"]) == (3, 1)
    assert near["by_hour"] == {"1970-01-01T05": 2, "1970-01-01T06": 1}
    assert list(near["by_reason"].items()) == [("malformed", 2), ("out_of_range", 1)]
    far = counts([LETTER, replace(LETTER, rejected_at_ms=60 * HOUR_MS)], 2)
    assert far["by_day"] == {"1970-01-01": 1, "1970-01-03": 1}
    assert "\n2 more records" in "\n".join(count_lines(far))
    assert list(count_lines(counts([], 0))) == ["0 dead letters of 0 records"]


def test_nothing_that_came_from_outside_reaches_the_terminal_unescaped() -> None:
    assert plain("a\x1b[2J\nb\u202eä") == "a\\x1b[2J\\nb\\u202eä"
    letter = replace(LETTER, reason="\x1b[2J", model="\x1b[2J", detail="\x07", group="s.\x1b")
    value = framed(SCHEMA, {"name": "\x1b[2J", "raw": b"\x1b", "score": 0.5}) + b"\x1b"
    lines = "\n".join(letter_lines(letter_document(found(value, letter), "why", payload=True)))
    for text in (lines, record_line(letter), "\n".join(count_lines(counts([letter], 0)))):
        assert all(each.isprintable() or each == "\n" for each in text)


def test_a_letter_is_json_whatever_its_values_are() -> None:
    value = framed(SCHEMA, {"name": "ä", "raw": b"\xff\x00", "score": float("nan")})
    document = letter_document(found(value), "why", payload=True)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert [each[3] for each in document["payload"]["fields"]] == ["ä", {"hex": "ff00"}, "nan"]
    assert document["payload"]["rest"] == ""


def test_what_does_not_decode_is_shown_in_hex_from_where_it_breaks() -> None:
    value = framed(SCHEMA, {"name": "abc", "raw": b"", "score": 0.5})[:-2]
    lines = "\n".join(letter_lines(letter_document(found(value), "why", payload=True)))
    assert "up to byte 10 in score: the bytes end inside a field" in lines
    assert lines.endswith("        10  00 00 00 00 00 00                                ......")


def test_a_long_rest_is_cut_for_people_and_whole_in_json() -> None:
    value = framed(SCHEMA, {"name": "a", "raw": b"", "score": 0.5}) + b"x" * 10_000
    document = letter_document(found(value), "why", payload=True)
    assert len(document["payload"]["rest"]) == 20_000
    assert list(letter_lines(document))[-1] == f"       ...  {10_000 - HEX_BYTES_MAX} more bytes; --json has them all"


def test_without_payload_only_sizes_are_said() -> None:
    value = framed(SCHEMA, {"name": "secret", "raw": b"", "score": 0.5})
    document = letter_document(found(value), "why", payload=False)
    text = json.dumps(document) + "\n".join(letter_lines(document))
    assert "payload" not in document
    assert "secret" not in text
    assert "k\\u001b" not in text


def test_a_letter_of_which_no_bytes_are_left_says_so() -> None:
    lost = replace(found(b""), value=None, dissection=None, schema_id=None, undecoded="its bytes are in neither topic")
    lines = list(letter_lines(letter_document(lost, "why", payload=True)))
    assert any("no: its bytes are in neither topic" in line for line in lines)


def test_an_outcome_is_told_by_the_reason_that_was_there_before() -> None:
    outcome = Outcome(
        Counter(out_of_range=2),
        Counter({("out_of_range", "non_finite"): 1}),
        Counter(malformed=3),
        Counter(out_of_range=4),
    )
    document = outcome_document("lead", outcome, dry_run=True)
    assert (document["records"], document["passed"], document["rejected"]) == (10, 2, 1)
    assert list(outcome_lines(document)) == [
        "lead: 10 records, 2 would pass",
        "  malformed: 0 would pass; 3 lost: their bytes are in neither topic",
        "  out_of_range: 2 would pass; 1 rejected again: non_finite; 4 refused: tried too often",
    ]
