"""Who else holds the GPU, as `nvidia-smi` tells it; it gets five seconds, since a driver in trouble hangs it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

QUERY = ("--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits")
SECONDS_TO_ANSWER = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GpuHolder:
    """Another program with memory on a GPU."""

    pid: int
    name: str
    mib: int | None
    """MiB of GPU memory; None where the driver does not say (Windows)."""


def holders() -> list[GpuHolder]:
    """The programs that hold memory on a GPU, this process left out; empty where there is no `nvidia-smi`.

    Where `nvidia-smi` fails or hangs, that is logged and nobody is named: the question must not cost the night.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    told = _ask(program)
    found = [_holder(line) for line in told.splitlines()]
    return [holder for holder in found if holder is not None and holder.pid != os.getpid()]


def describe(found: Sequence[GpuHolder]) -> str:
    """A sentence for a person, who can then close the program; empty when nobody holds the GPU."""
    if not found:
        return ""
    named = [f"{holder.name} (process {holder.pid}{_memory(holder)})" for holder in found]
    return f"the GPU is also held by {', '.join(named)}: close it if training runs out of memory or is slow"


def _memory(holder: GpuHolder) -> str:
    return "" if holder.mib is None else f", {holder.mib:,} MiB"


def _ask(program: str) -> str:
    """What `nvidia-smi` prints; "" after a failure."""
    # No `with`: leaving it waits for the process, and one that hangs inside the driver cannot even be killed.
    process = subprocess.Popen(
        [program, *QUERY],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )
    try:
        told, _ = process.communicate(timeout=SECONDS_TO_ANSWER)
    except subprocess.TimeoutExpired:
        process.kill()
        log.warning("%s gives no answer in %.0f s: who else holds the GPU is unknown", program, SECONDS_TO_ANSWER)
        return ""
    if process.returncode:
        reason = " ".join(told.split())[:200]
        log.warning("%s failed (%d): who else holds the GPU is unknown: %s", program, process.returncode, reason)
        return ""
    return told


def _holder(line: str) -> GpuHolder | None:
    """One line `pid, name, MiB`; the name may hold commas. None for anything else it may print."""
    pid, first, rest = line.partition(",")
    name, second, mib = rest.rpartition(",")
    if not (first and second and pid.strip().isdigit()):
        return None
    mib = mib.strip()
    return GpuHolder(pid=int(pid), name=name.strip(), mib=int(mib) if mib.isdigit() else None)
