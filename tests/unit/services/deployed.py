"""The topic of deployments in a worker's world, and entries for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from scorer.core.deployments import Activation, Entry, Identity, Intent
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.scoring import Recipe
from tests.unit.services.samples import BASE_MS, ROOT

if TYPE_CHECKING:
    from tests.unit.services.surroundings import World

GROUP, TOPIC, TOPIC_ID = "scorer.lead", "events.new-lead", "topic-1"
DEPLOYMENTS, DEPLOYMENTS_ID = "scorer.deployments", 77


@cache
def deployments_schema() -> WriterSchema:
    """The shipped schema of the topic of deployments."""
    return writer_schema(DEPLOYMENTS_ID, (ROOT / "schemas/scorer.deployments.avsc").read_text())


def identity(recipe: Recipe) -> Identity:
    """The bundle of a recipe."""
    contract = recipe.model.contract
    return Identity(contract.name, contract.version, recipe.model.bundle.sha256)


def intent(recipe: Recipe, number: int = -1, effective_ms: int | None = None) -> Intent:
    """The bundle of a recipe is to be live."""
    who, why = "operator", "because"
    return Intent(GROUP, "lead", identity(recipe), "place", who, why, BASE_MS, TOPIC, effective_ms, number)


def activation(carried_out: Intent, partition: int, first_offset: int, topic_id: str = TOPIC_ID) -> Activation:
    """An intent was carried out."""
    bundle, number = carried_out.bundle, carried_out.number
    return Activation(GROUP, "lead", bundle, BASE_MS, TOPIC, topic_id, partition, first_offset, number, "elsewhere")


@dataclass
class WorldLog:
    """Implements rollout.Log over a list; an entry's number is its place in it."""

    world: World
    position: int = 0

    def read(self, wait_ms_max: int) -> list[Entry]:  # noqa: ARG002 - the port's name
        found = self.world.deployments[self.position :]
        self.position = len(self.world.deployments)
        return found

    def end(self) -> int:
        return len(self.world.deployments)

    def close(self) -> None:
        """Nothing is open."""
