"""A published prediction against its re-scoring: bit-equal, within the tolerance, or different; and why. Pure.

Every field counts except `scored_at`, `lane` and those that name the build; what the build explains is said as a cause.
Causes are a closed list (CAUSES). Nothing is explained by a claim that the prediction makes alone where the event, the
activations or the bundle at hand can be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from scorer.core.compose import PROVENANCE, Origin
from scorer.core.contract import Contract
from scorer.core.deployments import Activation, Identity
from scorer.core.letters import Place
from scorer.core.likeness import BUILD, IGNORED, differing, size, told, within

OF_EVENT = ("event_id", "occurred_at", "source_timestamp", "source_schema_id")
"""Fields that are the event's, whatever the model."""


class Level(StrEnum):
    """How a prediction stands to its re-scoring."""

    EQUAL = "bit_equal"
    CLOSE = "within_tolerance"
    DIFFERENT = "different"
    UNCHECKED = "unchecked"
    MISSING = "missing"
    SURPLUS = "surplus"


class Cause(StrEnum):
    """Why a prediction is not bit-equal, is not there, or is there though it should not be."""

    BUNDLE = "other_bundle_bytes"
    BUILD = "other_build"
    SCHEMA = "other_schema"
    EVENT = "changed_event"
    EVENT_GONE = "event_gone"
    PREDICTION_GONE = "prediction_gone"
    LETTER_GONE = "letter_gone"
    RECREATED = "topic_recreated"
    BATCH = "batch_dependent"
    AGAIN = "scored_again"
    FORGED = "forged"
    UNEXPLAINED = "unexplained"


CAUSES: Mapping[Cause, str] = {
    Cause.BUNDLE: "its bytes are not those that the activation names, those at hand are others, or none are at hand",
    Cause.BUILD: "another runtime, CPU class or version of the scorer made it",
    Cause.SCHEMA: "it was written, or its event is read, with another schema",
    Cause.EVENT: "the event at its place is not the one that was scored",
    Cause.EVENT_GONE: "its event is gone by retention or compaction",
    Cause.PREDICTION_GONE: "predictions of that time are gone by retention or compaction",
    Cause.LETTER_GONE: "its event is rejected, and dead letters of that time are gone by retention",
    Cause.RECREATED: "the input topic was made anew since",
    Cause.BATCH: "the model gives other bits in a batch than alone",
    Cause.AGAIN: "the bundle before scored it too: at least once across a deployment, or before the topic was restored",
    Cause.FORGED: "it does not fit its own fields, its event, or what was live, or another of its id says otherwise",
    Cause.UNEXPLAINED: "nothing explains it",
}
ALARMING = frozenset({Cause.BUNDLE, Cause.EVENT, Cause.FORGED, Cause.UNEXPLAINED})
"""Causes that no operation of a healthy system has."""


@dataclass(frozen=True, slots=True)
class Published:
    """A prediction as its topic holds it.

    Attributes:
        place: in the output topic.
        key: the record's.
        schema_id: what it was written with.
        fields: the record.
    """

    place: Place
    key: bytes | None
    schema_id: int
    fields: Mapping[str, Any]

    @property
    def source(self) -> Place:
        """Partition and offset of the event that it names."""
        return self.fields["source_partition"], self.fields["source_offset"]

    @property
    def bundle(self) -> Identity:
        """The bundle that it names."""
        return Identity(self.fields["model_name"], self.fields["model_version"], self.fields["model_sha256"])

    @property
    def content(self) -> dict[str, Any]:
        """What two predictions of one id have in common."""
        return {name: value for name, value in self.fields.items() if name not in IGNORED}


@dataclass(frozen=True, slots=True)
class Event:
    """An event as the input topic holds it now."""

    digest: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class Rescored:
    """What the core made of the event now.

    Attributes:
        fields: the prediction; None where it was rejected.
        reason: of the rejection, or "".
        schema_id: what it was written with.
        sha256: of the bundle at hand.
        contract: of that bundle.
        origin: this build.
    """

    fields: Mapping[str, Any] | None
    reason: str
    schema_id: int
    sha256: str
    contract: Contract
    origin: Origin


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one prediction.

    Attributes:
        level: how it stands to its re-scoring.
        cause: why it is not bit-equal; None if it is.
        why: for people; no payload.
        fields: names of those that differ.
        size: the largest relative difference of a number, 0 to infinity; for the worst examples.
    """

    level: Level
    cause: Cause | None = None
    why: str = ""
    fields: tuple[str, ...] = ()
    size: float = 0.0

    @property
    def alarming(self) -> bool:
        """Whether somebody has to look."""
        return self.cause in ALARMING


EQUAL = Verdict(Level.EQUAL)


def forged_why(published: Published, topic: str) -> str | None:
    """Why a prediction does not fit its own fields; None if it does."""
    own = published.fields
    partition, offset = published.source
    wanted = prediction_id(published.bundle, own["source_topic"], (partition, offset))
    if own["prediction_id"] != wanted:
        return "prediction_id is not made of its model, version, topic, partition and offset"
    if own["source_topic"] != topic:
        return "it names an input topic that is not the stream's"
    return None


def key_why(published: Published, contract: Contract) -> str | None:
    """Why a prediction's key does not fit; None if it does."""
    entity = published.fields.get(entity_field(contract))
    return None if isinstance(entity, str) and published.key == entity.encode() else "its key is not its entity"


