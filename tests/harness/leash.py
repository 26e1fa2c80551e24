"""Runs a command that must not outlive its test: `python -I -S leash.py COMMAND...`, with a pipe as standard input.

It prints the command's process id, and at its end its exit code (negative: the signal that ended it). When the pipe
closes, however the test's process ends, it kills the command. The command's output goes to standard error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress


def main(*command: str) -> None:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    print(child.pid, flush=True)
    threading.Thread(target=_end_with, args=(child,), daemon=True).start()
    sys.stdin.buffer.read()
    child.kill()
    threading.Event().wait()  # the other thread ends us


def _end_with(child: subprocess.Popen[bytes]) -> None:
    code = child.wait()
    with suppress(BrokenPipeError):  # nobody is left to be told
        print(code, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
