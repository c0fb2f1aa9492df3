"""From the bell to a free machine: `python -m tests.benchmarks.bell [--times 20]`

Nights of a real `nocturne up` whose bell rings while a trial is being trained: in the middle of an epoch, while two
more runs wait. Measured is how long after the bell the machine is free: the process of the run is gone, its run has
ended in the books, so that the pool is free, and the machine is lent to nobody; and how long until nothing waits in the
queue any more either. The trial must be recorded as paused. Ends with exit code 1 when a machine was not free within
the grace.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestration.lease import is_lent
from tests.faults.faults import is_gone
from tests.faults.house import House, house_at

GRACE = 15.0
"""Seconds; a lab's own nights have 120."""
EPOCHS = 60
"""So many that no trial ends before the bell."""


@dataclass(frozen=True)
class Rung:
    """Seconds from the bell to each of them."""

    gone: float
    """The process that trained."""
    free: float
    """That, and no run of the night works in the books, and nobody has the machine."""
    withdrawn: float
    """All of it, and no run of the night waits in the queue."""
    paused: bool
    """Whether the trial is recorded as paused and nothing else happened to it."""


def ring_once(house: House, rng: random.Random) -> Rung:
    """One night until its bell, at some moment of its training."""
    skip = len(house.epochs_told())
    house.next_evening()
    house.wait_for(lambda: [one for one in house.epochs_told(skip) if one.word == "begun"], 300, "something trains")
    time.sleep(rng.uniform(0.5, 6.0))
    before = {name: house.bench.records.latest("concert", name) for name in house.names}
    process = psutil.Process(house.epochs_told(skip)[-1].pid)
    house.ring()
    bell, gone, free = time.monotonic(), 0.0, 0.0
    while True:
        unfinished = [run for run in house.runs() if run.unfinished()]
        now = time.monotonic() - bell
        assert now < 10 * GRACE, house.said()
        gone = gone or (now if is_gone(process) else 0.0)
        is_free = gone and all(run.waits() for run in unfinished) and not is_lent(house.bench.lab)
        free = free or (now if is_free else 0.0)
        if free and not unfinished:
            break
        time.sleep(0.1)
    withdrawn = time.monotonic() - bell
    after = {name: house.bench.records.latest("concert", name) for name in house.names}
    new = [record for name, record in after.items() if record is not None and record != before[name]]
    return Rung(gone, free, withdrawn, [record.account["status"] for record in new] == ["paused"])


def main() -> int:
    """The table; 1 where the machine was not free within the grace."""
    said = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    said.add_argument("--times", type=int, default=20)
    said.add_argument("--seed", type=int, default=1)
    asked = said.parse_args()
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    rng = random.Random(asked.seed)
    rungs: list[Rung] = []
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        house_at(Path(folder) / "house", trials=5, epochs=EPOCHS, grace=GRACE) as house,
    ):
        for number in range(asked.times):
            if number % 4 == 0:  # else they would be through one day
                house.new_work()
            rungs.append(ring_once(house, rng))
            print(f"{number + 1}: {rungs[-1]}", flush=True)
    print(f"seed {asked.seed}; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for what in ("gone", "free", "withdrawn"):
        seconds = [getattr(one, what) for one in rungs]
        print(f"from the bell to {what:<9} median {statistics.median(seconds):5.1f} s, at most {max(seconds):5.1f} s")
    met = sum(one.free <= GRACE and one.paused for one in rungs)
    print(f"free within the grace of {GRACE:g} s, the trial paused: {met} of {len(rungs)}")
    return 0 if met == len(rungs) else 1


if __name__ == "__main__":
    sys.exit(main())
