"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import confluent_kafka

from scorer.edges.machine import cpu_class, scorer_version
from scorer.local import kafka

FULL_COMPILER = "-XX:TieredStopAtLevel=4"
"""scorer.local starts its servers with Java's quick compiler alone, for short lives. Here the broker runs for minutes:
at 1,000 events/s the full one brings it from 700 us of CPU an event to 400, which is what a real broker has."""
BROKER = (
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:+ExitOnOutOfMemoryError",
)
"""Java's options as Kafka's own scripts have them (kafka-server-start.sh, kafka-run-class.sh). It takes a minute of
load until its compiler is done. A raw copy of 3,000 events/s had a 99th percentile of 3.4 ms beside G1 with its
compiler, and of 10.6 beside a light broker."""
PACKAGES = ("confluent-kafka", "onnxruntime", "pyruhvro", "fastavro", "pyarrow", "numpy")


def machine() -> str:
    """Processor, cores, memory and kernel, in one line."""
    return (
        f"{_first('/proc/cpuinfo', 'model name')} ({cpu_class()}), {os.cpu_count()} cores, "
        f"{int(_first('/proc/meminfo', 'MemTotal').split()[0]) / 1e6:.0f} GB, "
        f"{platform.system()} {platform.release().split('-')[0]}"
    )


def prepare() -> None:
    """Takes nobody's own settings of the scorer into the figures, and gives brokers Java's full compiler."""
    for name in [name for name in os.environ if name.startswith("SCORER_")]:
        del os.environ[name]
    os.environ["_JAVA_OPTIONS"] = FULL_COMPILER


def versions() -> str:
    """Every version that counts, in one line."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"scorer {scorer_version()}, Python {platform.python_version()}, {packages}, "
        f"librdkafka {confluent_kafka.libversion()[0]}, Kafka {kafka.VERSION}"
    )


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
