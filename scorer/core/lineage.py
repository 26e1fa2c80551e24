"""Which bundle was live at an offset, who put it there and why, over every incarnation of the input topic. Pure.

core/deployments.py says what scores the topic as it is. Here the past counts as well: what was said of a topic of the
same name that was made anew since, and which bundles have ever been live.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from scorer.core.deployments import Activation, Entry, Identity, Intent
from scorer.core.pieces import Span
from scorer.core.replays import Replay
from scorer.core.verdicts import Cause, Event, Level, Published, Verdict, bundle_cause, event_cause, forged_why

Starts = dict[int, dict[int, Activation]]
"""Partition to first offset to the activation that counts there."""


@dataclass(slots=True)
class Lineage:
    """The deployments of one stream.

    Attributes:
        group: its consumer group; entries of others say only which bundles are theirs.
        topic_id: tells the input topic as it is from those that had its name before.
        intents: by number.
        ever: every bundle that was live on any partition.
    """

    group: str
    topic_id: str
    intents: dict[int, Intent] = field(default_factory=dict)
    ever: set[Identity] = field(default_factory=set)
    _by_topic: dict[str, Starts] = field(default_factory=dict)
    _told: list[Activation] = field(default_factory=list)
    _others: set[tuple[str, Identity]] = field(default_factory=set)

    def apply(self, entries: Iterable[Entry]) -> None:
        """Takes entries in, in the order of their topic."""
        for entry in entries:
            if isinstance(entry, Replay):
                continue
            if entry.group != self.group:
                self._others.add((entry.source_topic, entry.bundle))
                continue
            if isinstance(entry, Intent):
                self.intents[entry.number] = entry
                continue
            self.ever.add(entry.bundle)
            self._told.append(entry)
            starts = self._by_topic.pop(entry.source_topic_id, {})
            starts.setdefault(entry.partition, {})[entry.first_offset] = entry
            self._by_topic[entry.source_topic_id] = starts  # the last that was spoken of comes last

    @property
    def recreated(self) -> bool:
        """Whether bundles were live on a topic of the same name before this one.

        A worker with `checks.weak = "off"` does not ask for the topic's identity: that says nothing.
        """
        return any(topic_id not in ("", self.topic_id) for topic_id in self._by_topic)

    def knows(self, bundle: Identity) -> bool:
        """Whether a bundle was live anywhere, or was to be: a redrive scores with what is wanted, live yet or not."""
        return bundle in self.ever or any(each.bundle == bundle for each in self.intents.values())

    def foreign(self, bundle: Identity, topic: str) -> bool:
        """Whether a bundle is another stream's that reads the same topic, and was never this one's."""
        return (topic, bundle) in self._others and not self.knows(bundle)

    def first(self, partition: int) -> int | None:
        """The first offset of the topic as it is from which on anything was live; None if nothing was."""
        return min(self._by_topic.get(self.topic_id, {}).get(partition, {}), default=None)

    def at(self, partition: int, offset: int) -> Activation | None:
        """What was live at an offset: of the topic as it is, else as it was before (a restored topic), else None."""
        earlier = [topic_id for topic_id in reversed(self._by_topic) if topic_id != self.topic_id]
        found = (self._of(topic_id, partition, offset) for topic_id in (self.topic_id, *earlier))
        return next((each for each in found if each is not None), None)

    def _of(self, topic_id: str, partition: int, offset: int) -> Activation | None:
        starts = self._by_topic.get(topic_id, {}).get(partition, {})
        firsts = sorted(starts)
        at = bisect_right(firsts, offset)
        return starts[firsts[at - 1]] if at else None

    def ever_at(self, partition: int, offset: int, bundle: Identity) -> bool:
        """Whether a bundle was live at an offset of the topic as it is, or of one of that name before."""
        found = (self._of(topic_id, partition, offset) for topic_id in self._by_topic)
        return any(each is not None and each.bundle == bundle for each in found)

    def changes(self, partition: int, first: int, end: int) -> list[int]:
        """Offsets within first < offset < end from which on another activation may count, ascending."""
        found = {at for starts in self._by_topic.values() for at in starts.get(partition, {})}
        return sorted(at for at in found if first < at < end)

    def preceded(self, activation: Activation, bundle: Identity) -> bool:
        """Whether a bundle was live on that partition, of the same topic, before this activation was.

        Of the same first offset too: what that one scored was not committed when this one took its place.
        """
        place = activation.source_topic_id, activation.partition
        return any(
            each.bundle == bundle and each.first_offset <= activation.first_offset
            for each in self._told
            if (each.source_topic_id, each.partition) == place
        )

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
    return None if at.lineage.knows(published.bundle) else bundle_cause(published, at.live)


def in_turn(published: Published, verdict: Verdict, at: Standing) -> Verdict:
    """The verdict on one that was scored again and has no dead letter, with whether it was its bundle's turn.

    Asked of every one that nothing is held against yet: another build explains other bits, and no other bundle.
    """
    return verdict if verdict.alarming else out_of_turn(published, at) or verdict


def out_of_turn(published: Published, at: Standing) -> Verdict | None:
    """The verdict on one that comes out right, but with a bundle that was not live at its event; None if it was.

    A dead letter's redrive scores with what is live then: its caller does not ask.
    """
    if at.live is None or at.lineage is None or published.bundle == at.live.bundle:
        return None
    again = at.lineage.preceded(at.live, published.bundle)
    if again or at.lineage.ever_at(*published.source, published.bundle):
        return Verdict(Level.SURPLUS, Cause.AGAIN, f"{at.live.bundle.label} has scored it as well")
    return bundle_cause(published, at.live)


def nowhere(published: Published, at: Standing, extent: Span, *, compacted: bool = False) -> Verdict:
    """The verdict on a prediction at whose event's place the topic holds nothing.

    Args:
        published: it.
        at: what is known of the place; what was live is looked up.
        extent: the first offset that the topic holds, and the one behind the last.
        compacted: whether records may be gone from between others.
    """
    why = forged_why(published, at.topic)
    if why is not None:
        return Verdict(Level.SURPLUS, Cause.FORGED, why)
    if at.lineage is not None and not at.lineage.knows(published.bundle):
        strange = bundle_cause(published, at.lineage.at(*published.source))
        if strange is not None:
            return strange
    (low, high), offset = extent, published.source[1]
    if offset < low:
        return Verdict(Level.UNCHECKED, Cause.EVENT_GONE, f"the topic begins at {low}")
    if at.recreated:
        return Verdict(Level.UNCHECKED, Cause.RECREATED, "the topic that is there now has no event at its place")
    if compacted and offset < high:
        return Verdict(Level.UNCHECKED, Cause.EVENT_GONE, "the topic is compacted, and has no event at its place")
    return Verdict(Level.SURPLUS, Cause.FORGED, "there is no event at its place")
