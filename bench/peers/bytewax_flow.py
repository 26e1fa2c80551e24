"""Bytewax: a dataflow that scores what its source gives at once, up to 1,000 events.

Bytewax commits no offsets to Kafka. It keeps them in a recovery store of its own, which is switched on here with an epoch
of 0.5 s, the careful loop's interval: at least once. It reads partitions by itself and belongs to no group. It has no
way to end a flow that reads for ever but to break it off, which is what SIGTERM does here.

Arguments, "ready" and SIGTERM otherwise as careful.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from confluent_kafka import OFFSET_BEGINNING
from job import Job, arguments

ROWS_MAX = 1000
EPOCH = timedelta(seconds=0.5)


def main() -> None:
    args = arguments()
    job = Job(args)

    def score(messages: list[Any]) -> Iterator[Any]:
        records = [(each.partition, each.offset, each.timestamp[1], each.value) for each in messages]
        return (KafkaSinkMessage(key, value) for key, value in job.score(records))

    flow = Dataflow("leads")
    source = KafkaSource([args.bootstrap], [args.source], starting_offset=OFFSET_BEGINNING, batch_size=ROWS_MAX)
    predictions = op.flat_map_batch("score", op.input("events", flow, source), score)
    op.output("predictions", predictions, KafkaSink([args.bootstrap], args.target))

    def on_signal(*_: Any) -> None:
        print(job.told(), flush=True)
        shutil.rmtree(store)
        os._exit(0)

    store = Path(tempfile.mkdtemp())
    init_db_dir(store, 1)
    signal.signal(signal.SIGTERM, on_signal)
    print("ready", flush=True)
    cli_main(flow, epoch_interval=EPOCH, recovery_config=RecoveryConfig(str(store)))


if __name__ == "__main__":
    main()
