"""The search for canaries finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.canaries import MARKS, Search
from tests.oracle.watcher import Read

pytestmark = [pytest.mark.faults, pytest.mark.smoke]


@pytest.mark.parametrize("mark", MARKS, ids=["id", "password", "address"])
def test_a_canary_is_found_wherever_it_shows(tmp_path: Path, mark: bytes) -> None:
    log, page, header = Search(), Search(), Search()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.log").write_bytes(b'{"event": "x", "key": "' + mark + b'"}\n')
    log.files(tmp_path)
    page.page(f'failed{{key="{mark.decode()}"}} 1\n', "/metrics")
    header.headers([Read(0, 0, 0, b"key", b"value", [("scorer.detail", b"no " + mark)], 0.0)], "a dead letter")
    assert [len(each.told()) for each in (log, page, header)] == [1, 1, 1]


def test_what_holds_no_canary_is_counted_and_not_told_of(tmp_path: Path) -> None:
    search = Search()
    (tmp_path / "a.log").write_bytes(b'{"event": "stream.running"}\n')
    search.files(tmp_path)
    search.page("up 1\n", "/metrics")
    search.headers([Read(0, 0, 0, MARKS[0], MARKS[0], [("scorer.stage", b"decode")], 0.0)], "a dead letter")
    assert not search.told()
    assert search.searched == {"files": 1, "bytes": 28, "pages": 1, "headers": 1}
