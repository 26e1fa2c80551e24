"""Every shipped bundle can serve, and is the model that its identity says."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from scorer.cli.wiring import prove
from scorer.core.bundle import IDENTITY_FILES
from scorer.core.errors import ContractError
from scorer.core.model import load_model
from scorer.core.rehearsal import golden_rows
from scorer.core.schema import WriterSchema, writer_schema
from scorer.edges.bundles import CARD, card_front_matter, read_bundle
from scorer.local.events import KEYS, MODELS, OUTPUTS, TOPICS

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "models").glob("*/*/model.toml"))
KINDS = {ROOT / "models" / folder: kind for kind, folder in MODELS.items()}

every_bundle = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "/".join(folder.parts[-2:]))


def schema(topic: str, schema_id: int) -> WriterSchema:
    return writer_schema(schema_id, (ROOT / f"schemas/{topic}.avsc").read_text())


def proved(folder: Path, kind: str, rows_max: int = 1000) -> None:
    prove(read_bundle(folder), [("version 1", schema(TOPICS[kind], 1))], schema(OUTPUTS[kind], 2), rows_max)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The lead model in a folder of its own."""
    return Path(shutil.copytree(ROOT / "models" / MODELS["lead"], tmp_path / "1"))


def test_each_shipped_stream_has_its_bundle_and_there_is_no_other() -> None:
    assert set(KINDS) == set(FOLDERS)


@every_bundle
def test_a_shipped_bundle_can_serve_its_stream_as_the_worker_proves_it(folder: Path) -> None:
    proved(folder, KINDS[folder])


@every_bundle
def test_name_version_entity_and_prediction_are_those_of_its_folder_and_its_stream(folder: Path) -> None:
    contract, kind = read_bundle(folder).contract, KINDS[folder]
    assert (contract.name, contract.version) == folder.parts[-2:]
    assert (contract.entity, contract.prediction) == (KEYS[kind], OUTPUTS[kind])


@every_bundle
def test_golden_rows_are_two_dozen_or_more(folder: Path) -> None:
    assert 24 <= len(golden_rows(load_model(read_bundle(folder)))) <= 32


@every_bundle
def test_the_card_names_the_runtime_and_the_cpu_class_where_bits_are_promised_and_what_the_model_may_be_used_for(
    folder: Path,
) -> None:
    front = card_front_matter(read_bundle(folder).card)
    assert front["runtime"].startswith("onnxruntime 1.")
    assert front["cpu_class"].startswith("x86_64")
    assert front["license"]


@every_bundle
def test_the_identity_can_be_computed_with_nothing_of_ours(folder: Path) -> None:
    digest = hashlib.sha256()
    for name in IDENTITY_FILES:
        content = (folder / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    assert read_bundle(folder).sha256 == digest.hexdigest()


def test_the_card_may_be_corrected_without_becoming_another_model(copy: Path) -> None:
    before = read_bundle(copy).sha256
    card = copy / CARD
    card.write_text(card.read_text() + "\nA correction.\n")
    assert read_bundle(copy).sha256 == before
    card.unlink()
    assert read_bundle(copy).sha256 == before


@pytest.mark.parametrize("name", IDENTITY_FILES)
def test_a_byte_more_in_any_other_file_is_another_model(copy: Path, name: str) -> None:
    before = read_bundle(copy).sha256
    with (copy / name).open("ab") as file:
        file.write(b"\n" if name != "model.onnx" else b"\x2a\x00")  # an empty doc_string
    assert read_bundle(copy).sha256 != before


def test_a_shipped_model_is_refused_with_the_schemas_of_the_other_stream() -> None:
    with pytest.raises(ContractError) as caught:
        proved(ROOT / "models" / MODELS["lead"], "login")
    assert "cannot serve:\n  - event schema version 1: " in str(caught.value)


def test_a_golden_row_off_by_one_bit_is_refused_where_the_card_promises_bits(copy: Path) -> None:
    from scorer.core.model import RUNTIME
    from scorer.edges.machine import cpu_class

    path = copy / "golden.jsonl"
    first, *rest = path.read_text().splitlines()
    row = json.loads(first)
    row["expect"]["score"] *= 1 + 2**-24  # one bit of a float32, in a double
    path.write_text("\n".join([json.dumps(row), *rest]))
    card = copy / CARD
    card.write_text(f"---\nruntime: {RUNTIME}\ncpu_class: another\n---\n")
    proved(copy, "lead", rows_max=64)
    card.write_text(f"---\nruntime: {RUNTIME}\ncpu_class: {cpu_class()}\n---\n")
    with pytest.raises(ContractError, match="golden row 1: score is "):
        proved(copy, "lead", rows_max=64)
