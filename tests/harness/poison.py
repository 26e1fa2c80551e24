"""Records that no scorer can score, by kind, each with the stage and the reason that its dead letter has to name.

Bytes are put together by hand from Avro's specification ("Binary Encoding"), so that they are wrong in one place only.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]
Verdict = tuple[str, str]

VALUE_BYTES_MAX = 16_384
"""What the tests set batch.value_bytes_max to."""

SKIPPED: Verdict = ("", "")
"""What a tombstone comes to: it is no bad record."""

MALFORMED: Verdict = ("DECODE", "malformed")
YEAR_10000_MS = 253_402_300_800_000
ENUMS_OF_A_LEAD = 9


@dataclass(frozen=True, slots=True)
class Writers:
    """How values of one stream are written.

    Attributes:
        encode: an event by the stream's own schema.
        encode_nullable: by a later version, in which a required field may be null.
        foreign: a value of another stream's schema.
        recursive: the id of a registered schema that contains itself.
    """

    encode: Callable[[Event], bytes]
    encode_nullable: Callable[[Event], bytes]
    foreign: bytes
    recursive: int


Make = Callable[[Event, Writers], bytes | None]
Kinds = dict[str, tuple[Make, Verdict]]


def kinds_of(stream: str) -> Kinds:
    """Every kind of poison for the stream `lead` or `login`."""
    return {**_ANY, **(_LEAD if stream == "lead" else _LOGIN)}


def nullable(schema: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The schema with one field that may be null."""
    grown = copy.deepcopy(dict(schema))
    for each in grown["fields"]:
        if each["name"] == field:
            each["type"] = ["null", each["type"]]
    return grown


RECURSIVE = {
    "type": "record",
    "name": "Chain",
    "fields": [{"name": "next", "type": ["null", "Chain"], "default": None}],
}


def whole(number: int) -> bytes:
    """A number as Avro writes int and long: zig-zag, seven bits a byte."""
    number = (number << 1) ^ (number >> 127)
    out = bytearray()
    while number > 0x7F:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    return bytes([*out, number])


def text(value: str) -> bytes:
    """A string as Avro writes it."""
    return whole(len(value.encode())) + value.encode()


def _head(event: Event) -> bytes:
    """What values of both streams begin with, behind the prefix: event id, entity and time."""
    entity = event.get("lead_id") or event["customer_id"]
    return text(event["event_id"]) + text(entity) + whole(event["occurred_at"])


def _behind_head(event: Event, by: Writers, skip: bytes, put: bytes) -> bytes:
    """The value with `put` in the place of `skip`, right behind the head."""
    return _at(by.encode(event), 5 + len(_head(event)), skip, put)


def _at(value: bytes, place: int, skip: bytes, put: bytes) -> bytes:
    assert value[place:].startswith(skip), "the value is not laid out as thought"
    return value[:place] + put + value[place + len(skip) :]


def _event_id(event: Event, by: Writers, put: bytes) -> bytes:
    return _at(by.encode(event), 5, text(event["event_id"]), put)


def _age(put: bytes) -> Make:
    return lambda event, by: _behind_head(event, by, whole(event["age"]), put)


def _job(put: bytes) -> Make:
    def make(event: Event, by: Writers) -> bytes:
        value, age = by.encode(event), whole(event["age"])
        place = 5 + len(_head(event)) + len(age)
        return _at(value, place, value[place : place + 1], put)

    return make


def _days_since_contact(put: bytes) -> Make:
    def make(event: Event, by: Writers) -> bytes:
        value = by.encode({**event, "days_since_contact": None})
        before = len(whole(event["age"])) + ENUMS_OF_A_LEAD + len(whole(event["campaign"]))
        return _at(value, 5 + len(_head(event)) + before, whole(0), put)

    return make


def _products(blocks: bytes) -> Make:
    """The login with these bytes for its array; it stands at the end."""
    return lambda event, by: by.encode({**event, "recent_products": []})[:-1] + blocks


def _lead(**fields: Any) -> Make:
    return lambda event, by: by.encode({**event, **fields})


