"""The careful hand-written loop: what a good engineer writes in an afternoon, as fast as that shape allows.

It takes up to 512 messages at once, decodes each with fastavro, makes numpy columns, calls the model once, encodes each
prediction with fastavro (the same fields as the scorer's, provenance included), produces each with a delivery callback,
and commits by time after a flush: at least once. Schemas are parsed once, without logical types, so that fastavro
builds no datetimes; the model runs on one thread; for short waits it polls for the first message and takes what is
already there (`consume` alone sits out its timeout). All client settings are librdkafka's defaults, except that it
commits by itself.

What it does not do, and the scorer does: look at the schema id of a message (it knows one writer schema), check that a
record has exactly its bytes, that enums, ints and strings are valid, or that numbers are finite and in range; set bad
records aside (one ends the process, and every restart); survive a growing schema; prove the model before it serves;
drain when partitions are taken away; wait out an outage; metrics, health checks, logs.

    python careful.py --bootstrap HOST:PORT --source TOPIC --target TOPIC --group GROUP --bundle DIR --schemas DIR

Prints "ready" once its group has its assignment; SIGTERM ends it, and it prints how many batches and events it had.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import signal
import struct
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import onnxruntime as ort
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

ROWS_MAX = 512
IDLE_S_MAX = 0.1
COMMIT_EVERY_S = 0.5
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

stop = False
failed: list[str] = []


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "source", "target", "group", "bundle", "schemas"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, on_signal)

    fixed = prepare(args)
    consumer = Consumer(
        {
            "bootstrap.servers": args.bootstrap,
            "group.id": args.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer({"bootstrap.servers": args.bootstrap})
    consumer.subscribe([args.source], on_assign=lambda *_: print("ready", flush=True))
    gc.collect()
    gc.freeze()  # what is there by now stays: collections need not look at it again
    batches = count = 0
    committed_s = time.monotonic()
    try:
        while not stop:
            first = consumer.poll(IDLE_S_MAX)
            messages = [] if first is None else [first, *consumer.consume(ROWS_MAX - 1, 0)]
            messages = [message for message in messages if usable(message)]
            if messages:
                batches, count = batches + 1, count + len(messages)
                score(messages, fixed, producer, args.target)
            producer.poll(0)
            if time.monotonic() - committed_s >= COMMIT_EVERY_S:
                commit(consumer, producer, asynchronous=True)
                committed_s = time.monotonic()
        commit(consumer, producer, asynchronous=False)
    finally:
        consumer.close()
    print(json.dumps({"batches": batches, "events": count}), flush=True)


@dataclass(frozen=True, slots=True)
class Fixed:
    """What is the same for every event."""

    reads: Any
    writes: Any
    session: ort.InferenceSession
    constants: dict[str, Any]
    id_start: str
    head: bytes


def prepare(args: argparse.Namespace) -> Fixed:
    reads, reads_id = schema_of(Path(args.schemas), f"{args.source}-value")
    writes, writes_id = schema_of(Path(args.schemas), f"{args.target}-value")
    bundle = Path(args.bundle)
    name, number = bundle.parent.name, bundle.name
    constants = {
        "model_name": name,
        "model_version": number,
        "model_sha256": identity(bundle),
        "source_topic": args.source,
        "source_schema_id": reads_id,
        "lane": "live",
        "scorer_version": version("streaming-scorer"),
        "runtime": f"onnxruntime {ort.__version__}",
        "cpu_class": cpu_class(),
    }
    head = struct.pack(">bI", 0, writes_id)
    return Fixed(reads, writes, open_model(bundle), constants, f"{name}/{number}/{args.source}/", head)


def score(messages: list[Any], fixed: Fixed, producer: Producer, target: str) -> None:
    values = [message.value() for message in messages]
    reads, writes, constants = fixed.reads, fixed.writes, fixed.constants
    events: list[Any] = [fastavro.schemaless_reader(BytesIO(value[PREFIX_BYTES:]), reads) for value in values]
    for event in events:
        if event["days_since_contact"] is None:
            event["days_since_contact"] = NEVER_CONTACTED
    tensors = {name: column([event[name] for event in events], object) for name in TEXTS}
    tensors |= {name: column([event[name] for event in events], np.float32) for name in NUMBERS}
    (probabilities,) = fixed.session.run(["probabilities"], tensors)
    scored_at = int(time.time() * 1000)
    for message, value, event, probability in zip(messages, values, events, probabilities[:, 1].tolist(), strict=True):
        partition, offset = message.partition(), message.offset()
        prediction = {
            **constants,
            "prediction_id": f"{fixed.id_start}{partition}/{offset}",
            "event_id": event["event_id"],
            "lead_id": event["lead_id"],
            "score": probability,
            "bucket": bucket(probability),
            "source_partition": partition,
            "source_offset": offset,
            "source_timestamp": message.timestamp()[1],
            "event_digest": hashlib.blake2b(value, digest_size=8).hexdigest(),
            "occurred_at": event["occurred_at"],
            "scored_at": scored_at,
        }
        body = BytesIO()
        body.write(fixed.head)
        fastavro.schemaless_writer(body, writes, prediction)
        produce(producer, target, event["lead_id"], body.getvalue())


def bucket(probability: float) -> str:
    if probability < 0.0625:
        return "D"
    if probability < 0.25:
        return "C"
    return "B" if probability < 0.5 else "A"


def produce(producer: Producer, target: str, key: str, value: bytes) -> None:
    while True:
        try:
            return producer.produce(target, value, key, on_delivery=delivered)
        except BufferError:
            producer.poll(0.05)


def delivered(error: Any, _: Any) -> None:
    if error is not None:
        failed.append(str(error))


def commit(consumer: Consumer, producer: Producer, asynchronous: Any) -> None:
    """Everything consumed has been produced; once that is delivered, the consumer's position may be committed."""
    producer.flush()
    if failed:
        sys.exit(f"not delivered: {failed[0]}")
    try:
        consumer.commit(asynchronous=asynchronous)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._NO_OFFSET:
            raise


def usable(message: Any) -> bool:
    if message.error() is not None:
        print(message.error(), file=sys.stderr)
        return False
    return message.value() is not None


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


def identity(bundle: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.onnx", "model.toml", "golden.jsonl"):
        content = (bundle / name).read_bytes()
        digest.update(b"%s\0%d\0" % (name.encode(), len(content)) + content)
    return digest.hexdigest()


def cpu_class() -> str:
    words = set(Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n", maxsplit=1)[0].split())
    return "x86_64-avx512" if "avx512f" in words else "x86_64-avx2" if "avx2" in words else "other"


def on_signal(*_: Any) -> None:
    global stop
    stop = True


if __name__ == "__main__":
    main()
