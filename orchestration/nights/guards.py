"""Before a night: does another program hold the GPU, and is there room on the disk? A sentence where it has to wait."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from ml.training import gpu
from ml.training.gpu import GpuHolder
from orchestration.asking import size
from orchestration.hanging import patiently
from orchestration.nights.lab_nights import nights_of_lab
from orchestration.plan import free_bytes
from orchestration.resources import Bench
from storage import durable

CLOCK_SECONDS = 5.0
"""How far a process's start and the time that it noted itself may disagree."""


def holdup(bench: Bench) -> str:
    """Why no trial is begun now, in a sentence: no room on the disk, or the GPU is another program's; "" else."""
    return disk_problem(bench) or gpu_problem(bench)


def gpu_problem(bench: Bench) -> str:
    """Who holds so much of the GPU that a night waits for it; "" where nobody does, or where it is not waited for.

    Runs of this lab are no strangers. Where the driver does not say how much a program holds (Windows), it is let be.
    """
    rules = nights_of_lab(bench.lab)
    if not rules.gpu_wait or not _computes_on_a_gpu(bench):
        return ""
    strangers = strangers_on_gpu(bench, gpu.holders())
    large = [one for one in strangers if one.mib is not None and one.mib > rules.gpu_spares_mib]
    if not large:
        return ""
    named = " and ".join(f"{one.name} (process {one.pid}, {one.mib:,} MiB)" for one in large)
    return (
        f"the GPU is held by {named}: the night waits until that has ended; `gpu_wait: false` in "
        f"{bench.lab.nights_file} lets it begin all the same"
    )


def strangers_on_gpu(bench: Bench, holders: Sequence[GpuHolder]) -> list[GpuHolder]:
    """Those that are no process of this lab."""
    own = {os.getpid(), _lent_to(bench)}
    return [one for one in holders if one.pid not in own and not _works_in(bench.lab.root, one.pid)]


def disk_problem(bench: Bench) -> str:
    """Why nothing may be begun, where less of the disk is free than is to be left free; else ""."""
    rules = nights_of_lab(bench.lab)
    free = free_bytes(bench.lab.root)
    if free >= rules.keep_free_bytes:
        return ""
    return (
        f"{size(free)} are free on the disk of {bench.lab.root}, {size(rules.keep_free_bytes)} are to stay free: "
        f"make room (`nocturne clean` shows what can go), or say another `keep_free_gb` in {bench.lab.nights_file}"
    )


def source_problem(source: Path) -> str:
    """Why a study cannot look at its source now, or ""."""
    try:
        there = patiently(f"is {source} there", source.exists)
    except OSError as problem:
        return f"{source} cannot be read now ({problem.strerror}); see to its drive. It is looked for all night"
    if there:
        return ""
    return f"{source}: no such folder; connect the drive or correct the path. It is looked for all night"


def _computes_on_a_gpu(bench: Bench) -> bool:
    """As far as that was found out; finding it out takes a GPU into use, which is nothing for a daemon."""
    with suppress(FileNotFoundError, durable.Damaged):
        resolved = durable.read_sealed(bench.lab.resolved_machine_file)
        return str(resolved["machine"]["device"]).startswith("cuda")
    return True


def _lent_to(bench: Bench) -> int | None:
    """The process that has the machine of the lab; the one that had it last, while that lives."""
    with suppress(FileNotFoundError, durable.Damaged, psutil.Error):
        said = durable.read_sealed(bench.lab.machine_holder_file)
        since = dt.datetime.fromisoformat(said["since"]).timestamp()
        if psutil.Process(said["pid"]).create_time() <= since + CLOCK_SECONDS:  # ids are given again
            return int(said["pid"])
    return None


def _works_in(lab: Path, pid: int) -> bool:
    """Was the process, or one that started it, told to work in this lab?"""
    try:
        process = psutil.Process(pid)
        chain = [process, *process.parents()]
    except (psutil.Error, OSError):
        return False
    for one in chain:
        try:
            said = one.environ().get("NOCTURNE_LAB")
        except (psutil.Error, OSError):
            continue
        if said and Path(said).absolute() == lab:
            return True
    return False
