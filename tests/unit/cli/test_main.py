from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer

from scorer.cli import main
from scorer.cli.exits import ExitCode, exit_code
from scorer.core.errors import ConfigError, ContractError, HaltError, RefusedError, ScorerError, TransientError

HEAVY = ("pyarrow", "onnxruntime", "confluent_kafka", "fastavro", "numpy", "pydantic", "rich", "structlog")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a"), 3),
        (ContractError("a"), 3),
        (TransientError("a"), 4),
        (RefusedError("a"), 3),
        (HaltError("a"), 1),
        (ScorerError("a"), 1),
        (ValueError("a"), 1),
        (OSError("a"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Makes `scorer` a command that raises what is put into the list."""
    errors: list[BaseException] = []
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise errors.pop()

    monkeypatch.setattr(main, "app", app)
    monkeypatch.delenv("SCORER_DEBUG", raising=False)
    return errors


def test_a_foreseen_error_is_its_message_and_no_traceback(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(ConfigError("first: do this\nsecond"))
    assert main.run([]) == ExitCode.INVALID
    assert capsys.readouterr() == ("", "error: first: do this\n  second\n")


def test_an_outage_says_that_waiting_may_help(failing: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing.append(TransientError("the registry does not answer"))
    assert main.run([]) == ExitCode.UNREACHABLE
    assert "error: the registry does not answer; waiting may help" in capsys.readouterr().err


def test_a_bug_is_one_line_that_says_how_to_get_the_traceback(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(ZeroDivisionError("division by zero"))
    assert main.run([]) == ExitCode.FAILURE
    out, err = capsys.readouterr()
    assert err.startswith("error: ZeroDivisionError; this is a bug")
    assert "SCORER_DEBUG=1" in err
    assert len(err.splitlines()) == 1
    assert out == ""


@pytest.mark.parametrize("debug", [False, True])
def test_the_text_of_a_bug_which_may_quote_data_is_told_only_to_those_who_ask_for_the_traceback(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    if debug:
        monkeypatch.setenv("SCORER_DEBUG", "1")
    failing.append(ValueError("could not convert string to float: 'alice@example.org'"))
    assert main.run([]) == ExitCode.FAILURE
    assert ("alice" in capsys.readouterr().err) is debug


@pytest.mark.parametrize(("value", "traced"), [("1", True), ("0", False), ("", False)])
def test_a_traceback_is_printed_only_where_it_was_asked_for(
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    traced: bool,
) -> None:
    monkeypatch.setenv("SCORER_DEBUG", value)
    failing.append(ConfigError("a"))
    assert main.run([]) == ExitCode.INVALID
    err = capsys.readouterr().err
    assert ("Traceback (most recent call last)" in err) is traced
    assert err.endswith("error: a\n")


def test_a_command_may_end_with_a_code_of_its_own(failing: list[BaseException]) -> None:
    failing.append(typer.Exit(ExitCode.REJECTED))
    assert main.run([]) == 5


@pytest.mark.parametrize("arguments", [["nothing"], ["config", "nothing"], ["config", "show", "--nothing"]])
def test_an_unknown_command_or_option_is_a_usage_error_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "nothing" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "lead", "--rate", "inf"],
        ["send", "lead", "--rate", "1e300"],
        ["send", "lead", "--seed", "-1"],
        ["send", "lead", "--count", "9" * 23],
        ["score", "events.csv", "--bundle", "models/lead/1", "--limit", "9" * 23],
    ],
)
def test_a_number_that_nothing_could_work_with_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == ExitCode.USAGE
    assert f"{arguments[-2]}': " in capsys.readouterr().err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("scorer ")


def _commands(command: object, path: list[str]) -> list[list[str]]:
    """The paths of all commands, and of the whole."""
    inner: Mapping[str, object] = getattr(command, "commands", {})
    found = [] if inner and path else [path]
    for name, sub in inner.items():
        found += _commands(sub, [*path, name])
    return found


@pytest.mark.parametrize("path", _commands(typer.main.get_command(main.app), []), ids=" ".join)
def test_every_command_has_help_with_an_example_that_names_it(
    path: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Examples:" in out
    assert " ".join(["  scorer", *path]) in out.partition("Examples:")[2]


def test_help_loads_no_client_library_no_runtime_and_no_settings() -> None:
    code = f"import sys, scorer.cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_an_interrupt_ends_with_130_and_no_traceback() -> None:
    code = (
        "import time, typer; from scorer.cli import main\n"
        "app = typer.Typer(rich_markup_mode=None)\n"
        "@app.command()\n"
        "def wait() -> None:\n"
        "    print('waiting', flush=True); time.sleep(30)\n"
        "main.app = app; main.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("SCORER_")},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in err


def _ended(*lines: str) -> subprocess.CompletedProcess[str]:
    """What a process of our entry point leaves; `main` is its module, and the exit handlers of C end it with 77."""
    before = (
        "import ctypes; from scorer.cli import main; libc = ctypes.CDLL(None)",
        "libc.__cxa_atexit(ctypes.cast(libc._exit, ctypes.c_void_p), ctypes.c_void_p(77), None)",
    )
    code = "\n".join([*before, *lines, "main.main()"])
    return subprocess.run([sys.executable, "-E", "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_the_exit_handlers_of_c_which_take_openssl_from_under_librdkafkas_threads_never_run() -> None:
    done = _ended("main.run = lambda _: 4")
    assert done.returncode == 4


def test_pythons_exit_handlers_run_and_what_was_printed_comes_out_whole() -> None:
    done = _ended(
        "import atexit",
        "def run(_):",
        "    atexit.register(print, 'tidied up')",
        "    print('a' * 100_000)",
        "    return 5",
        "main.run = run",
    )
    assert (done.returncode, done.stdout) == (5, f"{'a' * 100_000}\ntidied up\n")


def test_what_escapes_the_entry_point_is_a_failure() -> None:
    done = _ended("def run(_): raise GeneratorExit", "main.run = run")
    assert done.returncode == ExitCode.FAILURE
    assert "GeneratorExit" in done.stderr


def test_output_that_nobody_takes_is_still_an_error() -> None:
    code = "from scorer.cli import main; main.run = lambda _: print('a', end='') or 0; main.main()"
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-E", "-c", code], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode not in (0, -signal.SIGSEGV)
    assert b"No space left" in done.stderr
