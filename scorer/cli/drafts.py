"""Drafts for a new model: contract (by its ONNX signature and the event's schema), prediction schema, golden rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.core.errors import ConfigError, ContractError

if TYPE_CHECKING:
    from scorer.core.model import Model
    from scorer.core.schema import WriterSchema
    from scorer.core.signature import Tensor

GOLDEN = "golden.jsonl"
ENTITY_HINTS = ("customer_id", "user_id", "lead_id", "entity_id", "id")


def draft_bundle(
    onnx: Path, event: Path, name: str, out: Path, schemas: Path, tell: Callable[[str], None]
) -> tuple[Path, Path]:
    """Writes OUT/NAME/1 and SCHEMAS/predictions.NAME.avsc. Returns both paths.

    `tell` gets a line for each output of the model that is left out.

    Raises:
        ConfigError: one of them is there already, or a file cannot be read or written, or no topic can have the name.
        ContractError: the ONNX file or the schema is no good.
    """
    from scorer.core.model import RUNTIME, signature, unserved
    from scorer.core.onnx_guard import refuse_outside_data
    from scorer.edges.files import read_schema
    from scorer.edges.machine import cpu_class

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ConfigError(f"no topic can be called predictions.{name}: give --name with letters, digits, '.', '_', '-'")
    folder, prediction = out / name / "1", schemas / f"predictions.{name}.avsc"
    for path in (folder, prediction):
        if path.exists():
            raise ConfigError(f"{path} is there already; give another --name, or remove it")
    try:
        graph = onnx.read_bytes()
    except OSError as error:
        raise ConfigError(f"{onnx} cannot be read: {error.strerror}") from error
    refuse_outside_data(graph, str(onnx))
    schema = read_schema(event, 1)
    inputs, outputs = signature(graph, str(onnx))
    entity = _entity(schema)
    fields = _outputs(outputs, entity)
    if not fields:
        raise ContractError(
            f"{onnx} has no output of a served type: export class probabilities as a tensor (no ZipMap)"
        )
    for output, why in unserved(graph, str(onnx)).items():
        tell(f"left out: output {output} {why}")
    front = f"---\nruntime: {RUNTIME}\ncpu_class: {cpu_class()}\n---\n"
    card = f"{front}# {name}\n\nWhat it predicts, from what data, how well.\n"
    contents = {
        folder / "model.onnx": graph,
        folder / "model.toml": _contract(name, entity, inputs, fields, schema).encode(),
        folder / "MODEL_CARD.md": card.encode(),
        prediction: _prediction_schema(name, entity, fields).encode(),
    }
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return folder, prediction


def golden_lines(bundle: Path, events: Path, event_schema: Path, tell: Callable[[str], None]) -> list[str]:
    """Golden rows as JSON lines: each event and the outputs that the model gives for it now.

    `tell` gets what is odd about the events' names, a line each.

    Raises:
        ConfigError: a file cannot be read.
        ContractError: the model does not fit the schema, or an event is rejected; golden rows are good ones.
    """
    from scorer.core.proof import event_problems, signature_problems
    from scorer.core.rehearsal import outcomes
    from scorer.edges.files import read_events, read_schema, unmatched

    if events.suffix == ".avro":
        raise ConfigError(f"{events}: golden rows are JSON, so give events as .jsonl or .csv")
    model = _without_golden_rows(bundle)
    schema = read_schema(event_schema, 1)
    problems = signature_problems(model.interface)
    problems = problems or event_problems(model.interface, [(event_schema.name, schema)])
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ContractError(f"{bundle / 'model.toml'} has to be corrected first:{listed}")
    seen: set[str] = set()
    rows = [dict(event) for event in read_events(events, schema.root, seen)]
    for line in unmatched(events, schema.root, seen):
        tell(line)
    if not rows:
        raise ContractError(f"{events} holds no events")
    expected = outcomes(model, schema, rows)
    return [json.dumps({"event": row, "expect": expect}) for row, expect in zip(rows, expected, strict=True)]


def write_golden(bundle: Path, lines: list[str]) -> int:
    """Writes golden.jsonl. Returns how many rows it replaces.

    Raises:
        ConfigError: it cannot be written.
    """
    from scorer.edges.schema_folder import write_whole

    path = bundle / GOLDEN
    replaced = path.read_bytes().count(b"\n") if path.exists() else 0
    write_whole(path, "".join(f"{line}\n" for line in lines))
    return replaced


def _without_golden_rows(bundle: Path) -> Model:
    """A model whose golden rows may still be missing: an empty file stands in for them while it is read."""
    from scorer.core.model import load_model
    from scorer.edges.bundles import read_bundle

    path = bundle / GOLDEN
    fresh = bundle.is_dir() and not path.exists()
    try:
        if fresh:
            path.touch()
        return load_model(read_bundle(bundle))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        if fresh:
            path.unlink(missing_ok=True)


def _entity(schema: WriterSchema) -> str:
    names = [name for name, _ in schema.root.fields]
    known = [name for name in ENTITY_HINTS if name in names]
    guessed = [name for name in names if name.endswith("_id") and name != "event_id"]
    return (known or guessed or names or ["entity_id"])[0]


def _contract(
    name: str, entity: str, inputs: dict[str, Tensor], fields: dict[str, dict[str, Any]], schema: WriterSchema
) -> str:
    from scorer.core.proof import axes

    lines = [
        f'name = "{name}"',
        'version = "1"',
        f'entity = "{entity}"  # the prediction\'s key',
        f'prediction = "predictions.{name}"',
    ]
    for each in ("event_id", "occurred_at"):
        if schema.root.child(each) is None:
            lines.append(f'{each} = "{each}"  # the event has no such field: say which one it is')
    for each, tensor in inputs.items():
        kind = "string" if tensor.dtype.kind == "O" else tensor.dtype
        lines += ["", f"[inputs.{_key(each)}]  # {kind} {axes(tensor.shape)}", *_input(each, tensor, schema)]
    for field, rule in fields.items():
        lines += ["", f"[outputs.{field}]", *(f"{key} = {json.dumps(value)}" for key, value in rule["toml"].items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    """A key in TOML; exporters give names such as `onnx::Gemm_0` and `float_input.1`."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


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
    return [f"field = {json.dumps(near[0] if near else name)}", 'missing = "reject"  # or a default']


