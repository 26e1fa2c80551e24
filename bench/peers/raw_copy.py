"""The raw copy: the floor under anything in Python that goes from Kafka to Kafka through this client.

It takes up to 1,000 messages at once and hands their keys and values on with one `produce_batch`: no decoding, no
model, no encoding, no delivery reports, no provenance. Fetching is librdkafka's default; `linger.ms` is 0 and output
goes uncompressed. Offsets are committed by the client in the background, whatever became of the output: at most once.

    python raw_copy.py --bootstrap HOST:PORT --source TOPIC --target TOPIC --group GROUP

Prints "ready" once its group has its assignment; SIGTERM ends it, and it prints how many batches and events it had.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import Any

from confluent_kafka import Consumer, Producer

ROWS_MAX = 1000
IDLE_S_MAX = 0.1

stop = False


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "source", "target", "group"):
        parser.add_argument(f"--{name}", required=True)
    args, _ = parser.parse_known_args()
    signal.signal(signal.SIGTERM, on_signal)
    consumer = Consumer({"bootstrap.servers": args.bootstrap, "group.id": args.group, "auto.offset.reset": "earliest"})
    producer = Producer({"bootstrap.servers": args.bootstrap, "linger.ms": 0})
    consumer.subscribe([args.source], on_assign=lambda *_: print("ready", flush=True))
    batches = count = 0
    while not stop:
        first = consumer.poll(IDLE_S_MAX)
        messages = [] if first is None else [first, *consumer.consume(ROWS_MAX - 1, 0)]
        rows = [{"key": message.key(), "value": message.value()} for message in messages if message.error() is None]
        while rows:
            taken = producer.produce_batch(args.target, rows)
            if taken == len(rows):
                batches, count = batches + 1, count + len(messages)
                break
            rows = [row for row in rows if "_error" in row]  # the queue is full
            for row in rows:
                del row["_error"]
            producer.poll(0.05)
        producer.poll(0)
    left = producer.flush(30)
    consumer.close()
    if left:
        sys.exit(f"{left} messages were not delivered")
    print(json.dumps({"batches": batches, "events": count}), flush=True)


def on_signal(*_: Any) -> None:
    global stop
    stop = True


if __name__ == "__main__":
    main()
