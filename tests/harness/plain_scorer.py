"""The oracle: scores one event at a time with onnxruntime, and says what the whole prediction has to be.

It reads model.toml itself and shares no code with the scorer; what the two agree on does not rest on either's mistakes.
"""

from __future__ import annotations

import hashlib
import io
import platform
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import onnxruntime as ort

from tests.harness.topics import Raw, schema_id_of

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_FLAGS = (("avx512f", "x86_64-avx512"), ("avx2", "x86_64-avx2"), ("sve", "aarch64-sve"), ("asimd", "aarch64-neon"))


class PlainScorer:
    """One bundle, served the plain way."""

    def __init__(self, bundle: Path) -> None:
        self.contract = tomllib.loads((bundle / "model.toml").read_text(encoding="utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(str(bundle / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.inputs = {each.name: (_TYPES.get(each.type), len(each.shape)) for each in self.session.get_inputs()}
        self.names = [each.name for each in self.session.get_outputs()]
        self.label = f"{self.contract['name']}/{self.contract['version']}"
        self.constants = {
            "model_name": self.contract["name"],
            "model_version": self.contract["version"],
            "model_sha256": _identity(bundle),
            "lane": "live",
            "scorer_version": version("streaming-scorer"),
            "runtime": f"onnxruntime {version('onnxruntime')}",
            "cpu_class": _cpu_class(),
        }

    def outputs(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The prediction's own fields for one event, floats as Python floats of the same value."""
        tensors = {name: self._tensor(name, rule, event) for name, rule in self.contract["inputs"].items()}
        found = dict(zip(self.names, self.session.run(self.names, tensors), strict=True))
        fields: dict[str, Any] = {}
        for name, rule in self.contract["outputs"].items():
            if "from" in rule:
                row = found[rule["from"]][0]
                fields[name] = (row[rule["column"]] if "column" in rule else np.asarray(row).reshape(-1)[0]).item()
            elif "each" in rule:
                columns = {sub: found[source][0].tolist() for sub, source in rule["each"].items()}
                fields[name] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for name, rule in self.contract["outputs"].items():
            if "of" in rule:
                fields[name] = _bucket(fields[rule["of"]], rule["bins"])
        return fields

    def prediction(self, source: Raw, schemas: Mapping[int, Any]) -> dict[str, Any]:
        """All that the prediction of a record has to hold, but for `scored_at`. `schemas` are `parsed`, by id."""
        assert source.value is not None
        event = decoded(source.value, schemas[schema_id_of(source)])
        contract = self.contract
        return {
            "prediction_id": f"{self.label}/{source.topic}/{source.partition}/{source.offset}",
            "event_id": event[contract.get("event_id", "event_id")],
            contract["entity"].split(".")[-1]: str(_dig(event, contract["entity"])),
            **self.outputs(event),
            **self.constants,
            "source_topic": source.topic,
            "source_partition": source.partition,
            "source_offset": source.offset,
            "source_timestamp": source.timestamp,
            "source_schema_id": schema_id_of(source),
            "event_digest": hashlib.blake2b(source.value, digest_size=8).hexdigest(),
            "occurred_at": event[contract.get("occurred_at", "occurred_at")],
        }

    def _tensor(self, name: str, rule: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        dtype, rank = self.inputs[name]
        if "length" in rule:
            items = list(_dig(event, rule["field"]))[: rule["length"]]
            values = items + [rule["pad"]] * (rule["length"] - len(items))
        else:
            paths = rule.get("fields") or [rule["field"]]
            values = [rule["missing"] if (value := _dig(event, path)) is None else value for path in paths]
        array = np.array([values], dtype=object if dtype is None else dtype)
        return array if rank == 2 else array.reshape(-1)


def parsed(schemas: Mapping[int, Any]) -> dict[int, Any]:
    """Schemas as the registry has them, ready for fastavro, logical types left off."""
    return {schema_id: fastavro.parse_schema(_plain(schema)) for schema_id, schema in schemas.items()}


def decoded(value: bytes, schema: Any) -> dict[str, Any]:
    """The event in a framed value, by fastavro; the schema is `parsed`."""
    event = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema)
    assert isinstance(event, dict)
    return event


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if isinstance(schema, dict):
        return {name: _plain(value) for name, value in schema.items() if name != "logicalType"}
    return schema


def _dig(event: Mapping[str, Any], path: str) -> Any:
    value: Any = event
    for name in path.split("."):
        value = None if value is None else value.get(name)
    return value


def _bucket(score: float, bins: Mapping[str, float]) -> str:
    highest_first = sorted(bins.items(), key=lambda pair: pair[1], reverse=True)
    return next((label for label, bound in highest_first if score >= bound), highest_first[-1][0])


def _identity(bundle: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.onnx", "model.toml", "golden.jsonl"):
        content = (bundle / name).read_bytes()
        digest.update(b"%s\0%d\0" % (name.encode(), len(content)) + content)
    return digest.hexdigest()


def _cpu_class() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    words = set(info.split("\n\n", maxsplit=1)[0].split())
    return next(
        (name for flag, name in _FLAGS if flag in words and name.startswith(platform.machine())), platform.machine()
    )
