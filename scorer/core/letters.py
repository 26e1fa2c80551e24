"""Dead letters read back: where each came from, why, and how often it was tried again; the inverse of dead_letters.py.

What we wrote are the headers from the last `__connect.errors.topic` on; whatever stands before them came with the
record, forged notes of the same names included, and counts for nothing. A Letter holds no payload, so that a whole
topic of them fits in memory; the bytes are fetched again for those that are worked on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scorer.core.dead_letters import PREFIX
from scorer.core.records import Closed, DeadLetter, Headers, RecordBatch

ATTEMPTS = "scorer.attempts"
"""Header: how many redrives of the record have failed; absent on letters of a live run."""
OMITTED, DIGEST = "scorer.value.omitted.bytes", "scorer.value.sha256"
"""Headers of a letter whose topic did not take the value."""

PARTITION_MAX, OFFSET_MAX = 2**31 - 1, 2**63 - 2
"""The offset behind the last has to be a number of 64 bits too."""

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a dead letter says, without its payload.

    Attributes:
        place: of the letter, in the dead-letter topic.
        topic, source: topic and place of the record that it is about.
        stage, reason, detail: why it was rejected; reason is a code of records.REASONS or of another version's.
        group: the stream's consumer group.
        model: name and version that were live.
        rejected_at_ms: milliseconds since the epoch, UTC.
        attempts: how many redrives have failed.
        value_bytes: of the original value.
        sha256: of the original value, in hex; "" if nothing says so.
        omitted: whether the letter is without the value.
        headers: how many of its headers are the original record's own.
    """

    place: Place
    topic: str
    source: Place
    stage: str
    reason: str
    detail: str
    group: str
    model: str
    rejected_at_ms: int
    attempts: int
    value_bytes: int
    sha256: str
    omitted: bool
    headers: int

    @property
    def stream(self) -> str:
        """The stream that rejected it; the last part of its group."""
        return self.group.rpartition(".")[2]

    def tells_of(self, value: bytes | None) -> bool:
        """Whether these are the original's bytes."""
        return value is not None and hashlib.sha256(value).hexdigest() == self.sha256


@dataclass(frozen=True, slots=True)
class Author:
    """Whose letters are meant: those that a stream wrote about its input topic. Streams may share both topics.

    Attributes:
        topic: the input topic.
        group: the stream's consumer group, which its workers, redrives and replays sign with.
    """

    topic: str
    group: str

    def letters(self, batch: RecordBatch) -> Iterator[tuple[int, Letter]]:
        """Row and letter, for each of its letters in a batch of a dead-letter topic."""
        for row, place in enumerate(zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True)):
            letter = letter_of(place, stored(batch, row))
            if letter is not None and (letter.topic, letter.group) == (self.topic, self.group):
                yield row, letter


