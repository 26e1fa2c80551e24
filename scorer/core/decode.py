"""Bytes to columns. A row's fate depends on its bytes and its schema alone, never on the size of its batch.

By record: fastavro plus strict checks (strict.py). It is the reference, serves small batches, and finds the bad rows
of a batch that failed. By column: pyruhvro, believed only if the whole batch re-encodes to the same bytes and its
strings are valid UTF-8; anything else, a panic included, sends that batch by record. So no trust in the accelerator is
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyruhvro

from scorer.core.records import RecordBatch, Rejection, Rows, Stage
from scorer.core.schema import WriterSchema
from scorer.core.strict import MalformedError, record_decoder
from scorer.core.wire import PREFIX_BYTES, Frames


@dataclass(frozen=True, slots=True)
class Events:
    """Decoded rows that share a writer schema: `rows[i]` of the RecordBatch is row i of `table`.

    Attributes:
        rows: ascending.
        schema: what wrote them.
        table: Arrow columns, or records as fastavro gives them.
    """

    rows: Rows
    schema: WriterSchema
    table: pa.RecordBatch | list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)


def decode(
    batch: RecordBatch, frames: Frames, schemas: Mapping[int, WriterSchema | str]
) -> tuple[list[Events], list[Rejection]]:
    """Decodes a batch, group by group.

    Args:
        batch: the raw records.
        frames: its rows by schema id.
        schemas: what is known of each id: the admitted schema, or the reason code why its rows are to be rejected.
    """
    decoded: list[Events] = []
    rejections = list(frames.rejections)
    for schema_id, rows in frames.groups.items():
        schema = schemas[schema_id]
        if isinstance(schema, str):
            rejections += [Rejection(row, Stage.DECODE, schema, f"schema id {schema_id}") for row in rows.tolist()]
            continue
        values = [value for row in rows.tolist() if (value := batch.values[row]) is not None]
        table = by_column(values, schema) if len(rows) >= schema.column_rows_min else None
        if table is not None:
            decoded.append(Events(rows, schema, table))
        else:
            part, bad = _by_record(values, rows, schema)
            decoded.append(part)
            rejections += bad
    return decoded, rejections


def by_column(values: list[bytes], schema: WriterSchema) -> pa.RecordBatch | None:
    """Decodes framed values of one schema to Arrow columns, or None if they are not all proved to be valid."""
    if schema.by_record_only is not None:
        return None
    bodies = [value[PREFIX_BYTES:] for value in values]
    if schema.column_bytes_min and sum(map(len, bodies)) < schema.column_bytes_min * len(bodies):
        return None
    text, symbols = schema.by_index
    try:
        table = pyruhvro.deserialize_array(bodies, text)
        (encoded,) = pyruhvro.serialize_record_batch(table, text, 1)
        if not encoded.equals(pa.array(bodies, pa.binary())):
            return None
        table.validate(full=True)
        if symbols:
            table = _with_symbols(table, symbols)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a Rust panic arrives as PanicException, which is no Exception
        return None
    return table


def _with_symbols(table: pa.RecordBatch, symbols: Mapping[str, pa.StringArray]) -> pa.RecordBatch:
    """The table with these columns of indices as dictionaries. Raises ArrowInvalid where an index has no symbol."""
    arrays = {
        name: pa.DictionaryArray.from_arrays(array, symbols[name]) if name in symbols else array
        for name, array in zip(table.schema.names, table.columns, strict=True)
    }
    return pa.RecordBatch.from_pydict(arrays)


def _by_record(values: list[bytes], rows: Rows, schema: WriterSchema) -> tuple[Events, list[Rejection]]:
    decode_record = _decoder(schema)
    records: list[dict[str, Any]] = []
    good: list[int] = []
    rejections: list[Rejection] = []
    for index, value in enumerate(values):
        try:
            records.append(decode_record(value, PREFIX_BYTES))
            good.append(index)
        except MalformedError as error:
            rejections.append(Rejection(int(rows[index]), Stage.DECODE, error.reason, error.detail))
    return Events(rows[good] if rejections else rows, schema, records), rejections


@lru_cache(maxsize=1024)
def _decoder(schema: WriterSchema) -> Callable[[bytes, int], dict[str, Any]]:
    return record_decoder(schema)
