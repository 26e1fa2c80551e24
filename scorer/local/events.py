"""Events of the two shipped streams on this machine: a real file's rows, or samples of the fitted profiles."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scorer.core.errors import ConfigError
from scorer.local import leads, logins

Now = Callable[[int], int]

KEYS = {"lead": "lead_id", "login": "customer_id"}
TOPICS = {"lead": "events.new-lead", "login": "events.login"}
DEPLOYMENTS = "scorer.deployments"
OUTPUTS = {"lead": "predictions.lead-score", "login": "predictions.recommendation"}
MODELS = {"lead": "lead/1", "login": "recommend/1"}


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one kind.

    Attributes:
        kind: lead or login.
        events: in order.
        real: whether they come from a real file.
    """

    kind: str
    events: Iterator[Mapping[str, Any]]
    real: bool


def from_file(path: Path, now: Now) -> Events:
    """The events of a real file, its kind told by its header.

    Args:
        path: Bank Marketing (bank-additional-full.csv) or Online Retail, plain or .gz.
        now: number of a lead to its occurred_at, as that file has no times.

    Raises:
        ConfigError: the file is missing or is neither; or, when its events are taken, a row is broken.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            header = lines.readline()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {_why(error)}") from error
    if "InvoiceNo" in header:
        return Events("login", _named(path, lambda: logins.read_logins(path)), True)
    if "poutcome" in header:
        return Events("lead", _named(path, lambda: leads.read_leads(path, now)), True)
    raise ConfigError(
        f"{path} is neither Bank Marketing (';'-separated, has poutcome) nor Online Retail (has InvoiceNo)"
    )


def _named(path: Path, read: Callable[[], Iterator[Mapping[str, Any]]]) -> Iterator[Mapping[str, Any]]:
    """The events that are read, when they are taken; what is wrong with the file names it."""
    try:
        yield from read()
    except (OSError, EOFError, zlib.error, csv.Error, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {_why(error)}") from error


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def samples(kind: str, count: int, seed: int, now: Now) -> Events:
    """Events drawn from the profile of a kind; no data file needed.

    Args:
        kind: lead or login.
        count: how many.
        seed: the same seed gives the same events.
        now: number of an event to its occurred_at, milliseconds.
    """
    if kind == "lead":
        return Events(kind, leads.sample_leads(leads.load_profile(), count, seed, now), False)
    return Events(kind, logins.sample_logins(logins.load_profile(), count, seed, now), False)
