"""A process that scores a batch at a time, be it of one record, and may die of it.

It is started anew (spawn), holds the model and the schemas, and knows no Kafka. One batch and one answer are on the
way at a time, so that a death has one cause.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeAlias

from scorer.core.bundle import Bundle
from scorer.core.compose import Origin
from scorer.core.decode import decode
from scorer.core.model import load_model
from scorer.core.records import RecordBatch, Scored
from scorer.core.sandbox import BATCH_S_MAX, START_S_MAX, Death, End, end_of
from scorer.core.schema import Node, WriterSchema
from scorer.core.scoring import Recipe, score_batch
from scorer.core.wire import split_frames
from scorer.edges.machine import end_with_parent

_DECODED = "decoded"

_Told: TypeAlias = tuple[int, str, Node]
"""A schema as it is sent: id, text and tree. The text alone would not do, as logical types are in the tree only."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a recipe is made of, as it can be sent to another process."""

    bundle: Bundle
    writer: _Told
    topic: str
    origin: Origin
    trace: bool
    value_bytes_max: int


class Sandbox:
    """Implements ports.Sandbox.

    Args:
        value_bytes_max: longer values are rejected unread.
        batch_s_max: a batch that takes longer is said to hang.
    """

    def __init__(self, value_bytes_max: int, batch_s_max: float = BATCH_S_MAX) -> None:
        self._value_bytes_max, self._batch_s_max = value_bytes_max, batch_s_max
        self._recipe: Recipe | None = None
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def score(
        self, batch: RecordBatch, schemas: Mapping[int, WriterSchema | str], recipe: Recipe, now_ms: int
    ) -> Scored | Death:
        """See ports.Sandbox."""
        pipe = self._started(recipe)
        if isinstance(pipe, Death):
            return pipe
        known = {number: found if isinstance(found, str) else _told(found) for number, found in schemas.items()}
        decoded = False
        try:
            pipe.send((batch, known, now_ms))
            while pipe.poll(self._batch_s_max):
                answer = pipe.recv()
                if answer != _DECODED:
                    return self._judged(answer, decoded)
                decoded = True
        except (EOFError, OSError):
            return self._died(decoded)
        self.close()
        return Death(End.HUNG, decoded, f"no answer within {self._batch_s_max:.0f} s")

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _started(self, recipe: Recipe) -> Connection | Death:
        """The pipe to a process that waits for batches, or what ended it before: no record can be the cause of that."""
        if self._pipe is not None and recipe is self._recipe:
            return self._pipe
        self.close()
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        parts = _Parts(
            recipe.model.bundle,
            _told(recipe.writer),
            recipe.topic,
            recipe.origin,
            recipe.trace,
            self._value_bytes_max,
        )
        # Not the parts among the arguments: were it killed before it has read a large bundle, start would never return.
        process = spawn.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        self._process, self._pipe, self._recipe = process, ours, recipe
        try:
            ours.send(parts)
            if ours.poll(START_S_MAX):
                ours.recv()
                return ours
        except (EOFError, OSError):
            return Death(End.OUTSIDE, False, f"{self._died(False).detail} while it started")
        self.close()
        return Death(End.OUTSIDE, False, f"no start within {START_S_MAX:.0f} s")

    def _judged(self, answer: Scored | str, decoded: bool) -> Scored | Death:
        return Death(End.RAISED, decoded, answer) if isinstance(answer, str) else answer

    def _died(self, decoded: bool) -> Death:
        assert self._process is not None
        self._process.join(START_S_MAX)
        code = self._process.exitcode or 0
        self.close()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Death(end_of(code), decoded, name)


def _told(schema: WriterSchema) -> _Told:
    return schema.id, schema.text, schema.root


def _serve(pipe: Connection, parent: int) -> None:
    """The other process: scores what comes until nobody sends any more, or its parent ends, even if a record hangs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(parent)
    os.nice(5)
    parts: _Parts = pipe.recv()
    schema = cache(WriterSchema)  # one object for each, since what is made of a schema is kept by its identity
    recipe = Recipe(load_model(parts.bundle), schema(*parts.writer), parts.topic, parts.origin, parts.trace)
    pipe.send("ready")
    while True:
        try:
            batch, known, now_ms = pipe.recv()
        except EOFError:
            return
        schemas = {number: found if isinstance(found, str) else schema(*found) for number, found in known.items()}
        try:
            frames = split_frames(batch.values, parts.value_bytes_max)
            decode(batch, frames, schemas)
            pipe.send(_DECODED)
            pipe.send(score_batch(batch, frames, schemas, recipe, now_ms))
        except Exception as error:  # what escapes would have ended the worker; the type alone, no values
            pipe.send(type(error).__name__)
