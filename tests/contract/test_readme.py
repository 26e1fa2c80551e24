"""The README tells the truth: its snippets are the files that tests run, and its commands exist."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path

import fastavro
import numpy as np
import pytest

from scorer.cli.main import run
from scorer.core.contract import parse_contract
from scorer.core.proof import event_problems, signature_problems
from scorer.core.schema import writer_schema
from scorer.core.signature import Interface, Tensor

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["subscribe.py", "Subscribe.java"])
def test_a_snippet_in_the_readme_is_the_file_that_tests_run(name: str) -> None:
    assert (ROOT / "docs" / "snippets" / name).read_text(encoding="utf-8").strip() in README


def test_every_page_and_folder_that_the_readme_points_to_is_there() -> None:
    links = set(re.findall(r"\]\(([^)#]+)\)", README))
    assert links
    assert [link for link in sorted(links) if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^ {4}scorer ((?:local|model|config|sink)? ?[a-z]+)", README, re.M)))
)
def test_every_command_that_the_readme_names_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    assert "Examples" in capsys.readouterr().out


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)", README))))
def test_every_make_target_that_the_readme_names_is_one(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def test_the_readmes_own_model_hangs_together_event_export_contract_and_golden_row() -> None:
    own = README[README.index("## Your own model") : README.index("## Subscribe")]
    event, contract = (re.findall(rf"^```{kind}\n(.+?)^```", own, re.M | re.S)[0] for kind in ("json", "toml"))
    schema = writer_schema(1, event)
    (name, columns) = re.findall(r'\("(\w+)", FloatTensorType\(\[None, (\d)\]\)\)', own)[0]
    outputs = {
        "label": Tensor(np.dtype(np.int64), (None,)),
        "probabilities": Tensor(np.dtype(np.float32), (None, 2)),
    }
    interface = Interface(parse_contract(contract), {name: Tensor(np.dtype(np.float32), (None, int(columns)))}, outputs)
    assert signature_problems(interface) == []
    assert event_problems(interface, [("schemas/events.visit.avsc", schema)]) == []
    (row,) = re.findall(r"`(\{.+?\})`", own)
    fastavro.schemaless_writer(BytesIO(), schema.parsed, json.loads(row))
