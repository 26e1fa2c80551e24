"""A bundle: a model's folder as bytes, and its identity. Reading the folder is edges/bundles.py's work."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from scorer.core.contract import Contract, parse_contract
from scorer.core.errors import ContractError

IDENTITY_FILES = ("model.onnx", "model.toml", "golden.jsonl")
"""The files that make a model what it is, in the order in which they are hashed. The card may be corrected."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model's files.

    Attributes:
        place: where it came from, for messages.
        files: name to bytes; holds IDENTITY_FILES.
        card: MODEL_CARD.md, or "".
    """

    place: str
    files: dict[str, bytes]
    card: str = ""

    @cached_property
    def sha256(self) -> str:
        """The identity, in hex: over each file's name, length and bytes, so that no bytes can move between files."""
        digest = hashlib.sha256()
        for name in IDENTITY_FILES:
            digest.update(f"{name}\0{len(self.files[name])}\0".encode())
            digest.update(self.files[name])
        return digest.hexdigest()

    @cached_property
    def contract(self) -> Contract:
        """The parsed model.toml, a byte order mark left out. Raises ContractError where it is wrong."""
        try:
            text = self.files["model.toml"].decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ContractError(f"{self.place}: model.toml is not valid UTF-8: {error}") from error
        return parse_contract(text)

    @property
    def label(self) -> str:
        """Name and version, as in prediction ids."""
        return f"{self.contract.name}/{self.contract.version}"
