"""The job that every peer in Python does: events of the lead's schema in, predictions with their provenance out.

Decoding and encoding are fastavro's, record by record, with schemas parsed once and without logical types, so that it
builds no datetimes; numpy makes the columns; one call of ONNX Runtime on one thread scores what it is given, be it one
record or a batch.

It knows one writer schema and takes every record for a good one: what a service would have to do besides stands in
careful.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import onnxruntime as ort

PREFIX_BYTES = 5
TEXTS = (
    "job",
    "marital",
    "education",
    "credit_default",
    "housing",
    "loan",
    "contact",
    "month",
    "day_of_week",
    "previous_outcome",
)
NUMBERS = (
    "age",
    "campaign",
    "days_since_contact",
    "previous_contacts",
    "employment_variation_rate",
    "consumer_price_index",
    "consumer_confidence_index",
    "euribor_3m",
    "employees",
)
NEVER_CONTACTED = 999

Record = tuple[int, int, int, bytes]
"""Partition, offset, timestamp in milliseconds, value."""


def arguments() -> argparse.Namespace:
    """What every peer is started with."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "source", "target", "group", "bundle", "schemas", "constants"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


class Job:
    """Scores records. `batches` and `events` say how much it has done."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.reads, _ = schema_of(Path(args.schemas), f"{args.source}-value")
        self.writes, writes_id = schema_of(Path(args.schemas), f"{args.target}-value")
        self.constants = json.loads(args.constants) | {"runtime": f"onnxruntime {ort.__version__}"}
        self.id_start = f"{self.constants['model_name']}/{self.constants['model_version']}/{args.source}/"
        self.head = struct.pack(">bI", 0, writes_id)
        self.session = open_model(Path(args.bundle))
        self.batches = self.events = 0

    def score(self, records: Sequence[Record]) -> list[tuple[str, bytes]]:
        """The key and the value of each record's prediction, in order."""
        self.batches, self.events = self.batches + 1, self.events + len(records)
        reads, writes, constants = self.reads, self.writes, self.constants
        events: list[Any] = [fastavro.schemaless_reader(BytesIO(each[3][PREFIX_BYTES:]), reads) for each in records]
        for event in events:
            if event["days_since_contact"] is None:
                event["days_since_contact"] = NEVER_CONTACTED
        tensors = {name: column([event[name] for event in events], object) for name in TEXTS}
        tensors |= {name: column([event[name] for event in events], np.float32) for name in NUMBERS}
        (probabilities,) = self.session.run(["probabilities"], tensors)
        scored_at = int(time.time() * 1000)
        found = []
        scores = probabilities[:, 1].tolist()
        for (partition, offset, timestamp, value), event, probability in zip(records, events, scores, strict=True):
            prediction = {
                **constants,
                "prediction_id": f"{self.id_start}{partition}/{offset}",
                "event_id": event["event_id"],
                "lead_id": event["lead_id"],
                "score": probability,
                "bucket": bucket(probability),
                "source_partition": partition,
                "source_offset": offset,
                "source_timestamp": timestamp,
                "event_digest": hashlib.blake2b(value, digest_size=8).hexdigest(),
                "occurred_at": event["occurred_at"],
                "scored_at": scored_at,
            }
            body = BytesIO()
            body.write(self.head)
            fastavro.schemaless_writer(body, writes, prediction)
            found.append((event["lead_id"], body.getvalue()))
        return found

    def told(self) -> str:
        """The last line that a peer prints."""
        return json.dumps({"batches": self.batches, "events": self.events})


def bucket(probability: float) -> str:
    if probability < 0.0625:
        return "D"
    if probability < 0.25:
        return "C"
    return "B" if probability < 0.5 else "A"


def column(values: list[Any], dtype: Any) -> Any:
    return np.array(values, dtype=dtype).reshape(-1, 1)


def schema_of(folder: Path, subject: str) -> tuple[Any, int]:
    entry = next(each for each in json.loads((folder / "registry.json").read_text()) if each["subject"] == subject)
    return fastavro.parse_schema(plain(json.loads((folder / entry["file"]).read_text()))), entry["id"]


def plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [plain(each) for each in schema]
    if isinstance(schema, dict):
        return {name: plain(value) for name, value in schema.items() if name != "logicalType"}
    return schema


def open_model(bundle: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(bundle / "model.onnx"), options, providers=["CPUExecutionProvider"])
