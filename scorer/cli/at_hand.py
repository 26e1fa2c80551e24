"""Bundles as they are where they are looked for, ready to score again what they scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from scorer.cli.settings import Settings, Stream
from scorer.cli.wiring import origin, versions
from scorer.core.bundle import Bundle
from scorer.core.deployments import Identity
from scorer.core.errors import ConfigError, ContractError
from scorer.core.lineage import Lineage
from scorer.core.model import load_model
from scorer.core.proof import prediction_problems, signature_problems
from scorer.core.scoring import Recipe
from scorer.edges.bundles import find_bundle, read_bundle
from scorer.edges.locations import Location, as_location, within


@dataclass(slots=True)
class AtHand:
    """Bundles as they are where they are looked for: by sha256, else by name and version with what bytes they have.

    Attributes:
        folder: NAME/VERSION is looked for there first.
    """

    settings: Settings
    stream: Stream
    registry: Any
    lineage: Lineage
    folder: Location | None
    _known: dict[Identity, Recipe | str] = field(default_factory=dict)

    def recipe(self, bundle: Identity) -> Recipe | str:
        """What scores with a bundle, or why nothing does."""
        if bundle not in self._known:
            self._known[bundle] = self._loaded(bundle)
        return self._known[bundle]

    def _loaded(self, bundle: Identity) -> Recipe | str:
        places = list(dict.fromkeys(self._places(bundle)))
        try:
            return self._made(find_bundle(places, bundle.sha256))
        except (ConfigError, ContractError) as error:
            why = str(error)
        for place in places:
            try:
                other = read_bundle(place)
                if other.label == bundle.label and other.sha256 != bundle.sha256:
                    return self._made(other)
            except (ConfigError, ContractError) as error:
                why = f"{why}; {error}"
        return why

    def _places(self, bundle: Identity) -> Iterator[Location]:
        if self.folder is not None:
            yield within(self.folder, bundle.name, bundle.version)
        for number in sorted(self.lineage.intents, reverse=True):
            if self.lineage.intents[number].bundle == bundle:
                yield as_location(self.lineage.intents[number].place)
        if self.settings.deployments.bundles is not None:
            yield within(self.settings.deployments.bundles, bundle.name, bundle.version)
        yield self.stream.bundle

    def _made(self, bundle: Bundle) -> Recipe:
        """Not proved again with golden rows: its bytes are those that were, or else that is what is said of it.

        Nor against every schema: what upstream has written since, and what later bundles publish, need not fit it.
        """
        model = load_model(bundle)
        problems = signature_problems(model.interface)
        writers = [] if problems else versions(self.registry, self.stream.to_topic)[::-1]
        for _, writer in writers:
            found = prediction_problems(model.interface, writer)
            if not found:
                return Recipe(model, writer, self.stream.to_topic, origin())
            problems = problems or found
        raise ContractError(f"bundle {bundle.place} cannot serve: {problems[0]}")
