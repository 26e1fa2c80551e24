"""Drafts for a new model: contract (by its ONNX signature and the event's schema), prediction schema, golden rows."""

from __future__ import annotations

import json
import shutil
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.core.errors import ConfigError, ContractError

if TYPE_CHECKING:
    from scorer.core.schema import WriterSchema
    from scorer.core.signature import Tensor

ENTITY_HINTS = ("customer_id", "user_id", "lead_id", "entity_id", "id")


def draft_bundle(onnx: Path, event: Path, name: str, out: Path, schemas: Path) -> tuple[Path, Path]:
    """Writes OUT/NAME/1 and SCHEMAS/predictions.NAME.avsc. Returns both paths.

    Raises:
        ConfigError: one of them is there already, or a file cannot be read.
        ContractError: the ONNX file or the schema is no good.
    """
    from scorer.core.model import RUNTIME, signature
    from scorer.core.schema import writer_schema
    from scorer.edges.machine import cpu_class

    folder, prediction = out / name / "1", schemas / f"predictions.{name}.avsc"
    for path in (folder, prediction):
        if path.exists():
            raise ConfigError(f"{path} is there already; give another --name, or remove it")
    try:
        graph, text = onnx.read_bytes(), event.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error
    schema = writer_schema(1, text)
    inputs, outputs = signature(graph, str(onnx))
    entity = _entity(schema)
    fields = _outputs(outputs)
    folder.mkdir(parents=True)
    shutil.copyfile(onnx, folder / "model.onnx")
    (folder / "model.toml").write_text(_contract(name, entity, inputs, fields, schema), encoding="utf-8")
    front = f"---\nruntime: {RUNTIME}\ncpu_class: {cpu_class()}\n---\n"
    card = f"{front}# {name}\n\nWhat it predicts, from what data, how well.\n"
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    schemas.mkdir(parents=True, exist_ok=True)
    prediction.write_text(_prediction_schema(name, entity, fields), encoding="utf-8")
    return folder, prediction


def golden_lines(bundle: Path, events: Path, event_schema: Path) -> list[str]:
    """Golden rows as JSON lines: each event and the outputs that the model gives for it now.

    Raises:
        ContractError: an event is rejected; golden rows are good ones.
    """
    from scorer.core.model import load_model
    from scorer.core.rehearsal import outcomes
    from scorer.core.schema import writer_schema
    from scorer.edges.bundles import read_bundle
    from scorer.edges.files import read_events

    path = bundle / "golden.jsonl"
    if not path.exists():
        path.write_text("", encoding="utf-8")
    schema = writer_schema(1, event_schema.read_text(encoding="utf-8"))
    rows = [dict(event) for event in read_events(events, schema.root)]
    if not rows:
        raise ContractError(f"{events} holds no events")
    expected = outcomes(load_model(read_bundle(bundle)), schema, rows)
    return [json.dumps({"event": row, "expect": expect}) for row, expect in zip(rows, expected, strict=True)]


def _entity(schema: WriterSchema) -> str:
    names = [name for name, _ in schema.root.fields]
    known = [name for name in ENTITY_HINTS if name in names]
    guessed = [name for name in names if name.endswith("_id") and name != "event_id"]
    return (known or guessed or names)[0]


def _contract(
    name: str, entity: str, inputs: dict[str, Tensor], fields: dict[str, dict[str, Any]], schema: WriterSchema
) -> str:
    lines = [
        f'name = "{name}"',
        'version = "1"',
        f'entity = "{entity}"  # the prediction\'s key',
        f'prediction = "predictions.{name}"',
    ]
    for each, tensor in inputs.items():
        lines += ["", f"[inputs.{each}]  # {'string' if tensor.dtype.kind == 'O' else tensor.dtype} {tensor.shape}"]
        lines += _input(each, tensor, schema)
    for field, rule in fields.items():
        lines += ["", f"[outputs.{field}]", *(f"{key} = {json.dumps(value)}" for key, value in rule["toml"].items())]
    return "\n".join(lines) + "\n"


def _input(name: str, tensor: Tensor, schema: WriterSchema) -> list[str]:
    from scorer.core.columns import Field, Kind, bind_field

    text = tensor.dtype.kind == "O"
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    found = {path: bind_field(schema.root, path) for path, _ in schema.root.fields}
    fitting = [
        path
        for path, field in found.items()
        if isinstance(field, Field) and not field.logical and (field.kind is Kind.TEXT) == text
    ]
    if width is not None and width > 1:
        arrays = [path for path in fitting if getattr(found[path], "array", False)]
        if arrays:
            return [f'field = "{arrays[0]}"', f"length = {width}", f"pad = {json.dumps('' if text else 0.0)}"]
        flat = [path for path in fitting if not getattr(found[path], "array", False)][:width]
        return [f"fields = {json.dumps(flat)}  # {width} of them, in the model's order", 'missing = "reject"']
    near = [name] if name in found else get_close_matches(name, fitting, n=1)
    return [f'field = "{near[0] if near else name}"', 'missing = "reject"  # or a default']


def _outputs(outputs: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Prediction fields by what the graph gives: probabilities become a score, the rest keeps its name."""
    kinds = {"f": "float", "i": "long", "b": "boolean", "O": "string"}
    fields: dict[str, dict[str, Any]] = {}
    for name, tensor in outputs.items():
        wide = len(tensor.shape) == 2 and tensor.shape[1] not in (None, 1)
        kind = "double" if tensor.dtype.itemsize == 8 and tensor.dtype.kind == "f" else kinds[tensor.dtype.kind]
        if wide:
            fields.setdefault("score", {"avro": kind, "toml": {"from": name, "column": (tensor.shape[1] or 1) - 1}})
        else:
            fields[name.split(":")[0]] = {"avro": kind, "toml": {"from": name}}
    return fields


def _prediction_schema(name: str, entity: str, fields: dict[str, dict[str, Any]]) -> str:
    from scorer.core.compose import PROVENANCE

    times = {"source_timestamp", "occurred_at", "scored_at"}
    first = [{"name": each, "type": "string"} for each in ("prediction_id", "event_id", entity.rpartition(".")[2])]
    own = [{"name": field, "type": rule["avro"]} for field, rule in fields.items()]
    rest = [
        {"name": each, "type": {"type": "long", "logicalType": "timestamp-millis"} if each in times else kinds[0]}
        for each, kinds in PROVENANCE.items()
        if each not in ("prediction_id", "event_id")
    ]
    record = {"type": "record", "name": _camel(name), "namespace": "predictions", "fields": [*first, *own, *rest]}
    return json.dumps(record, indent=2) + "\n"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("_", "-").replace(".", "-").split("-")) + "Prediction"
