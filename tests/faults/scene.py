"""One stream of leads under load, with workers, readers and the oracle around it: the stage of every fault test."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.faults.canaries import SECRET, USER, Search
from tests.faults.plugin import Plan
from tests.faults.results import Row
from tests.faults.stage import EXACTLY, registered_schemas, tables_of
from tests.harness.events import encoder, sampled
from tests.harness.fault_kafka import FaultKafka
from tests.harness.fleet import Fleet, fleet
from tests.harness.load import POOL, Load, load
from tests.harness.plain_scorer import PlainScorer
from tests.harness.registry_switches import RegistrySwitches, registry_switches
from tests.harness.topics import (
    PARTITIONS,
    ROOT,
    Topics,
    committed,
    fresh_group,
    stream_topics,
)
from tests.harness.workers import stream, write_settings
from tests.oracle.judge import Broken, Figures, Judge, Seen
from tests.oracle.watcher import Watcher, longest_gap_s, read_to_end, watching

STILL_S_MAX = 30.0
READ_S_MAX = 60.0
LOOK_S = 0.1


class Vacuous(AssertionError):  # noqa: N818 -- it is a finding about the test itself
    """O7: the run hit too few faults or records to prove anything."""


class Stuck(AssertionError):  # noqa: N818 -- it is a finding
    """Something that had to come did not; the message has the ends of the workers' logs."""


@dataclass(slots=True)
class Scene:
    """What a test acts on. `began_s` is when the load began."""

    plan: Plan
    test: str
    delivery: str
    kafka: FaultKafka
    registry: RegistrySwitches
    folder: Path
    topics: Topics
    group: str
    fleet: Fleet
    load: Load
    watcher: Watcher
    letters: Watcher
    finish_load: Callable[[], None]
    registered: dict[int, Any]
    began_s: float = field(default_factory=time.monotonic)
    search: Search = field(default_factory=Search)

    def until(self, holds: Callable[[], Any], what: str, wait_s_max: float = 60.0) -> float:
        """Waits until something holds; returns how long it took."""
        started_s = time.monotonic()
        while not holds():
            waited_s = time.monotonic() - started_s
            if waited_s > wait_s_max:
                sent = f"{self.load.number} records sent, {len(self.load.sent)} delivered"
                self.fleet.abort_all()
                raise Stuck(f"not {what} within {wait_s_max:.0f} s; {sent}\n{self.logs()}")
            time.sleep(LOOK_S)
        return time.monotonic() - started_s

    def moves(self, wait_s_max: float = 45.0) -> float:
        """Waits until every partition has given predictions later than now; returns how long it took."""
        moment_s = time.monotonic()
        self.ask()
        return self.until(lambda: self.watcher.moved_since(moment_s, PARTITIONS), "publishing again", wait_s_max)

    def ask(self) -> None:
        """Reads what the workers tell of themselves over HTTP, and searches it."""
        for name in sorted(self.fleet.wanted):
            for path, (status, text) in self.fleet.workers[name].pages().items():
                if status:
                    self.search.page(text, path)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of one event, of all workers."""
        return [line for worker in self.fleet.workers.values() for line in worker.events(name)]

    def logs(self) -> str:
        """The ends of the workers' logs."""
        return "\n".join(f"--- {name}\n{worker.text()[-3000:]}" for name, worker in self.fleet.workers.items())

    def evolve(self) -> int:
        """Writes leads by a new version of their schema from now on; the registry knows it. Returns its id."""
        schema = copy.deepcopy(next(each for each in self.registered.values() if each["name"] == "NewLead"))
        schema["fields"].append({"name": f"note_{len(self.registered)}", "type": "string", "default": ""})
        schema_id = self.registry.add(self.topics.events, schema)
        encode, note = encoder(schema_id, schema), schema["fields"][-1]["name"]
        self.registered[schema_id] = schema
        self.load.writers = replace(self.load.writers, encode=lambda event: encode({**event, note: "new"}))
        return schema_id

    def committed(self) -> dict[int, int]:
        """Partition to the group's next offset."""
        return committed(self.kafka.direct, self.stream_group, self.topics.events)

    @property
    def stream_group(self) -> str:
        """The consumer group."""
        return f"{self.group}.lead"

    def finish(
        self,
        what: str,
        hits: int,
        hits_min: int,
        *,
        unit: str = "",
        records_min: int = 1_000,
        gap_s_max: float = 0.0,
        recovery_s: float | None = None,
        note: str = "",
    ) -> Figures:
        """Ends the load, lets everything be scored, stops the workers, judges, and enters the row of the table.

        Args:
            what: was done, for people.
            hits, hits_min, unit: how often, how often at least, of what.
            records_min: how many records have to have been sent.
            gap_s_max: how long a partition may have given nothing; 0 for any time.
            recovery_s: the longest.
            note: for people.

        Raises:
            Broken: a promise was broken.
            Vacuous: too little happened.
        """
        until_s = time.monotonic()
        self.finish_load()
        stuck = self._catch_up()
        self.ask()
        overdue = len(self.events("stop.overdue"))
        codes = {**self.fleet.dismissed(), **self.fleet.stop_all()}
        findings = [f"O8: {name} ended with {code} when told to stop" for name, code in codes.items() if code]
        findings += [f"O8: {death.name} ended with {death.code} by itself" for death in self.fleet.unplanned]
        findings += ["O8: a worker hung when told to stop"] * (len(self.events("stop.overdue")) > overdue)
        seen, slow = self._seen()
        gap_s = longest_gap_s(self.watcher.records, self.began_s, until_s)
        findings += [f"O8: the stream stands still at {stuck}"] if stuck else []
        findings += [f"O5: {slow}"] if slow else []
        findings += self._canaries(seen)
        if gap_s_max and gap_s > gap_s_max:
            findings.append(f"O8: a partition gave nothing for {gap_s:.1f} s, more than {gap_s_max:.0f} s")
        judge = Judge(self.delivery == EXACTLY, PlainScorer(ROOT / "models" / "lead" / "1"), self.registered)
        judge.findings += findings
        try:
            figures, broken = judge.judge(dict(self.load.sent), seen), None
        except Broken as error:
            figures, broken = error.figures, error
        told = f"{note}; BROKEN: {broken.findings[0]}" if broken else note
        self.plan.rows.append(
            Row(
                self.test, what, self.delivery, f"{hits} {unit}".strip(), figures.records, figures.missing,
                figures.repeats, figures.aborted, gap_s, recovery_s, told,
            )
        )  # fmt: skip
        print(f"{self.test} {self.delivery}: {hits} {unit} {figures} gap {gap_s:.1f} s, recovery {recovery_s}; {note}")
        if broken is not None:
            raise broken
        if hits < hits_min or figures.records < records_min:
            raise Vacuous(f"O7: {hits} hits of {hits_min}, {figures.records} records of {records_min}: proves nothing")
        return figures

    def _catch_up(self) -> dict[int, int]:
        """Waits until all that was sent is committed. Returns where the stream stands if it has stopped before."""
        ends = self.ends()
        latest, since_s = self.committed(), time.monotonic()
        while latest != ends:
            time.sleep(3 * LOOK_S)
            now = self.committed()
            if now != latest:
                latest, since_s = now, time.monotonic()
            if time.monotonic() - since_s > STILL_S_MAX:
                return latest
        return {}

    def ends(self) -> dict[int, int]:
        """Partition to the offset behind the last record that was sent."""
        ends: dict[int, int] = {}
        for partition, offset in list(self.load.sent):
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        return ends

    def _seen(self) -> tuple[Seen, str]:
        direct, topics = self.kafka.direct, self.topics
        predictions = read_to_end(direct, topics.predictions, "read_committed")
        letters = read_to_end(direct, topics.letters, "read_committed")
        deadline_s = time.monotonic() + READ_S_MAX
        slow = ""
        while len(self.watcher.records) < len(predictions) or len(self.letters.records) < len(letters):
            if time.monotonic() > deadline_s:
                slow = "the watching reader did not come to the end"
                break
            time.sleep(LOOK_S)
        uncommitted = read_to_end(direct, topics.predictions, "read_uncommitted")
        watched, letters_watched = list(self.watcher.records), list(self.letters.records)
        return Seen(predictions, watched, uncommitted, letters, letters_watched, self.committed()), slow

    def _canaries(self, seen: Seen) -> list[str]:
        """Where an entity's id, an event's id or a secret shows that should not."""
        assert self.registry.knows(USER, SECRET), "O7: the secret was never used"
        self.search.files(self.folder)
        self.search.headers(seen.predictions, "a prediction")
        self.search.headers(seen.letters, "a dead letter")
        self.plan.searched.update({**self.search.searched, "records": len(self.load.sent)})
        return self.search.told()


