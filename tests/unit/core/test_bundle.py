"""A bundle's identity."""

from __future__ import annotations

import codecs
import hashlib

import pytest

from scorer.core.bundle import Bundle
from scorer.core.errors import ContractError

CONTRACT = b"""name = "lead"
version = "7"
entity = "lead_id"
prediction = "p"
[inputs.x]
field = "x"
[outputs.y]
from = "y"
"""
FILES = {"model.onnx": b"graph", "model.toml": b"rules", "golden.jsonl": b"rows"}


def test_the_identity_is_the_sha256_over_name_length_and_bytes_of_the_three_files() -> None:
    text = b"model.onnx\x005\x00graphmodel.toml\x005\x00rulesgolden.jsonl\x004\x00rows"
    assert Bundle("place", FILES).sha256 == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("name", list(FILES))
def test_a_changed_byte_in_any_file_of_the_model_is_another_identity(name: str) -> None:
    assert Bundle("place", FILES | {name: b"other"}).sha256 != Bundle("place", FILES).sha256


def test_bytes_that_move_from_one_file_to_the_next_are_another_identity() -> None:
    moved = FILES | {"model.toml": b"rule", "golden.jsonl": b"srows"}
    assert Bundle("place", moved).sha256 != Bundle("place", FILES).sha256


def test_the_card_the_place_and_the_order_of_files_are_no_part_of_the_identity() -> None:
    other = Bundle("elsewhere", dict(reversed(FILES.items())) | {"notes.txt": b"x"}, card="corrected")
    assert other.sha256 == Bundle("place", FILES).sha256


def test_a_contract_that_is_not_utf_8_is_a_contract_error() -> None:
    with pytest.raises(ContractError, match="UTF-8"):
        _ = Bundle("place", FILES | {"model.toml": b"name = \xff"}).contract


def test_the_label_is_name_and_version_as_in_prediction_ids() -> None:
    assert Bundle("place", FILES | {"model.toml": CONTRACT}).label == "lead/7"


def test_a_byte_order_mark_counts_for_the_identity_and_is_no_part_of_the_contract() -> None:
    plain, marked = (Bundle("place", FILES | {"model.toml": mark + CONTRACT}) for mark in (b"", codecs.BOM_UTF8))
    assert repr(marked.contract) == repr(plain.contract)
    assert marked.sha256 != plain.sha256