def _outputs(outputs: dict[str, Tensor], entity: str) -> dict[str, dict[str, Any]]:
    """Prediction fields by what the graph gives: probabilities become a score, the rest keeps its name."""
    from scorer.core.compose import PROVENANCE
    from scorer.core.model import AXES_MAX

    kinds = {"f": "float", "i": "long", "b": "boolean", "O": "string"}
    taken = {*PROVENANCE, entity.rpartition(".")[2]}
    fields: dict[str, dict[str, Any]] = {}
    for name, tensor in outputs.items():
        if len(tensor.shape) > AXES_MAX:
            continue
        wide = len(tensor.shape) == 2 and tensor.shape[1] not in (None, 1)
        kind = "double" if tensor.dtype.itemsize == 8 and tensor.dtype.kind == "f" else kinds[tensor.dtype.kind]
        rule = {"from": name, "column": (tensor.shape[1] or 1) - 1} if wide else {"from": name}
        field = "score" if wide and "score" not in taken else _field(name)
        while field in taken:
            field += "_"
        taken.add(field)
        fields[field] = {"avro": kind, "toml": rule}
    return fields


def _field(output: str) -> str:
    """An Avro name for an ONNX output; exporters give names such as `StatefulPartitionedCall:0` and `17`."""
    name = re.sub(r"\W", "_", output.rpartition("/")[2].partition(":")[0], flags=re.ASCII)
    return name if name[:1].isalpha() or name[:1] == "_" else f"output_{name}"


def _prediction_schema(name: str, entity: str, fields: dict[str, dict[str, Any]]) -> str:
    from scorer.core.compose import PROVENANCE

    times = {"source_timestamp", "occurred_at", "scored_at"}
    identity = dict.fromkeys(("prediction_id", "event_id", entity.rpartition(".")[2]))  # event_id may be the entity
    first = [{"name": each, "type": "string"} for each in identity]
    own = [{"name": field, "type": rule["avro"]} for field, rule in fields.items()]
    rest = [
        {"name": each, "type": {"type": "long", "logicalType": "timestamp-millis"} if each in times else kinds[0]}
        for each, kinds in PROVENANCE.items()
        if each not in ("prediction_id", "event_id")
    ]
    record = {"type": "record", "name": _camel(name), "namespace": "predictions", "fields": [*first, *own, *rest]}
    return json.dumps(record, indent=2) + "\n"


def _camel(name: str) -> str:
    words = "".join(part.capitalize() for part in re.split(r"[-_.]", name))
    return f"{'' if words[:1].isalpha() else 'Model'}{words}Prediction"
