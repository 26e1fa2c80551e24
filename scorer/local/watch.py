"""Starts a command for scorer.local.process and, on a leash, ends it with the process that wanted it.

Run as a script, `python -I -S watch.py keep|leash LOG COMMAND...`: it prints the command's process id. With `keep` it
then ends and the command stays. With `leash` it stays as long as the command; should its own standard input close
first, as happens however its starter ends (SIGKILL too), it kills the command.

A pipe and a process rather than PR_SET_PDEATHSIG: that signal comes when the *thread* that forked ends, it needs code
of ours between fork and exec, and exists on Linux alone. Imports nothing but the standard library, to start in 30 ms.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def main(mode: str, log: str, *command: str) -> None:
    """Starts `command` in a session of its own, its output appended to `log`."""
    with open(log, "ab") as output:  # noqa: PTH123 -- pathlib would double the start-up time
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    print(child.pid, flush=True)
    if mode == "keep":
        child.returncode = 0  # not ours to wait for: it belongs to init once we have ended
        return
    threading.Thread(target=_end_with, args=(child,), daemon=True).start()
    sys.stdin.buffer.read()
    child.kill()
    child.wait()


def _end_with(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
