"""How the process ends: exit codes, and errors as messages on stderr."""

from __future__ import annotations

import traceback
from enum import IntEnum
from typing import TextIO

from scorer.core.errors import ConfigError, ContractError, FencedError, RefusedError, ScorerError, TransientError


class ExitCode(IntEnum):
    """What the exit code says. docs/configuration.md lists the same for people."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    INVALID = 3
    UNREACHABLE = 4
    REJECTED = 5
    FENCED = 6
    INCOMPLETE = 7
    UNEXPLAINED = 8
    INTERRUPTED = 130


def exit_code(error: BaseException) -> ExitCode:
    """The code that an escaped exception stands for."""
    if isinstance(error, ConfigError | ContractError | RefusedError):
        return ExitCode.INVALID
    if isinstance(error, TransientError):
        return ExitCode.UNREACHABLE
    if isinstance(error, FencedError):
        return ExitCode.FENCED
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.FAILURE


def report(error: BaseException, debug: bool, out: TextIO) -> ExitCode:
    """Says what went wrong and what to do: one `error:` line, more lines indented; a traceback only if `debug`."""
    if debug:
        traceback.print_exception(error, file=out)
    print(f"error: {_message(error).replace(chr(10), chr(10) + '  ')}", file=out)
    return exit_code(error)


def text_of(error: BaseException) -> str:
    """What an error says; of one that nobody foresaw its type alone: the text of a library may quote data."""
    return str(error) if isinstance(error, ScorerError | OSError) else type(error).__name__


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, TransientError):
        return f"{error}; waiting may help: check the neighbour's address and run the command again"
    if isinstance(error, ScorerError | OSError):
        return text_of(error)
    return f"{text_of(error)}; this is a bug: run again with SCORER_DEBUG=1 for the traceback and report it"
