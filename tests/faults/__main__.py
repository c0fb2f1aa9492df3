"""Nights in which something goes wrong: `python -m tests.faults --seed N [--fault NAME] [--times K] [--strikes S]`

Each fault (without a name: each in turn, after a calm night) strikes in K nights of minutes under a real `nocturne
up`, S times in each that has room for it, at moments that the seed draws; night number i of a fault has the seed N + i,
so that a single one is lived through again. After each night what must hold is looked at, and counted. Exit code 1
where it does not.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.faults.campaign import campaign
from tests.faults.faults import FAULTS, ON_A_DISK_OF_ITS_OWN


def main() -> int:
    """The counts; 1 where an invariant was broken."""
    said = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    said.add_argument("--seed", type=int, default=1)
    said.add_argument("--fault", choices=sorted(FAULTS), action="append")
    said.add_argument("--times", type=int, default=10)
    said.add_argument("--strikes", type=int, default=1)
    asked = said.parse_args()
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    wanted = asked.fault or list(FAULTS)
    own = [fault for fault in wanted if fault in ON_A_DISK_OF_ITS_OWN]
    outcomes = []
    for faults in filter(None, ([fault for fault in wanted if fault not in own], own)):
        try:
            outcomes += campaign(faults, asked.seed, asked.times, asked.strikes, lambda words: print(words, flush=True))
        except PermissionError as problem:
            print(f"{', '.join(faults)}: skipped, {problem}", flush=True)
    print(f"\nseed {asked.seed}; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for outcome in outcomes:
        print(outcome)
    return 1 if any(outcome.broken for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
