"""Tokens: what the file may hold, who is let in, and buckets."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scorer.core.answers import Answer
from scorer.core.errors import ConfigError
from scorer.edges.web import limits, tokens
from scorer.edges.web.limits import Buckets
from scorer.edges.web.problems import ProblemError
from scorer.edges.web.question import Question, asked, entity_of
from scorer.edges.web.shape import body_of, popular_of, tag_of
from scorer.edges.web.tokens import Authority, Token, add_token, read_tokens

ENDS = datetime(2030, 1, 1, tzinfo=UTC)
ENDS_MS = int(ENDS.timestamp() * 1000)


def nothing(_: str, __: Mapping[str, Any]) -> None:
    pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def test_a_token_lets_in_until_it_expires_and_reads_its_scopes_alone(path: Path) -> None:
    token = add_token(path, "web", ["ks", "ks:all"], ENDS)
    add_token(path, "other", ["js"], None)
    authority = Authority(path, frozenset({"ks"}), nothing)
    let_in = authority.check(f"Bearer {token}".encode(), ENDS_MS - 1)
    assert let_in is not None
    assert [let_in.allows(scope) for scope in ("ks", "ks:all", "js")] == [True, True, False]
    assert authority.still(let_in, ENDS_MS - 1)
    assert not authority.still(let_in, ENDS_MS)
    for header in (
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        token.encode(),
        f"Basic {token}".encode(),
        f"Bearer {token}x".encode(),
    ):
        assert authority.check(header, 0) is None
    assert authority.check(f"bearer {token}".encode(), ENDS_MS) is None
    assert token not in path.read_text()
    assert hashlib.sha256(token.encode()).hexdigest() in path.read_text()


def test_without_a_file_everybody_reads_everything() -> None:
    authority = Authority(None, frozenset({"ks"}), nothing)
    let_in = authority.check(None, 0)
    assert let_in is not None
    assert let_in.allows("ks")
    assert authority.still(let_in, 0)


def test_a_changed_file_counts_and_one_that_cannot_be_read_leaves_what_was(path: Path) -> None:
    said: list[str] = []
    token = add_token(path, "web", ["ks"], None)
    authority = Authority(path, frozenset(), lambda event, _: said.append(event))
    before = authority.check(f"Bearer {token}".encode(), 0)
    assert before is not None
    authority.reload()
    assert said == []
    path.write_text("broken [")
    authority.reload()
    assert authority.check(f"Bearer {token}".encode(), 0) is not None
    path.write_text("")
    authority.reload()
    assert authority.check(f"Bearer {token}".encode(), 0) is None
    assert not authority.still(before, 0)
    path.unlink()
    authority.reload()
    assert said == ["tokens.not_read", "tokens.read", "tokens.not_read"]


@pytest.mark.parametrize(
    "text",
    [
        "other = 1",
        '[[tokens]]\nname = "a"',
        f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 63}"\nscopes = []',
        f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = [1]',
        f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = "all"',
        f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = []\nexpires = 2030-01-01T00:00:00',
        f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = []\nmore = 1',
        f'[[tokens]]\nname = "a"\nsha256 = "{hashlib.sha256(b"").hexdigest()}"\nscopes = []',
        "tokens = 5",
        'tokens = "none"',
        pytest.param("tokens = " + "[" * 5_000 + "]" * 5_000, id="nested deeper than it is read"),
        2 * f'[[tokens]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = []\n',
        pytest.param("#" * (tokens.FILE_BYTES_MAX + 1), id="larger than what is read of it"),
    ],
)
def test_a_file_of_another_form_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_tokens(path)


@pytest.mark.parametrize("name", ["", "a b", 'a"\n[x]', "x" * 101])
def test_a_name_that_would_not_fit_into_the_file_is_refused(path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        add_token(path, name, ["ks"], None)
    assert not path.exists()


def test_a_byte_order_mark_in_front_is_no_part_of_the_tokens(path: Path) -> None:
    add_token(path, "web", ["ks"], None)
    path.write_text(path.read_text(), "utf-8-sig")
    add_token(path, "other", ["ks"], None)
    assert [token.name for token in read_tokens(path)] == ["web", "other"]


def test_a_name_is_given_once(path: Path) -> None:
    add_token(path, "web", ["ks"], None)
    with pytest.raises(ConfigError, match="already"):
        add_token(path, "web", ["ks"], None)


def test_of_tokens_that_are_made_at_once_none_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, names = tokens._replace, [f"n{at}" for at in range(4)]

    def slowly(path: Path, text: str) -> None:
        time.sleep(0.05)
        replace(path, text)

    monkeypatch.setattr(tokens, "_replace", slowly)
    with ThreadPoolExecutor(len(names)) as pool:
        made = dict(zip(names, pool.map(lambda name: add_token(path, name, ["ks"], None), names), strict=True))
    digests = {token.name: token.digest for token in read_tokens(path)}
    assert digests == {name: hashlib.sha256(token.encode()).digest() for name, token in made.items()}
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_there_keeps_its_mode_and_owner_also_behind_a_link(path: Path, tmp_path: Path) -> None:
    owner = (1234, 4321) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    add_token(path, "web", ["ks"], None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    os.chown(path, *owner)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    add_token(link, "other", ["ks"], None)
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, *owner)
    assert link.is_symlink()
    assert [token.name for token in read_tokens(path)] == ["web", "other"]


def test_a_file_whose_owner_cannot_be_kept_is_left_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    add_token(path, "web", ["ks"], None)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(ConfigError, match="owner"):
        add_token(path, "other", ["ks"], None)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_could_not_be_read_is_read_again_and_said_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> tuple[Token, ...]:
        raise ConfigError("the tokens file cannot be read: Too many open files")

    said: list[str] = []
    add_token(path, "web", ["ks"], None)
    authority = Authority(path, frozenset(), lambda event, _: said.append(event))
    later = add_token(path, "other", ["ks"], None)
    with monkeypatch.context() as patched:
        patched.setattr(tokens, "read_tokens", fail)
        authority.reload()
        authority.reload()
    authority.reload()
    authority.reload()  # the file is as it was read: nothing to tell
    assert authority.check(f"Bearer {later}".encode(), 0) is not None
    assert said == ["tokens.not_read", "tokens.read"]


def test_a_bucket_gives_a_seconds_worth_at_once_then_its_rate_and_each_name_has_its_own() -> None:
    buckets = Buckets(5)
    assert [buckets.take("a", 0.0) for _ in range(5)] == [0.0] * 5
    assert buckets.take("a", 0.0) == pytest.approx(0.2)
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.21) == 0.0
    assert buckets.take("a", 0.22) > 0
    assert [buckets.take("a", 100.0) == 0.0 for _ in range(6)] == [True] * 5 + [False]
    unlimited, rare = Buckets(0), Buckets(0.5)
    assert [unlimited.take("a", 0.0) for _ in range(100)] == [0.0] * 100
    assert [rare.take("a", 0.0), rare.take("a", 0.0)] == [0.0, 2.0]


def test_buckets_of_many_names_are_forgotten_rather_than_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NAMES_MAX", 3)
    buckets = Buckets(5)
    for at in range(20):
        buckets.take(f"n{at}", 0.0)
        assert len(buckets._left) <= 3


@pytest.mark.parametrize(
    ("query", "question"),
    [
        (b"", Question()),
        (b"limit=5&x=y", Question(limit=5)),
        (b"after=a%2Fb%20c&wait_ms=0", Question(after="a/b c", wait_ms=0)),
        (b"limit=1&limit=2", Question(limit=2)),
        (b"limit=1000&wait_ms=5000&after=" + b"x" * 512, Question(1000, "x" * 512, 5_000)),
    ],
    ids=range(5),
)
def test_a_query_is_read(query: bytes, question: Question) -> None:
    assert asked(query, 5_000) == question


def test_who_names_no_wait_waits_no_longer_than_may_be_waited() -> None:
    assert [asked(b"after=a", most).wait_ms for most in (50, 5_000)] == [50, 300]


@pytest.mark.parametrize(
    "query",
    [
        b"limit=0",
        b"limit=1001",
        b"limit=1.0",
        b"limit=",
        b"limit=%C2%B2",
        b"wait_ms=5001",
        b"after=",
        b"after=%ff",
        b"a=\xff",
        b"wait_ms=-1",
        pytest.param(b"limit=" + b"1" * 5_000, id="more digits than Python reads"),
    ],
)
def test_a_query_out_of_its_limits_is_a_422(query: bytes) -> None:
    with pytest.raises(ProblemError) as refused:
        asked(query, 5_000)
    assert refused.value.status == 422


def test_an_id_is_percent_decoded_once() -> None:
    assert entity_of("a%2Fb%2525") == "a/b%25"
    assert entity_of("x" * 512) == "x" * 512
    for encoded, status in (("%ff", 400), ("x" * 513, 422)):
        with pytest.raises(ProblemError) as refused:
            entity_of(encoded)
        assert refused.value.status == status


def test_what_is_popular_is_what_is_named_most_often() -> None:
    def body(*codes: str) -> bytes:
        items = ",".join(f'{{"code":"{code}","score":{at}}}' for at, code in enumerate(codes))
        return f'"id":"x","items":[{items}]}}'.encode()

    assert popular_of([body("a", "b"), body("b", "c"), body("b", "a")]) == (
        "items",
        [{"code": "b", "score": 1 / 3}, {"code": "a", "score": 0.5}],
    )
    assert popular_of([body("a", "b"), body("b")]) == (
        "items",
        [{"code": "b", "score": 0.5}, {"code": "a", "score": 0.0}],
    )
    assert popular_of([b'"id":"x","score":0.5}']) is None
    assert popular_of([]) is None


def test_an_answer_tells_its_age_and_its_tag_whether_it_is_stale_and_how_it_is_cut() -> None:
    answer = Answer("ks", "x", 0, 0, "e1", (0, 0, 0, 0), 100, "t1", b'"items":[1,2,3]}')
    assert body_of(answer, 103, stale=True, limit=2) == b'{"age_ms":3,"stale":true,"fallback":false,"items":[1,2]}'
    assert b'"age_ms":0,' in body_of(answer, 97, stale=False, limit=None)  # scored by a clock that is ahead of ours
    tags = [tag_of(answer, stale=stale, limit=limit) for stale in (False, True) for limit in (None, 1, 2)]
    assert len(set(tags)) == len(tags)
