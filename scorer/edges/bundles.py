"""Reads a bundle into memory, from a folder or a URL. What was read is what is hashed, proved and served.

Each file is opened once and read whole, so nothing can change between the check and the use, and a hard link is as good
as a file (package installers make them). A symbolic link may lead to a file inside the folder (mounted volumes do), not
out of it. The ONNX file must hold all its data: core/onnx_guard.py refuses one that would make the runtime read others.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from scorer.core.bundle import IDENTITY_FILES, Bundle
from scorer.core.errors import ConfigError, ContractError, TransientError
from scorer.core.model import ONNX_BYTES_MAX
from scorer.core.onnx_guard import refuse_outside_data
from scorer.edges.locations import Location, within
from scorer.edges.remote import read_remote

CARD = "MODEL_CARD.md"
BYTES_MAX = {"model.onnx": ONNX_BYTES_MAX, "model.toml": 1 << 20, "golden.jsonl": 64 << 20, CARD: 1 << 20}
_NAMES_SHOWN_MAX = 20


def read_bundle(place: Location) -> Bundle:
    """Reads model.onnx, model.toml, golden.jsonl and, if there is one, MODEL_CARD.md.

    Raises:
        ConfigError: there is no such folder, or it cannot be read.
        ContractError: a file is missing, too large, a link out of the folder or no UTF-8, or the model keeps data
            outside its file.
        TransientError: whoever keeps a remote one does not answer.
    """
    files, there = _read_folder(place) if isinstance(place, Path) else read_remote(place, BYTES_MAX)
    missing = [name for name in IDENTITY_FILES if name not in files]
    if missing:
        raise ContractError(_incomplete(place, missing, there))
    for name, content in files.items():
        if len(content) > BYTES_MAX[name]:
            raise ContractError(f"{within(place, name)} has more than {BYTES_MAX[name]} bytes")
    for name in ("model.toml", "golden.jsonl"):
        _decoded(files[name], within(place, name))
    refuse_outside_data(files["model.onnx"], str(within(place, "model.onnx")))
    card = _decoded(files.pop(CARD, b""), within(place, CARD))
    return Bundle(str(place), files, card)


def find_bundle(places: Sequence[Location], sha256: str) -> Bundle:
    """The bundle of that identity, at the first of these places that holds it.

    Raises:
        ConfigError: none does; with what is at each.
        TransientError: none does as far as they answer, and one does not.
    """
    found: list[str] = []
    silent = False
    for place in places:
        try:
            bundle = read_bundle(place)
        except (ConfigError, ContractError, TransientError) as error:
            silent = silent or isinstance(error, TransientError)
            found.append(str(error))
            continue
        if bundle.sha256 == sha256:
            return bundle
        found.append(f"{place} holds another bundle, sha256 {bundle.sha256[:12]}")
    what = f"bundle sha256 {sha256[:12]} is not to be found: {'; '.join(found)}"
    raise TransientError(what) if silent else ConfigError(what)


def card_front_matter(card: str) -> dict[str, str]:
    """The `key: value` lines between the `---` lines that a model card starts with; empty without them.

    The scorer looks at `runtime` and `cpu_class`, where the golden rows are promised bit for bit.
    """
    lines = card.splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    found: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            return found
        key, colon, value = line.partition(":")
        if colon and key.strip():
            found[key.strip()] = value.strip().strip("\"'")
    return {}


def _read_folder(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The files of a bundle, and the names of all that is in its folder."""
    try:
        there = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ConfigError(f"there is no bundle at {folder}: {error.strerror}") from error
    return {name: _read(folder, name) for name in BYTES_MAX if name in there}, there


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve(strict=True)):
            raise ContractError(f"{path} is a link that leaves the bundle's folder")
        with os.fdopen(os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ContractError(f"{path} is not a file")
            content = file.read(BYTES_MAX[name] + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return content


def _decoded(content: bytes, path: Location) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContractError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from error


def _incomplete(place: Location, missing: list[str], there: list[str]) -> str:
    shown = ", ".join(there[:_NAMES_SHOWN_MAX]) + (", ..." if len(there) > _NAMES_SHOWN_MAX else "")
    advice = f"write a first model.toml with: scorer model init {within(place, 'model.onnx')} --schema EVENT.avsc"
    return f"{place} is no bundle: it lacks {', '.join(missing)}; there is {shown or 'nothing'}. {advice}"
