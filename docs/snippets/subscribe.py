"""Prints predictions as they come. Needs nothing of the scorer: pip install 'kafka-python[lz4]' fastavro

python subscribe.py 127.0.0.1:9092 http://127.0.0.1:8081/apis/ccompat/v7 predictions.lead-score
"""

import contextlib
import functools
import io
import json
import struct
import sys
import urllib.request

from fastavro import parse_schema, schemaless_reader
from kafka import KafkaConsumer

broker, registry, topic = sys.argv[1:]


@functools.cache  # an id names one schema for ever: ask once
def schema(schema_id: int):
    with urllib.request.urlopen(f"{registry}/schemas/ids/{schema_id}", timeout=10) as answer:
        return parse_schema(json.loads(json.load(answer)["schema"]))


def decode(value: bytes) -> dict:
    zero, schema_id = struct.unpack(">bI", value[:5])  # Confluent's wire format: a zero, the schema's id, Avro
    assert zero == 0, "not in Confluent's wire format"
    return schemaless_reader(io.BytesIO(value[5:]), schema(schema_id))


options = {"auto_offset_reset": "earliest", "isolation_level": "read_committed", "enable_auto_commit": False}
consumer = KafkaConsumer(topic, bootstrap_servers=broker, group_id="python-subscriber", **options)
with contextlib.suppress(KeyboardInterrupt), consumer:  # leaves the group on Ctrl+C
    while True:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:  # a repeat has the same prediction_id; act on lane "live" alone
                if record.value is not None:  # else its key is erased: delete what you keep of it
                    print(json.dumps(decode(record.value), default=str), flush=True)
        consumer.commit()  # only what was dealt with: after a crash the rest comes again
