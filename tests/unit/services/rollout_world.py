"""A worker's world in which a second bundle can be deployed, and what was scored with which."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from scorer.core.bundle import Bundle
from scorer.core.deployments import Activation, Entry, Intent
from scorer.core.model import load_model
from scorer.core.scoring import Recipe
from scorer.core.strict import record_decoder
from scorer.core.wire import PREFIX_BYTES
from tests.unit.services.deployed import intent
from tests.unit.services.samples import recipe
from tests.unit.services.surroundings import World

FIRST, SECOND = "1", "2"


@cache
def under(version: str) -> Recipe:
    """The shipped model under another version, so another bundle."""
    first = recipe()
    text = first.model.bundle.files["model.toml"].decode().replace('version = "1"', f'version = "{version}"')
    files = {**first.model.bundle.files, "model.toml": text.encode()}
    return replace(first, model=load_model(Bundle(version, files)))


def second() -> Recipe:
    """The one that is deployed."""
    return under(SECOND)


def world(*deployments: Entry, exactly_once: bool = False, deployed: bool = True) -> World:
    made = World(exactly_once=exactly_once, deployed=deployed)
    made.recipes[second().model.bundle.sha256] = second()
    made.deployments += deployments
    return made


def load(made: World) -> None:
    """Waits until what is wanted is loaded."""
    made.rollout.look()
    wanted = made.rollout.history.wanted
    assert wanted is not None
    while made.rollout.bundles.ready(wanted.bundle) is None and made.rollout.bundles.refusal(wanted) is None:
        made.stop.wait(0.001)


def deploy(made: World, effective_ms: int | None = None) -> Intent:
    """An operator wants the second bundle; it is loaded."""
    wanted = intent(second(), len(made.deployments), effective_ms)
    made.deployments.append(wanted)
    load(made)
    return wanted


def versions(made: World) -> dict[tuple[int, int], str]:
    """Which version scored which record; each was published once."""
    found: dict[tuple[int, int], str] = {}
    for scored in made.scored:
        for value in scored.outbound.values:
            record = record_decoder(recipe().writer)(value, PREFIX_BYTES)
            place = record["source_partition"], record["source_offset"]
            assert place not in found
            found[place] = record["model_version"]
    return found


def activations(made: World) -> list[tuple[int, int, str]]:
    """Partition, first offset and version of each activation that the worker itself has told."""
    own = [each for each in made.deployments if isinstance(each, Activation) and each.who == "this process"]
    return [(each.partition, each.first_offset, each.bundle.version) for each in own]
