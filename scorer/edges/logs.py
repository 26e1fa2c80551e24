"""Log lines: one event a line, short stable names with fields. JSON unless a terminal reads them.

No payloads and no keys go into a line; where one is needed to find a record again it is hashed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import structlog

from scorer.core.ports import Report

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LOUD = {
    "stream.halted": "error",
    "process.failed": "error",
    "stop.overdue": "warning",
    "kafka.consumer_error": "warning",
    "kafka.error": "warning",
    "kafka.producer_error": "warning",
    "kafka.commit_failed": "warning",
    "kafka.log": "debug",
    "drain.incomplete": "warning",
    "drain.not_committed": "warning",
    "dead_letter.value_omitted": "warning",
    "registry.from_disk": "warning",
    "registry.not_kept": "warning",
    "schema.inadmissible": "warning",
    "schema.unknown": "warning",
    "neighbour.waiting": "warning",
    "transaction.aborted": "warning",
    "transaction.call_failed": "warning",
    "transaction.producer_renewed": "warning",
    "transaction.left_open": "warning",
    "partition.suspect": "warning",
    "record.set_aside": "error",
    "deployment.refused": "error",
    "deployment.settings_differ": "warning",
    "deployments.foreign_records": "warning",
    "sandbox.ended": "warning",
    "topics.weak": "warning",
    "store.waiting": "warning",
    "gateway.starts_over": "warning",
    "tokens.not_read": "warning",
    "http.request": "debug",
    "http.server": "debug",
    "http.failed": "error",
}
"""Events that are not mere information."""


def configure(level: str, form: str) -> None:
    """Sets up logging to standard error, once per process.

    Args:
        level: debug, info, warning or error.
        form: json, console, or auto (console on a terminal).
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def reporter(**bound: Any) -> Report:
    """A function that writes one event, with the bound fields in each line."""
    logger = structlog.get_logger(**bound)

    def report(event: str, fields: Mapping[str, Any]) -> None:
        getattr(logger, _LOUD.get(event, "info"))(event, **fields)

    return report
