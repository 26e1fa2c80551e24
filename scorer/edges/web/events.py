"""Server-sent events as bytes. Source: WHATWG HTML, "Server-sent events"."""

from __future__ import annotations

from scorer.core.answers import Answer, Kind, Mark, as_json

RETRY_MS = 1_000
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


def answer_event(kind: Kind, answer: Answer, mark: Mark) -> bytes:
    """A prediction, or that its entity is erased; `mark` is where to go on after it."""
    if answer.body is None:
        return b"event: erased\ndata: %b\nid: %b\n\n" % (as_json({kind.entity: answer.entity}), str(mark).encode())
    return b"event: prediction\ndata: {%b\nid: %b\n\n" % (answer.body, str(mark).encode())


def opening_event(mark: Mark) -> bytes:
    """Sent first: how soon to come back, and where from if nothing else comes. It dispatches nothing."""
    return b"retry: %d\nid: %b\n\n" % (RETRY_MS, str(mark).encode())


def beat_event(mark: Mark) -> bytes:
    """A comment that keeps the connection, and the position of those who had nothing to read."""
    return b": beat\nid: %b\n\n" % str(mark).encode()


def gap_event(mark: Mark, reason: str) -> bytes:
    """What came before this mark and after the client's own cannot be had any more."""
    return b"event: gap\ndata: %b\nid: %b\n\n" % (as_json({"reason": reason}), str(mark).encode())
