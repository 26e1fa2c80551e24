"""Rows put aside come back as they were, by bucket and in order, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.errors import ConfigError
from scorer.core.ranges import Aside
from scorer.edges.spill import Spill

asides = st.builds(
    Aside,
    st.integers(0, 2**63 - 1),
    st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)),
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=200),
)


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(asides, max_size=5)), max_size=8))
def test_what_was_put_aside_comes_back_once_and_in_order(puts: list[tuple[int, list[Aside]]]) -> None:
    with Spill() as spill:
        for bucket, rows in puts:
            spill.put(bucket, rows)
        for bucket in range(4):
            assert spill.take(bucket) == [row for own, rows in puts for row in rows if own == bucket]
            assert spill.take(bucket) == []


def test_nothing_is_left_and_a_disk_that_takes_no_more_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Spill() as spill:
        spill.put(0, [Aside(1, (0, 0), b"k", b"v")])
        (folder,) = tmp_path.iterdir()
        (folder / "1").mkdir()
        with pytest.raises(ConfigError, match="TMPDIR"):
            spill.put(1, [Aside(1, (0, 0), b"k", b"v")])
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="TMPDIR"), Spill():
        pass
