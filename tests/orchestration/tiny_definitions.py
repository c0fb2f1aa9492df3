"""Definitions of the tests' own: real assets that need a moment, nothing of Nocturne's studies.

The assets write to the folder NOCTURNE_LAB, as everything that `nocturne up` starts must.
"""

import os
import time
from pathlib import Path

import dagster as dg

from orchestration.instance_home import POOL


def lab() -> Path:
    return Path(os.environ["NOCTURNE_LAB"])


@dg.asset
def quick() -> None:
    (lab() / "quick.txt").write_text(str(os.getpid()))


@dg.asset(pool=POOL)
def slow(context: dg.AssetExecutionContext) -> None:
    """Works until the file `go.txt` appears in the lab, for at most a minute."""
    number = len(list(lab().glob("slow-began-*.txt")))
    (lab() / f"slow-began-{number}.txt").write_text(str(os.getpid()))
    context.log.info("waits for the word to go")
    until = time.monotonic() + 60
    while not (lab() / "go.txt").exists() and time.monotonic() < until:
        time.sleep(0.1)
    (lab() / "slow-done.txt").write_text(str(os.getpid()))


defs = dg.Definitions(
    assets=[quick, slow],
    jobs=[
        dg.define_asset_job("quick_job", [quick], executor_def=dg.in_process_executor),
        dg.define_asset_job("slow_job", [slow], executor_def=dg.in_process_executor),
    ],
)