@dataclass(frozen=True, slots=True)
class Stored:
    """A record's content as a topic holds it. `timestamp` in milliseconds."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


def letter_of(place: Place, content: Stored) -> Letter | None:
    """What the record at a place of a dead-letter topic says, or None if the scorer did not write it."""
    headers, value = content.headers, content.value
    starts = [at for at, (name, _) in enumerate(headers) if name == f"{PREFIX}topic"]
    if not starts:
        return None
    notes = {name: (text or b"").decode(errors="replace") for name, text in headers[starts[-1] :]}
    partition = _number(notes, f"{PREFIX}partition", PARTITION_MAX)
    offset = _number(notes, f"{PREFIX}offset", OFFSET_MAX)
    if partition is None or offset is None:
        return None
    omitted = _number(notes, OMITTED, OFFSET_MAX)
    return Letter(
        place=place,
        topic=notes[f"{PREFIX}topic"],
        source=(partition, offset),
        stage=notes.get(f"{PREFIX}stage", "").lower(),
        reason=notes.get(f"{PREFIX}exception.class.name", ""),
        detail=notes.get(f"{PREFIX}exception.message", ""),
        group=notes.get(f"{PREFIX}connector.name", ""),
        model=notes.get("scorer.model", ""),
        rejected_at_ms=_number(notes, "scorer.rejected_at_ms", OFFSET_MAX) or content.timestamp,
        attempts=_number(notes, ATTEMPTS, OFFSET_MAX) or 0,
        value_bytes=len(value or b"") if omitted is None else omitted,
        sha256=notes.get(DIGEST, "") if value is None else hashlib.sha256(value).hexdigest(),
        omitted=value is None,
        headers=starts[-1],
    )


def newest(letters: Iterable[Letter]) -> list[Letter]:
    """The latest letter of each record, in the order of the records; `attempts` is the most that any letter says."""
    found: dict[tuple[str, Place], Letter] = {}
    for letter in letters:
        key = letter.topic, letter.source
        known = found.get(key)
        if known is None:
            found[key] = letter
            continue
        later = max(known, letter, key=lambda each: (each.rejected_at_ms, each.place))
        found[key] = replace(later, attempts=max(known.attempts, letter.attempts))
    return sorted(found.values(), key=lambda letter: (letter.topic, letter.source))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which records are meant: all of a stream by default.

    Attributes:
        stream: its name; "" for all.
        reason: the reason of the latest letter; "" for any.
        since_ms: the latest letter is at least as young, milliseconds since the epoch.
        letters: places of letters; with `events`, the records that any of them is about.
        events: places of records.
    """

    stream: str = ""
    reason: str = ""
    since_ms: int = 0
    letters: frozenset[Place] = frozenset()
    events: frozenset[Place] = frozenset()

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is one of the stream's, for the reason, and young enough."""
        return (
            self.stream in ("", letter.stream)
            and self.reason in ("", letter.reason)
            and letter.rejected_at_ms >= self.since_ms
        )

    def of(self, letters: Sequence[Letter]) -> list[Letter]:
        """The newest letters of the records that are meant, of all letters there are."""
        own = [letter for letter in letters if self.stream in ("", letter.stream)]
        if self.letters or self.events:
            named = self.events | {letter.source for letter in own if letter.place in self.letters}
            own = [letter for letter in own if letter.source in named]
        return [letter for letter in newest(own) if self.takes(letter)]

    def lacking(self, letters: Sequence[Letter]) -> list[Place]:
        """Which of the places that were named are of no letter of the stream."""
        own = [letter for letter in letters if self.stream in ("", letter.stream)]
        places, sources = {letter.place for letter in own}, {letter.source for letter in own}
        return sorted((self.letters - places) | (self.events - sources))


def chunks(letters: Sequence[Letter], rows_max: int, bytes_max: int) -> Iterator[list[Letter]]:
    """Letters in lists of at most so many and of values of at most so many bytes; one that is larger comes alone."""
    chunk: list[Letter] = []
    size = 0
    for letter in letters:
        if chunk and (len(chunk) == rows_max or size + letter.value_bytes > bytes_max):
            yield chunk
            chunk, size = [], 0
        chunk.append(letter)
        size += letter.value_bytes
    if chunk:
        yield chunk


def stored(batch: RecordBatch, row: int) -> Stored:
    """One record's content."""
    return Stored(batch.keys[row], batch.values[row], list(batch.headers[row] or []), int(batch.timestamps[row]))


def as_originals(topic: str, contents: Mapping[Place, Stored]) -> RecordBatch:
    """The records as the source topic delivered them, in the order of their places."""
    places = sorted(contents)
    rows = [contents[place] for place in places]
    return RecordBatch(
        topic,
        np.array([partition for partition, _ in places], dtype=np.int32),
        np.array([offset for _, offset in places], dtype=np.int64),
        np.array([row.timestamp for row in rows], dtype=np.int64),
        [row.value for row in rows],
        [row.key for row in rows],
        [row.headers for row in rows],
        Closed.FULL,
    )


def tried_again(letter: DeadLetter, attempts: int) -> DeadLetter:
    """The dead letter of a record whose redrive has failed, so often by now."""
    return replace(letter, headers=[*letter.headers, (ATTEMPTS, str(attempts).encode())])


def _number(notes: Mapping[str, str], name: str, most: int) -> int | None:
    """A note as a whole number from 0 to `most`, or None."""
    text = notes.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if number <= most else None
