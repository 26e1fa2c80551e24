"""Which lanes may be promoted, by what stands on the topic of deployments and what the replay's group has committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from scorer.cli.lanes import lane_of
from scorer.cli.promote_run import check_promotable
from scorer.cli.settings import Settings, Stream
from scorer.core.deployments import Entry
from scorer.core.errors import ConfigError
from scorer.core.pieces import Piece
from scorer.core.replays import PROMOTION, REPLAY, REPLAY_DONE, Replay

NAMES = {"from_topic": "events.new-lead", "to_topic": "predictions.lead-score"}
STREAM = Stream.model_validate({"name": "lead", "bundle": Path("models/lead/1"), **NAMES})
LANE = lane_of(Settings(streams=(STREAM,)), STREAM, "x")
PIECE = Piece({0: (3, 9), 1: (4, 4)})
BEGUN = Replay(
    REPLAY, LANE.group, "lead", "x", ("", "", ""), "", "ann@host", "--since 1d", 5, "events.new-lead", "id", PIECE
)
DONE = replace(BEGUN, kind=REPLAY_DONE)
GROUP = "scorer.lead.promote.x"


def refusal(entries: list[Entry], committed: Mapping[int, int], filled: bool) -> str:
    """Why a lane is not promoted, or nothing."""
    try:
        check_promotable(LANE, entries, GROUP, lambda _: committed, lambda: filled)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("entries", "committed", "filled", "said"),
    [
        ([], {}, False, "never begun"),
        ([BEGUN], {}, False, "unfinished, 6 of 6"),
        ([BEGUN], {0: 5, 1: 4}, True, "unfinished, 4 of 6"),
        ([BEGUN, DONE, replace(BEGUN, kind=PROMOTION, group=GROUP)], {0: 9, 1: 4}, True, "promoted already"),
    ],
)
def test_a_lane_that_is_unfinished_or_promoted_is_refused_with_what_to_do(
    entries: list[Entry], committed: Mapping[int, int], filled: bool, said: str
) -> None:
    assert said in refusal(entries, committed, filled)


def test_a_lane_is_complete_by_its_groups_positions_or_once_that_is_written_down() -> None:
    assert refusal([BEGUN], {0: 9, 1: 4}, filled=True) == ""
    assert refusal([BEGUN, DONE], {}, filled=True) == ""


def test_a_lane_whose_positions_are_gone_is_not_called_unfinished() -> None:
    for committed in ({}, {1: 4}):
        said = refusal([BEGUN], committed, filled=True)
        assert "lost its positions" in said
        assert "unfinished" not in said
