"""Which bundle was live at an offset, who put it there and why, over every incarnation of the input topic. Pure.

core/deployments.py says what scores the topic as it is. Here the past counts as well: what was said of a topic of the
same name that was made anew since, and which bundles have ever been live.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from scorer.core.deployments import Activation, Entry, Identity, Intent
from scorer.core.verdicts import Cause, Event, Level, Published, Verdict, bundle_cause, event_cause, forged_why

Starts = dict[int, dict[int, Activation]]
"""Partition to first offset to the activation that counts there."""


@dataclass(slots=True)
class Lineage:
    """The deployments of one stream.

    Attributes:
        group: its consumer group; entries of others are passed over.
        topic_id: tells the input topic as it is from those that had its name before.
        intents: by number.
        ever: every bundle that was live on any partition.
    """

    group: str
    topic_id: str
    intents: dict[int, Intent] = field(default_factory=dict)
    ever: set[Identity] = field(default_factory=set)
    _by_topic: dict[str, Starts] = field(default_factory=dict)

    def apply(self, entries: Iterable[Entry]) -> None:
        """Takes entries in, in the order of their topic."""
        for entry in entries:
            if entry.group != self.group:
                continue
            if isinstance(entry, Intent):
                self.intents[entry.number] = entry
            if not isinstance(entry, Activation):
                continue
            self.ever.add(entry.bundle)
            starts = self._by_topic.pop(entry.source_topic_id, {})
            starts.setdefault(entry.partition, {})[entry.first_offset] = entry
            self._by_topic[entry.source_topic_id] = starts  # the last that was spoken of comes last

    @property
    def recreated(self) -> bool:
        """Whether bundles were live on a topic of the same name before this one."""
        return any(topic_id != self.topic_id for topic_id in self._by_topic)

    def at(self, partition: int, offset: int) -> Activation | None:
        """What was live at an offset: of the topic as it is, else as it was before (a restored topic), else None."""
        earlier = [topic_id for topic_id in reversed(self._by_topic) if topic_id != self.topic_id]
        for topic_id in (self.topic_id, *earlier):
            starts = self._by_topic.get(topic_id, {}).get(partition, {})
            firsts = sorted(starts)
            at = bisect_right(firsts, offset)
            if at:
                return starts[firsts[at - 1]]
        return None

    def changes(self, partition: int, first: int, end: int) -> list[int]:
        """Offsets within first < offset < end from which on another activation may count, ascending."""
        found = {at for starts in self._by_topic.values() for at in starts.get(partition, {})}
        return sorted(at for at in found if first < at < end)

    def preceded(self, activation: Activation, bundle: Identity) -> bool:
        """Whether a bundle was live on that partition, of the same topic, before this activation was."""
        starts = self._by_topic.get(activation.source_topic_id, {}).get(activation.partition, {})
        return any(each.bundle == bundle for first, each in starts.items() if first < activation.first_offset)

    def intent_of(self, activation: Activation) -> Intent | None:
        """Who wanted it: the intent that it carries out, else the newest one for its bundle."""
        named = self.intents.get(activation.intent)
        return named if named is not None else self.intent_for(activation.bundle)

    def intent_for(self, bundle: Identity) -> Intent | None:
        """The newest intent for a bundle: says where it is."""
        found = [number for number, each in self.intents.items() if each.bundle == bundle]
        return self.intents[max(found)] if found else None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an event's place, apart from the event.

    Attributes:
        topic: the stream's input topic.
        recreated: whether it is known to have been made anew.
        lineage: what was live when; None for a lane, whose predictions are taken at their word.
        live: what was live at the event.
    """

    topic: str
    recreated: bool
    lineage: Lineage | None
    live: Activation | None


def before_scoring(published: Published, event: Event, at: Standing) -> Verdict | None:
    """The verdict that needs no scoring; None where the prediction is to be scored again and compared."""
    why = forged_why(published, at.topic)
    if why is not None:
        return Verdict(Level.SURPLUS, Cause.FORGED, why)
    other = event_cause(published, event, at.recreated)
    if other is not None or at.lineage is None:
        return other
    if at.live is None:
        return Verdict(Level.SURPLUS, Cause.FORGED, "nothing was live at that offset")
    # one that was live elsewhere may have scored it too: by a redrive, or again across a deployment
    return None if published.bundle in at.lineage.ever else bundle_cause(published, at.live)


def out_of_turn(published: Published, at: Standing) -> Verdict | None:
    """The verdict on one that comes out right, but with a bundle that was not live at its event; None if it was.

    A dead letter's redrive scores with what is live then: its caller does not ask.
    """
    if at.live is None or at.lineage is None or published.bundle == at.live.bundle:
        return None
    if at.lineage.preceded(at.live, published.bundle):
        return Verdict(Level.SURPLUS, Cause.AGAIN, f"{at.live.bundle.label} has scored it as well")
    return bundle_cause(published, at.live)
