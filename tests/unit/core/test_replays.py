"""A replay stands on the topic of deployments as it was said, and changes nothing for whoever scores live."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.deployments import History, encode_entry, entry_of
from scorer.core.pieces import Piece
from scorer.core.replays import KINDS, PROMOTION, REPLAY, Replay, noted
from scorer.core.strict import record_decoder
from scorer.core.wire import PREFIX_BYTES
from tests.unit.services.deployed import deployments_schema

PIECE = Piece({0: (3, 9), 1: (4, 4)})
REPLAYED = Replay(
    REPLAY, "scorer.lead.replay.x", "lead", "x", ("", "", ""), "", "ann@host", "--since 1d", 5, "events", "id", PIECE
)

offsets = st.integers(0, 2**40)
pieces = st.builds(
    Piece,
    st.dictionaries(st.integers(0, 9), st.tuples(offsets, offsets)),
    st.one_of(st.none(), offsets),
    st.one_of(st.none(), offsets),
    st.one_of(st.none(), st.dictionaries(st.integers(0, 9), st.lists(offsets, max_size=5).map(tuple))),
)


@given(pieces, st.sampled_from(sorted(KINDS)), st.sampled_from([("", "", ""), ("lead", "2", "a" * 64)]))
def test_a_replay_comes_back_from_its_bytes_as_it_was(piece: Piece, kind: str, model: tuple[str, str, str]) -> None:
    wanted = replace(REPLAYED, piece=piece, kind=kind, model=model, number=7)
    value = encode_entry(wanted, deployments_schema(), "1.0")
    assert entry_of(record_decoder(deployments_schema())(value, PREFIX_BYTES), 7) == wanted


def test_a_kind_that_is_not_known_is_passed_over_and_not_taken_for_an_activation() -> None:
    value = encode_entry(REPLAYED, deployments_schema(), "1.0")
    record = record_decoder(deployments_schema())(value, PREFIX_BYTES)
    with pytest.raises(KeyError):
        entry_of({**record, "kind": "later"}, 1)


def test_a_replay_is_no_part_of_any_history() -> None:
    history = History(REPLAYED.group, "id")
    assert not history.apply([REPLAYED])
    assert history.wanted is None


def test_of_two_of_one_kind_and_group_the_first_counts() -> None:
    second, other = replace(REPLAYED, asked="--since 2d"), replace(REPLAYED, group="scorer.lead.replay.y")
    entries = [other, replace(REPLAYED, kind=PROMOTION), REPLAYED, second]
    assert noted(entries, REPLAY, REPLAYED.group) is REPLAYED
    assert noted(entries, REPLAY, "scorer.lead.replay.z") is None