def entity_field(contract: Contract) -> str:
    """The prediction's field with whom it is about."""
    return contract.entity.rpartition(".")[2]


def prediction_id(bundle: Identity, topic: str, place: Place) -> str:
    """The id of the prediction that a bundle makes of an event."""
    return f"{bundle.name}/{bundle.version}/{topic}/{place[0]}/{place[1]}"


def event_cause(published: Published, event: Event, recreated: bool) -> Verdict | None:
    """The verdict where the event is not the one that was scored; None where it is."""
    own = published.fields
    other_bytes, other_time = own["event_digest"] != event.digest, own["source_timestamp"] != event.timestamp
    if not other_bytes and not other_time:
        return None
    what = " and ".join(word for word, is_other in (("bytes", other_bytes), ("timestamp", other_time)) if is_other)
    cause = Cause.RECREATED if recreated and other_time else Cause.EVENT
    return Verdict(Level.UNCHECKED, cause, f"the event's {what} are not those that were scored", ("event_digest",))


def stranger(verdict: Verdict) -> bool:
    """Whether the event differs in bytes and in time: of many, that is another topic and no changed event."""
    return verdict.cause is Cause.EVENT and "bytes and timestamp" in verdict.why


def bundle_cause(published: Published, live: Activation | None) -> Verdict | None:
    """The verdict where the prediction's bundle is not what was live at its event, of the same name and version."""
    own = published.bundle
    if live is None or own == live.bundle:
        return None
    if own.label == live.bundle.label:
        said = f"the activation names sha256 {live.bundle.sha256[:12]}, the prediction {own.sha256[:12]}"
        return Verdict(Level.DIFFERENT, Cause.BUNDLE, said, ("model_sha256",))
    return Verdict(Level.SURPLUS, Cause.FORGED, f"{own.label} was not live at that offset, {live.bundle.label} was")


def judge(published: Published, again: Rescored, alone: Mapping[str, Any] | None = None) -> Verdict:
    """A prediction against its re-scoring, where bundle and event are those that it names or the bundle's bytes differ.

    Args:
        published: the prediction.
        again: what the core makes of its event now.
        alone: the same made in a batch of one, where it was asked for.
    """
    own, contract = published.fields, again.contract
    other_build = tuple(name for name in BUILD if own.get(name) != getattr(again.origin, name))
    if again.fields is None:
        cause = Cause.UNEXPLAINED
        if again.sha256 != own["model_sha256"]:
            cause = Cause.BUNDLE
        elif again.reason in ("unknown_schema", "inadmissible_schema"):
            cause = Cause.SCHEMA
        elif other_build:
            cause = Cause.BUILD
        return Verdict(Level.SURPLUS, cause, f"its event is rejected now: {again.reason}")
    found = differing(own, again.fields)
    if not found:
        why = key_why(published, contract)
        return EQUAL if why is None else Verdict(Level.DIFFERENT, Cause.FORGED, why)
    close = within(own, again.fields, found, contract)
    verdict = Verdict(
        Level.CLOSE if close else Level.DIFFERENT, fields=found, size=size(own, again.fields, found), why=told(found)
    )
    if again.sha256 != own["model_sha256"]:
        hand = f"the bundle at hand has sha256 {again.sha256[:12]}, live was {own['model_sha256'][:12]}"
        return replace(verdict, level=Level.DIFFERENT, cause=Cause.BUNDLE, why=hand)
    foreign = [name for name in found if name in (*OF_EVENT, entity_field(contract), *PROVENANCE)]
    if foreign:
        return replace(verdict, cause=Cause.FORGED, why=f"its {', '.join(foreign)} is not what its event says")
    if published.schema_id != again.schema_id and not any(name in own and name in again.fields for name in found):
        return replace(verdict, cause=Cause.SCHEMA, why=f"schema id {published.schema_id} has other fields")
    if other_build:
        said = ", ".join(f"{name} {own.get(name)}, here {getattr(again.origin, name)}" for name in other_build)
        return replace(verdict, cause=Cause.BUILD, why=said)
    if alone is not None and (differing(alone, again.fields) or not differing(own, alone)):
        return replace(verdict, cause=Cause.BATCH, why="scored alone, the event gives other bits than in a batch")
    return replace(verdict, cause=Cause.UNEXPLAINED)


def settled(verdicts: list[tuple[Published, Verdict]]) -> list[tuple[Published, Verdict]]:
    """The verdicts on all predictions of one event, once they are seen side by side.

    Of several of one id with other contents, those that nothing explains are forged.
    """
    found = []
    for published, before in verdicts:
        verdict = before
        doubles = [
            other
            for other, _ in verdicts
            if other is not published
            and other.fields["prediction_id"] == published.fields["prediction_id"]
            and differing(other.fields, published.fields)
        ]
        if doubles and verdict.cause is Cause.UNEXPLAINED:
            said = f"another prediction of the same id, at {doubles[0].place[0]}:{doubles[0].place[1]}, says otherwise"
            verdict = replace(verdict, level=Level.SURPLUS, cause=Cause.FORGED, why=said)
        found.append((published, verdict))
    return found
