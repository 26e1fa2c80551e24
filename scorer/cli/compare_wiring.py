"""From settings to a comparison of two lanes."""

from __future__ import annotations

from scorer.cli.verify_wiring import Scene, chosen_range, from_ms, gathered, since
from scorer.core.comparison import Comparison
from scorer.core.contract import Contract
from scorer.core.errors import ConfigError
from scorer.core.pieces import Asked
from scorer.edges.bundles import read_bundle
from scorer.edges.spill import Spill
from scorer.services.comparing import Comparing
from scorer.services.patience import StoppedError


def comparison(it: Scene, spills: tuple[Spill, Spill], asked: Asked, lanes: tuple[str, str]) -> Comparison:
    """Compares two lanes over what was asked for.

    Raises:
        ConfigError: a topic or a lane is not there, or both lanes are one.
        StoppedError: told to stop.
        TransientError: Kafka does not answer.
    """
    if lanes[0] == lanes[1]:
        raise ConfigError(f"{lanes[0]} and {lanes[1]} are one lane: give live and a lane, or two lanes")
    outputs = [it.where(lane).to_topic for lane in lanes]
    extents = [it.extents.extents(output) for output in outputs]
    chosen = chosen_range(it, asked, {})
    from_then = from_ms(it, asked, chosen)
    made = []
    for lane, output, ends, spill in zip(lanes, outputs, extents, spills, strict=True):
        gathering = gathered(it, spill, chosen, lane)
        gathering.predictions(output, since(it, output, ends, from_then), {})
        made.append(gathering)
    if it.topics.stop.is_set():
        raise StoppedError
    return Comparing(it.decoder, made[0], made[1], Comparison(_contract(it))).run()


def _contract(it: Scene) -> Contract:
    """What was deployed last says which outputs there are; without a deployment, the bundle of the settings."""
    intents = [it.lineage.intents[number] for number in sorted(it.lineage.intents, reverse=True)]
    for intent in intents:
        recipe = it.bundles.recipe(intent.bundle)
        if not isinstance(recipe, str):
            return recipe.model.contract
    return read_bundle(it.stream.bundle).contract
