"""Bundles on their way to being served: loaded, proved and warmed in threads of their own, while scoring goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from scorer.core.deployments import Identity, Intent
from scorer.core.errors import ConfigError, ContractError, RefusedError, TransientError
from scorer.core.ports import Report
from scorer.core.scoring import Recipe
from scorer.services.patience import pause_ms

KEPT_MAX = 3
"""How many loaded bundles are kept: the one before and the one after a boundary, and one to go back to."""

Load = Callable[[Intent], Recipe]
"""Loads, proves and warms a bundle, after its sha256 has been found to be the intent's.

Raises:
    ConfigError, ContractError: it cannot serve, or is not the one; why.
    TransientError, RefusedError: it cannot be had now.
"""


@dataclass(slots=True)
class Bundles:
    """What is loaded, what is being loaded, and what cannot be. Safe for several threads.

    Attributes:
        load: makes a recipe of an intent's bundle.
        report: told of `deployment.ready` and `deployment.refused`.
        stop: set to give up.
        changed: how often a bundle has become ready or was refused.
        failure: what a loading thread has ended with, if it was a bug.
    """

    load: Load
    report: Report
    stop: Event
    changed: int = 0
    failure: Exception | None = None
    _lock: Lock = field(default_factory=Lock)
    _ready: dict[str, Recipe] = field(default_factory=dict)
    _refused: dict[int, str] = field(default_factory=dict)
    _loading: set[int] = field(default_factory=set)

    def ready(self, bundle: Identity) -> Recipe | None:
        """The recipe of a bundle, if it is loaded."""
        with self._lock:
            recipe = self._ready.pop(bundle.sha256, None)
            if recipe is not None:
                self._ready[bundle.sha256] = recipe  # the last used is the last to go
            return recipe

    def refusal(self, intent: Intent) -> str | None:
        """Why the bundle of this intent cannot be served, or None. Another intent for the same one is tried anew."""
        return self._refused.get(intent.number)

    def need(self, intent: Intent) -> None:
        """Has a bundle loaded, unless it is, or cannot be."""
        with self._lock:
            there = intent.bundle.sha256 in self._ready
            if there or intent.number in self._refused or intent.number in self._loading:
                return
            self._loading.add(intent.number)
        Thread(target=self._run, args=(intent,), name="loading", daemon=True).start()

    def load_now(self, intent: Intent) -> None:
        """Loads a bundle before scoring begins.

        Raises:
            ConfigError, ContractError, TransientError: see Load.
        """
        recipe = self.load(intent)
        with self._lock:
            self._ready[intent.bundle.sha256] = recipe

    def _run(self, intent: Intent) -> None:
        told = {"model": intent.bundle.label, "sha256": intent.bundle.sha256}
        failed = 0
        while not self.stop.is_set():
            try:
                recipe = self.load(intent)
            except (TransientError, RefusedError) as error:  # a password or a right that is put right is no verdict
                failed += 1
                wait = pause_ms(failed)
                self.report("neighbour.waiting", {"why": str(error), "attempt": failed, "next_try_ms": wait})
                self.stop.wait(wait / 1000)
                continue
            except (ConfigError, ContractError) as error:
                self.report("deployment.refused", {**told, "place": intent.place, "why": str(error)})
                with self._lock:
                    self._refused[intent.number] = str(error)
            except Exception as error:
                self.failure = error
            else:
                self.report("deployment.ready", told)
                with self._lock:
                    self._ready[intent.bundle.sha256] = recipe
                    for old in list(self._ready)[:-KEPT_MAX]:
                        del self._ready[old]
            break
        with self._lock:
            self._loading.discard(intent.number)
            self.changed += 1
