"""Faust: an agent that takes what is there, up to 512 events, and scores it as a batch.

`take_events` waits 5 ms at most for a batch to fill, as librdkafka's linger does. Offsets are committed every 0.5 s, once
the events are through: at least once. No web server and no leader topic; all else is as Faust has it.

Arguments, "ready" and SIGTERM as careful.py.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import faust
from job import Job, arguments

ROWS_MAX = 512
WITHIN_S = 0.005
COMMIT_EVERY_S = 0.5


def main() -> None:
    args = arguments()
    job = Job(args)
    app = faust.App(
        args.group,
        broker=f"kafka://{args.bootstrap}",
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=COMMIT_EVERY_S,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        store="memory://",
        value_serializer="raw",
        key_serializer="raw",
    )
    source = app.topic(args.source, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes)
    target = app.topic(args.target, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes)

    @app.agent(source)
    async def score(stream: Any) -> None:
        async for events in stream.take_events(ROWS_MAX, within=WITHIN_S):
            records = [
                (each.message.partition, each.message.offset, round(each.message.timestamp * 1000), each.message.value)
                for each in events
            ]
            sent = [await target.send(key=key.encode(), value=value) for key, value in job.score(records)]
            await asyncio.gather(*sent)

    @app.on_partitions_assigned.connect
    async def assigned(*_: Any, **__: Any) -> None:
        print("ready", flush=True)

    worker = faust.Worker(app, loglevel="WARNING", quiet=True)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        print(job.told(), flush=True)
        sys.exit(ended.code)
    print(job.told(), flush=True)


if __name__ == "__main__":
    main()