_ANY: Kinds = {
    "an empty value": (lambda *_: b"", ("DECODE", "bad_frame")),
    "three bytes": (lambda *_: b"\0\0\0", ("DECODE", "bad_frame")),
    "another magic byte": (lambda event, by: b"\1" + by.encode(event)[1:], ("DECODE", "bad_frame")),
    "an unknown schema id": (
        lambda event, by: b"\0\x7f\xff\xff\x01" + by.encode(event)[5:],
        ("DECODE", "unknown_schema"),
    ),
    "a schema id over 2^31": (
        lambda event, by: b"\0\xff\xff\xff\xff" + by.encode(event)[5:],
        ("DECODE", "unknown_schema"),
    ),
    "a recursive schema": (
        lambda event, by: struct.pack(">bI", 0, by.recursive) + by.encode(event)[5:],
        ("DECODE", "inadmissible_schema"),
    ),
    "a prefix alone": (lambda event, by: by.encode(event)[:5], MALFORMED),
    "the last byte missing": (lambda event, by: by.encode(event)[:-1], MALFORMED),
    "cut in the middle": (lambda event, by: by.encode(event)[:20], MALFORMED),
    "a byte too many": (lambda event, by: by.encode(event) + b"\0", ("DECODE", "trailing_bytes")),
    "two records in one": (lambda event, by: by.encode(event) + by.encode(event)[5:], ("DECODE", "trailing_bytes")),
    "a string of 2^40 bytes": (lambda event, by: _event_id(event, by, whole(1 << 40)), MALFORMED),
    "a string of negative length": (lambda event, by: _event_id(event, by, whole(-9)), MALFORMED),
    "a string that is no UTF-8": (lambda event, by: _event_id(event, by, whole(2) + b"\xc3\x28"), MALFORMED),
    "a surrogate in a string": (lambda event, by: _event_id(event, by, whole(3) + b"\xed\xa0\x80"), MALFORMED),
    "a varint without end": (lambda event, by: by.encode(event)[:5] + b"\xff" * 40, MALFORMED),
    "more bytes than allowed": (
        lambda event, by: by.encode({**event, "event_id": "x" * VALUE_BYTES_MAX}),
        ("DECODE", "too_large"),
    ),
    "a year beyond 9999": (
        lambda event, by: by.encode({**event, "occurred_at": YEAR_10000_MS}),
        ("ASSEMBLE", "in_future"),
    ),
    "an event of another stream": (lambda _, by: by.foreign, ("ASSEMBLE", "wrong_type")),
    "null in a required field": (lambda event, by: by.encode_nullable(event), ("ASSEMBLE", "missing_field")),
    "a tombstone": (lambda *_: None, SKIPPED),
}

_LEAD: Kinds = {
    "an enum index too high": (_job(whole(12)), MALFORMED),
    "a negative enum index": (_job(whole(-1)), MALFORMED),
    "an int of 33 bits": (_age(whole(1 << 31)), MALFORMED),
    "an int of 60 bits": (_age(whole(1 << 59)), MALFORMED),
    "a union index too high": (_days_since_contact(whole(2)), MALFORMED),
    "a negative union index": (_days_since_contact(whole(-1)), MALFORMED),
    "a number that is none": (_lead(euribor_3m=float("nan")), ("ASSEMBLE", "non_finite")),
    "an infinite number": (_lead(employees=float("-inf")), ("ASSEMBLE", "non_finite")),
    "a number over its range": (_lead(age=131), ("ASSEMBLE", "out_of_range")),
    "a number under its range": (_lead(campaign=-1), ("ASSEMBLE", "out_of_range")),
}

_LOGIN: Kinds = {
    "an array of 2^40 items": (_products(whole(1 << 40)), MALFORMED),
    "an array of 2^62 items with a size": (_products(whole(-(1 << 62)) + whole(1 << 62)), MALFORMED),
    "a block whose size is wrong": (_products(whole(-1) + whole(99) + text("85123A") + whole(0)), MALFORMED),
    "an array without its end": (_products(whole(1) + text("85123A")), MALFORMED),
    "a product that is no UTF-8": (_products(whole(1) + whole(1) + b"\xff" + whole(0)), MALFORMED),
    "an enum index too high": (
        lambda event, by: _behind_head(event, by, whole(["web", "mobile"].index(event["channel"])), whole(2)),
        MALFORMED,
    ),
}
