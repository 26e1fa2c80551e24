"""Exceptions named by who must act. Bad data is never an exception: it is a Rejection (see records.py).

    ScorerError
      + ConfigError      the operator: a setting is wrong or a topic is missing. Stops the start.
      + ContractError    the model's owner: bundle, contract and schemas do not fit. Stops the start.
      + TransientError   nobody yet: an outage. Retried; when spent, the process ends uncommitted.
      + HaltError        the operator: going on would lose or flood data. The stream halts, not ready.
          + RefusedError the operator: a neighbour refuses our credentials or a right. At the start, it stops that.
            + ShutOutError nobody yet, in a run: it refuses our credentials, which may just be changing.
      + AbortedError     nobody: a transaction came to nothing. Its records are read again, from what is committed.
      + FencedError      the operator: two instances have one transactional id. The older one ends.

Anything else that escapes is a bug: the process ends, uncommitted, and its supervisor restarts it.
"""

from __future__ import annotations


class ScorerError(Exception):
    """Any failure that the scorer foresees; the message says what to do."""


class ConfigError(ScorerError):
    """A setting is wrong, or the surroundings do not match it."""


class ContractError(ScorerError):
    """A bundle, its contract and the schemas do not fit together."""


class TransientError(ScorerError):
    """An outage of a neighbour: broker, registry, database. Waiting may help."""


class HaltError(ScorerError):
    """The stream must stand still until an operator has looked, since going on would lose or flood data."""


class RefusedError(HaltError):
    """A neighbour refuses our credentials, or denies us a right; somebody must grant it. Trying on changes nothing."""


class ShutOutError(RefusedError):
    """A neighbour refuses our credentials or certificate, or we its own. New credentials may be on their way."""


class AbortedError(ScorerError):
    """A transaction came to nothing, or nobody can say what came of it; what is committed tells where to go on."""


class FencedError(ScorerError):
    """Another instance has taken this one's transactional id; going on would be a second scorer of the same records."""


def pip_install(extra: str) -> str:
    """Returns what to type for an optional part of this project.

    Never by the project's name: it is on no package index, so there that name is free for a stranger.
    """
    return f"pip install '.[{extra}]' in the scorer's checkout"
