"""A worker's limits, as the settings give them."""

from __future__ import annotations

from dataclasses import dataclass, field

from scorer.core.floods import FloodLimit
from scorer.core.ports import BatchLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """A worker's limits, all times in milliseconds."""

    batch: BatchLimits = field(default_factory=BatchLimits)
    flood: FloodLimit = field(default_factory=FloodLimit)
    revoke_ms_max: int = 10_000
    shutdown_ms_max: int = 20_000
