"""Records that end the process which decodes them, in the worker as in its sandbox: a crash in native code, a hang.

A `sitecustomize` that only these tests put on the path wraps the core's decode step, so no line of the product knows
of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.harness.topics import ROOT

CRASH, HANG, KILL = "deadly-crash", "deadly-hang", "deadly-kill"
"""In an event's text: a segmentation fault; a loop without end; one SIGKILL, as from outside, and never again."""

_SITE = f'''
import os
import signal
import time
from pathlib import Path

import scorer.core.decode as steps

decode = steps.decode


def deadly(batch, frames, schemas):
    whole = b"".join(value for value in batch.values if value)
    if b"{CRASH}" in whole:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"{HANG}" in whole:
        time.sleep(3600)
    if b"{KILL}" in whole:
        once = Path(__file__).with_name("killed")
        if len(list(once.parent.glob("killed-*"))) < 3:
            once.with_name(f"killed-{{os.getpid()}}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return decode(batch, frames, schemas)


steps.decode = deadly
'''


def deadly(folder: Path) -> Mapping[str, str]:
    """Variables for a process that dies of such records."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SITE)
    return {"PYTHONPATH": f"{folder}:{ROOT}"}
