"""What the model gets of a batch, and who each row is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from scorer.core.columns import Texts, listed, taken
from scorer.core.packed import Array, end_to_end
from scorer.core.records import Rows
from scorer.core.signature import Interface


@dataclass(frozen=True, slots=True)
class Features:
    """What the model gets, and who each row is about. All columns have length n.

    Attributes:
        rows: rows of the RecordBatch, ascending.
        tensors: ONNX input name to an array whose first axis is n.
        entity: entity ids; the predictions' keys.
        event_id: ids of the events.
        occurred_at: int64, milliseconds since the epoch, UTC.
        schema_ids: int32, the writer schema of each event.
    """

    rows: Rows
    tensors: Mapping[str, Array]
    entity: Texts
    event_id: Texts
    occurred_at: npt.NDArray[np.int64]
    schema_ids: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Rows) -> Features:
        """Those rows, in that order."""
        return Features(
            self.rows[indices],
            {name: tensor[indices] for name, tensor in self.tensors.items()},
            taken(self.entity, indices),
            taken(self.event_id, indices),
            self.occurred_at[indices],
            self.schema_ids[indices],
        )


def merged(parts: list[Features], interface: Interface) -> Features:
    """The parts of one batch together, rows ascending."""
    if len(parts) == 1:
        return parts[0]
    whole = [part for part in parts if len(part)]
    if not whole:
        return nothing()
    joined = Features(
        np.concatenate([part.rows for part in whole]),
        {rule.name: end_to_end([part.tensors[rule.name] for part in whole]) for rule in interface.contract.inputs},
        [text for part in whole for text in listed(part.entity)],
        [text for part in whole for text in listed(part.event_id)],
        np.concatenate([part.occurred_at for part in whole]),
        np.concatenate([part.schema_ids for part in whole]),
    )
    return joined.take(np.argsort(joined.rows, kind="stable"))


@lru_cache(maxsize=1)
def nothing() -> Features:
    """No rows at all."""
    empty = np.empty(0, dtype=np.int64)
    return Features(np.empty(0, dtype=np.intp), {}, [], [], empty, empty.astype(np.int32))
