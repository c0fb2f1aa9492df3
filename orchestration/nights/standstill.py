"""A run that works and does nothing: its process lives, and computes nothing. Else it would have the machine all night.

A loader that is deadlocked, a read from a drive that hangs: no error comes of it, and no retry. What a process computes
is counted by the system, whatever the process says of itself, so a long evaluation without a word is left alone. One
that waits busily (some GPU drivers do) is not told from one that works.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import dagster as dg
import psutil

from orchestration.lease import is_lent
from orchestration.nights import marks
from orchestration.nights.runs import NightRun, unfinished_runs
from orchestration.reaper import kill_process_of, process_of
from storage import durable
from storage.artifacts import Shelf
from storage.lab import Lab
from storage.leftovers import builders

SHARE = 0.01
"""Of a processor: who computes less than that stands still."""


@dataclass
class Standstill:
    """What the runs of nights had computed when they were looked at before."""

    clock: Callable[[], float] = time.monotonic
    """Seconds; does not go on while the machine sleeps, and nobody sets it."""
    _seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Run to the seconds that its process had computed, and when."""

    def ends(self, instance: dg.DagsterInstance, lab: Lab, patience: float) -> list[str]:
        """Kills what has stood still for `patience` seconds, to be tried again as whatever dies is; in sentences."""
        found, now = [], self.clock()
        seen, self._seen = self._seen, {}
        for one in unfinished_runs(instance):
            run_id = one.run.run_id
            computed = _computed(instance, lab, one)
            if computed is None:
                continue
            before, since = seen.get(run_id, (computed, now))
            if computed < before or computed - before >= SHARE * patience:
                before, since = computed, now
            if now - since >= patience:
                found.append(_end(instance, one, patience))
            else:
                self._seen[run_id] = before, since
        return found


def _computed(instance: dg.DagsterInstance, lab: Lab, found: NightRun) -> float | None:
    """Seconds of a processor that a run's process took, and whoever builds features, for which it may have to wait;
    None where it has no process, or waits for its turn on the machine."""
    if found.run.status != dg.DagsterRunStatus.STARTED:
        return None
    process = process_of(instance, found.run)
    if process is None or (found.part == marks.TRIALS and _waits(lab, process.pid)):
        return None
    others = builders(Shelf(lab.artifacts, "features")) if found.part == marks.DATA else set()
    with suppress(psutil.Error):
        return sum(map(_with_children, {process.pid} | others))
    return None


def _with_children(pid: int) -> float:
    own = psutil.Process(pid)
    return sum(one.cpu_times().user + one.cpu_times().system for one in (own, *own.children(recursive=True)))


def _waits(lab: Lab, pid: int) -> bool:
    """Whether another process has the machine now: then this one may have to wait for it."""
    with suppress(FileNotFoundError, durable.Damaged):
        holder = int(durable.read_sealed(lab.machine_holder_file)["pid"])
        # It stays written down after it has given the machine back, and its id is given again.
        return holder != pid and psutil.pid_exists(holder) and is_lent(lab)
    return False


def _end(instance: dg.DagsterInstance, found: NightRun, patience: float) -> str:
    minutes = f"{patience / 60:.0f} minutes" if patience >= 120 else f"{patience:.0f} seconds"
    said = f"stood still for {minutes}: a read or a lock that never comes back"
    instance.report_engine_event(f"The process of this run {said}. It is killed and tried again.", found.run)
    killed = kill_process_of(instance, found.run) or "its process is gone"
    return f"run {found.run.run_id[:8]} {said}; {killed}"
