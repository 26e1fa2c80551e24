"""Quix Streams: a StreamingDataFrame that scores record by record, which is the unit that its `apply` has.

Delivery is at least once, checkpoints are committed every 0.5 s as the careful loop's; all else is as Quix has it.

Arguments, "ready" and SIGTERM as careful.py; the topics exist already.
"""

from __future__ import annotations

from typing import Any

from job import Job, arguments
from quixstreams import Application, message_context

COMMIT_EVERY_S = 0.5


def main() -> None:
    args = arguments()
    job = Job(args)
    app = Application(
        broker_address=args.bootstrap,
        consumer_group=args.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_interval=COMMIT_EVERY_S,
        loglevel="WARNING",
    )
    source = app.topic(args.source, key_deserializer="bytes", value_deserializer="bytes")
    target = app.topic(args.target, key_serializer="bytes", value_serializer="bytes")

    def score(value: bytes, _: Any, timestamp: int, __: Any) -> bytes:
        place = message_context()
        ((_, prediction),) = job.score([(place.partition, place.offset, timestamp, value)])
        return prediction

    # An event's key is its lead_id, which is what predictions are keyed by: it stays.
    app.dataframe(source).apply(score, metadata=True).to_topic(target)
    print("ready", flush=True)
    app.run()
    print(job.told(), flush=True)


if __name__ == "__main__":
    main()
