"""Reading a bundle's folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scorer.core.errors import ConfigError, ContractError
from scorer.edges import bundles
from scorer.edges.bundles import card_front_matter, read_bundle

CONTRACT = 'name = "m"\nversion = "1"\n'
GOLDEN = '{"event": {}, "expect": {}}\n'


def onnx_model() -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.ones((4, 4), np.float32), "W")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "W"], ["y"])], "g", [x], [y], [weights])
    return helper.make_model(graph)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "m" / "1"
    made.mkdir(parents=True)
    (made / "model.onnx").write_bytes(onnx_model().SerializeToString())
    (made / "model.toml").write_text(CONTRACT)
    (made / "golden.jsonl").write_text(GOLDEN)
    return made


def test_a_folder_becomes_a_bundle_of_bytes(folder: Path) -> None:
    (folder / "MODEL_CARD.md").write_text("# A card, with an é\n")
    bundle = read_bundle(folder)
    assert bundle.place == str(folder)
    assert bundle.files == {name: (folder / name).read_bytes() for name in ("model.onnx", "model.toml", "golden.jsonl")}
    assert bundle.card == "# A card, with an é\n"


def test_a_byte_order_mark_stays_in_the_files_and_is_no_part_of_the_cards_text(folder: Path) -> None:
    for name, text in (("model.toml", CONTRACT), ("golden.jsonl", GOLDEN), ("MODEL_CARD.md", "---\nruntime: x\n---\n")):
        (folder / name).write_text(text, "utf-8-sig")
    bundle = read_bundle(folder)
    assert bundle.files["model.toml"] == (folder / "model.toml").read_bytes()
    assert card_front_matter(bundle.card) == {"runtime": "x"}


def test_the_card_may_be_missing_or_corrected_without_another_identity(folder: Path) -> None:
    bare = read_bundle(folder)
    assert bare.card == ""
    (folder / "MODEL_CARD.md").write_text("# A card\n")
    assert read_bundle(folder).sha256 == bare.sha256
    (folder / "golden.jsonl").write_text(GOLDEN * 2)
    assert read_bundle(folder).sha256 != bare.sha256


def test_missing_files_are_named_with_what_is_there_and_what_to_run(folder: Path) -> None:
    for name in ("model.toml", "golden.jsonl"):
        (folder / name).unlink()
    (folder / "notes.txt").touch()
    with pytest.raises(ContractError) as caught:
        read_bundle(folder)
    assert "lacks model.toml, golden.jsonl; there is model.onnx, notes.txt" in str(caught.value)
    assert f"scorer model init {folder}/model.onnx --schema" in str(caught.value)


def test_a_folder_that_is_not_there_is_the_operators(folder: Path) -> None:
    for nowhere in (folder / "2", folder / "model.toml"):
        with pytest.raises(ConfigError, match=f"there is no bundle at {nowhere}"):
            read_bundle(nowhere)


@pytest.mark.parametrize("name", ["model.onnx", "model.toml", "golden.jsonl", "MODEL_CARD.md"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    outside.write_bytes((folder / name).read_bytes() if (folder / name).exists() else b"card")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(ContractError, match=f"{name} is a link that leaves"):
        read_bundle(folder)


def test_links_inside_the_folder_and_to_the_folder_are_followed_as_mounted_volumes_have_them(folder: Path) -> None:
    whole = read_bundle(folder)
    (folder / "..2026").mkdir()
    for name in whole.files:
        (folder / name).rename(folder / "..2026" / name)
        (folder / name).symlink_to(Path("..data") / name)
    (folder / "..data").symlink_to("..2026")
    (folder.parent / "current").symlink_to("1")
    assert read_bundle(folder.parent / "current").sha256 == whole.sha256


def test_a_hard_link_is_a_file_as_package_installers_make_them(folder: Path) -> None:
    os.link(folder / "model.onnx", folder.parent / "elsewhere")
    read_bundle(folder)


@pytest.mark.parametrize("kind", ["fifo", "folder", "dangling link"])
def test_what_is_not_a_file_is_refused_without_hanging(folder: Path, kind: str) -> None:
    (folder / "model.toml").unlink()
    if kind == "fifo":
        os.mkfifo(folder / "model.toml")
    elif kind == "folder":
        (folder / "model.toml").mkdir()
    else:
        (folder / "model.toml").symlink_to("nowhere")
    with pytest.raises((ContractError, ConfigError), match=r"model\.toml (is not a file|cannot be read)"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "model.toml", "golden.jsonl"])
def test_a_file_beyond_its_limit_is_refused(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_there = (folder / name).stat().st_size
    monkeypatch.setitem(bundles.BYTES_MAX, name, bytes_there)
    read_bundle(folder)
    monkeypatch.setitem(bundles.BYTES_MAX, name, bytes_there - 1)
    with pytest.raises(ContractError, match=f"{name} has more than {bytes_there - 1} bytes"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["model.toml", "golden.jsonl", "MODEL_CARD.md"])
def test_text_that_is_no_utf8_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"abc\xff")
    with pytest.raises(ContractError, match=rf"{name} is no UTF-8 text: .* at byte 3"):
        read_bundle(folder)


def test_a_model_with_data_in_another_file_is_refused(folder: Path) -> None:
    onnx.save_model(
        onnx_model(), folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    with pytest.raises(ContractError, match=r"model\.onnx: tensor 'W' keeps its data in another file"):
        read_bundle(folder)


def test_front_matter_gives_the_keys_between_the_lines() -> None:
    card = (
        '---\nruntime: onnxruntime 1.32.0\ncpu_class: "x86_64-avx512"\nsource: a:b\n\nno colon\n---\n# Card\nkey: no\n'
    )
    assert card_front_matter(card) == {
        "runtime": "onnxruntime 1.32.0",
        "cpu_class": "x86_64-avx512",
        "source": "a:b",
    }


@pytest.mark.parametrize(
    "card", ["", "# Card\nruntime: no\n", "\n---\nruntime: late\n---\n", "---\nruntime: endless\n"]
)
def test_a_card_without_front_matter_gives_nothing(card: str) -> None:
    assert card_front_matter(card) == {}
