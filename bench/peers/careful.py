"""The careful hand-written loop: what a good engineer writes in an afternoon, as fast as that shape allows.

It takes up to 512 messages at once, scores them as a batch (job.py: the same fields as the scorer's, provenance
included), produces each prediction with a delivery callback, and commits by time after a flush: at least once. For short
waits it polls for the first message and takes what is already there (`consume` alone sits out its timeout). All client
settings are librdkafka's defaults, except that it commits by itself.

What it does not do, and the scorer does: look at the schema id of a message (it knows one writer schema), check that a
record has exactly its bytes, that enums, ints and strings are valid, or that numbers are finite and in range; set bad
records aside (one ends the process, and every restart); survive a growing schema; prove the model before it serves;
drain when partitions are taken away; wait out an outage; metrics, health checks, logs.

    python careful.py --bootstrap HOST:PORT --source TOPIC --target TOPIC --group GROUP --bundle DIR --schemas DIR \
        --constants JSON

`constants` are the fields that are the same in every prediction. Prints "ready" once its group has its assignment; SIGTERM ends it, and it prints how many batches and events it had.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from job import Job, arguments

ROWS_MAX = 512
IDLE_S_MAX = 0.1
COMMIT_EVERY_S = 0.5

stop = False
failed: list[str] = []


def main() -> None:
    args = arguments()
    signal.signal(signal.SIGTERM, on_signal)
    job = Job(args)
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
    committed_s = time.monotonic()
    try:
        while not stop:
            first = consumer.poll(IDLE_S_MAX)
            messages = [] if first is None else [first, *consumer.consume(ROWS_MAX - 1, 0)]
            records = [(m.partition(), m.offset(), m.timestamp()[1], m.value()) for m in messages if usable(m)]
            if records:
                for key, value in job.score(records):
                    produce(producer, args.target, key, value)
            producer.poll(0)
            if time.monotonic() - committed_s >= COMMIT_EVERY_S:
                commit(consumer, producer, asynchronous=True)
                committed_s = time.monotonic()
        commit(consumer, producer, asynchronous=False)
    finally:
        consumer.close()
    print(job.told(), flush=True)


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


def on_signal(*_: Any) -> None:
    global stop
    stop = True


if __name__ == "__main__":
    main()
