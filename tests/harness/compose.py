"""docker-compose.yml and the Dockerfile as data."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
CONFIG = ROOT / "deploy" / "scorer.compose.toml"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile; `stage` counts its FROMs from 0."""

    stage: int
    name: str
    value: str


def services() -> dict[str, dict[str, Any]]:
    """The services of docker-compose.yml, aliases resolved."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


def dockerfile() -> list[Instruction]:
    """The instructions of the Dockerfile in order, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    stage, found = -1, []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, value = line.partition(" ")
            stage += name == "FROM"
            found.append(Instruction(stage, name, value.strip()))
    return found


def image_env() -> dict[str, str]:
    """What the image sets in the environment of every process."""
    last = dockerfile()[-1].stage
    values = [each.value for each in dockerfile() if each.name == "ENV" and each.stage == last]
    return dict(pair.split("=", 1) for value in values for pair in shlex.split(value))


def entrypoint() -> list[str]:
    """The image's entry point."""
    (found,) = [each.value for each in dockerfile() if each.name == "ENTRYPOINT"]
    words: list[str] = json.loads(found)
    return words