@contextmanager
def scene(
    plan: Plan,
    test: str,
    delivery: str,
    kafka: FaultKafka,
    folder: Path,
    *,
    workers: int = 2,
    rate: float = 0.0,
    poison_every: int = 0,
    variables: Mapping[str, str] | Callable[[str], Mapping[str, str]] | None = None,
    **tables: Mapping[str, Any],
) -> Iterator[Scene]:
    """Makes a stream and starts workers `a`, `b`, ...; once they share its partitions, the load begins.

    `variables` are the workers' environment, or a function from a worker's name to it; `tables` are added to what
    scorer.toml has here; None takes a setting away.
    """
    asked = variables if callable(variables) else lambda _: variables or {}

    def environment(name: str) -> Mapping[str, str]:
        return {
            "PYTHONFAULTHANDLER": "1",
            "SCORER_REGISTRY__USERNAME": USER,
            "SCORER_REGISTRY__PASSWORD": SECRET,
            **asked(name),
        }

    with ExitStack() as stack:
        registry = stack.enter_context(registry_switches())
        topics = stack.enter_context(stream_topics(kafka.direct, delete=False, copies=kafka.copies))
        writers, registered = registered_schemas(registry, topics)
        group = fresh_group()

        def settings(name: str) -> Path:
            own = folder / name
            if not (own / "scorer.toml").exists():
                own.mkdir(parents=True)
                streams = [stream("lead", "lead/1", topics, delivery=delivery)]
                mine = tables_of(name, delivery, tables)
                write_settings(own, kafka=kafka.address, registry=registry.url, group=group, streams=streams, **mine)
            return own / "scorer.toml"

        watcher = stack.enter_context(watching(kafka.direct, topics.predictions))
        letters = stack.enter_context(watching(kafka.direct, topics.letters))
        crew = stack.enter_context(fleet(settings, environment))
        leads = sampled("lead", POOL, plan.seed)
        made, finish = stack.enter_context(
            load(
                kafka=kafka.direct,
                topic=topics.events,
                writers=writers,
                leads=leads,
                rate=0.0,
                seed=plan.seed,
                poison_every=poison_every,
            )
        )
        here = Scene(
            plan, test, delivery, kafka, registry, folder, topics, group,
            crew, made, watcher, letters, finish, registered,
        )  # fmt: skip
        names = "abcdefgh"[:workers]
        for name in names:
            crew.start(name)
        here.until(lambda: sum(len(each.owned()) for each in crew.workers.values()) == PARTITIONS, "sharing partitions")
        here.began_s = time.monotonic()
        made.rate = rate or plan.counts.rate
        here.moves()
        yield here
