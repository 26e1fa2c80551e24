"""T30, run as a child: decodes mutated leads and logins, and says how it went, a line of JSON every so many.

    python -m tests.faults.fuzz SEED COUNT

Nothing may escape the decode step, every row has to come back as an event or a rejection, and a row's fate may not
depend on its batch. A hang or a crash is seen by the parent.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from scorer.core.decode import decode
from scorer.core.records import Closed, RecordBatch
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.wire import split_frames
from tests.harness.events import encoder, sampled
from tests.harness.topics import shipped_schema

POOL = 400
ROWS = (1, 2, 7, 32, 64)
AGAIN_SHARE = 0.05
SAY_EVERY = 64
MEMORY_BYTES_MAX = 3 << 30
VALUE_BYTES_MAX = 1 << 20
EDGES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


def main(seed: int, count: int) -> None:
    """Fuzzes so many payloads and says so."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    chance = random.Random(seed)
    shipped = [shipped_schema("events.new-lead"), shipped_schema("events.login")]
    schemas: dict[int, WriterSchema | str] = {
        number: writer_schema(number, json.dumps(each)) for number, each in enumerate(shipped, 1)
    }
    pool = [
        encoder(number, each)(event)
        for number, (each, kind) in enumerate(zip(shipped, ("lead", "login"), strict=True), 1)
        for event in sampled(kind, POOL, seed)
    ]
    verdicts: Counter[str] = Counter()
    done, worst_s, turn = 0, 0.0, 0
    while done < count:
        values: list[bytes | None] = [_mutated(chance, pool) for _ in range(chance.choice(ROWS))]
        started_s = time.process_time()
        fates = _fates(values, schemas)
        worst_s = max(worst_s, time.process_time() - started_s)
        if chance.random() < AGAIN_SHARE:
            alone = [_fates([value], schemas)[0] for value in values]
            assert alone == fates, f"a row's fate depends on its batch: {values!r}"
        verdicts.update(fates)
        done, turn = done + len(values), turn + 1
        if turn % SAY_EVERY == 0 or done >= count:
            print(json.dumps({"done": done, "worst_s": worst_s, "verdicts": verdicts}), flush=True)


def _fates(values: list[bytes | None], schemas: dict[int, WriterSchema | str]) -> list[str]:
    frames = split_frames(values, VALUE_BYTES_MAX)
    known = {number: schemas.get(number, "unknown_schema") for number in frames.groups}
    count = len(values)
    numbers: Any = np.arange(count)
    batch = RecordBatch(
        "fuzz", np.zeros(count, np.int32), numbers, numbers, values, [None] * count, [None] * count, Closed.FULL
    )
    events, rejections = decode(batch, frames, known)
    fates = [""] * count
    for part in events:
        for row in part.rows.tolist():
            fates[row] = "decoded"
    for each in rejections:
        assert not fates[each.row], "a row has two fates"
        fates[each.row] = each.reason
    assert all(fates), "a row is lost"
    return fates


def _mutated(chance: random.Random, pool: list[bytes]) -> bytes:
    value = bytearray(chance.choice(pool))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        at = chance.randrange(5, len(value)) if len(value) > 5 and chance.random() < 0.95 else 0
        match chance.randrange(7):
            case 0:
                value[at] ^= 1 << chance.randrange(8)
            case 1:
                value[at] = chance.choice(EDGES)
            case 2:
                del value[at + 1 :]
            case 3:
                value[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 4:
                del value[at : at + chance.randrange(1, 9)]
            case 5:
                other = chance.choice(pool)
                value[at:] = other[chance.randrange(len(other)) :]
            case 6:
                value[at : at + 1] = b"\xff" * chance.randrange(1, 11) + b"\x7f"
        if not value:
            break
    return bytes(value)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
