"""What Nocturne itself costs per trial: `python -m tests.benchmarks.overhead`

Wall clock of trials that went through Dagster, less the seconds inside the engine, on a small lab: (a) several trials
in one run, as `nocturne run` does it; (b) each trial its own run, queued by a backfill and started by the daemon of
`nocturne up`. Importing torch, evaluating, keeping model, record and database all count as Nocturne's own.
Prints a table with bounds and ends with exit code 1 when one is missed. Takes two minutes; the figures are of use on a
quiet machine only, so the load is printed too.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.orchestration.servers import answers, free_port, graphql, press_ctrl_c, runs, start_python, wait_until
from tests.small_lab import environment, small_corpus, small_lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestration.resources import Bench

TOGETHER_BOUND, ALONE_BOUND = 2.0, 8.0
"""Seconds per trial: where one run holds several, and where each trial is its own run."""

TRIALS = [f"balance_{strength}" for strength in ("0.00", "0.25", "0.50", "0.75", "1.00")]

BACKFILL = """
mutation Backfill($assets: [AssetKeyInput!], $names: [String!]) {
  launchPartitionBackfill(backfillParams: {assetSelection: $assets, partitionNames: $names}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""


@dataclass(frozen=True)
class Together:
    """Five trials in one run."""

    steady: float
    """Median seconds from the end of one trial to the end of the next, less the latter's seconds in the engine."""
    spread: float
    """Seconds of the whole run less those in the engine, per trial: with the start of the run, torch, and the end."""
    engine: float
    """Median seconds in the engine."""


@dataclass(frozen=True)
class Alone:
    """Five runs of one trial each."""

    spacing: float
    """Median seconds from the end of one trial to the end of the next, less the latter's seconds in the engine."""
    worst: float
    first: float
    """Seconds from the backfill's launch to the end of the first trial, less those in the engine."""


def together(folder: Path, corpus: Path) -> Together:
    """In this process, as the command does it."""
    from ml.studies.concert.study import CONCERT
    from orchestration import data, execute, running, trials

    bench = small_lab(folder, corpus, trials_per_run=len(TRIALS))
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    data.build_features(bench, CONCERT, lambda share, words: None)
    with _measured(trials, "run_trial") as told, _measured(execute.Terminal, "materialize") as materialized:
        code = running.run_study(bench, CONCERT, TRIALS, None, force=False, yes=True)
    assert code == 0
    ended = [(end, float(answer.record.account["seconds_spent"])) for _, end, answer in told]
    assert len(ended) == len(TRIALS)
    [(begin, end)] = [(begin, end) for begin, end, _ in materialized if begin <= ended[0][0] <= end]
    return Together(
        steady=statistics.median(after - before - engine for (before, _), (after, engine) in pairwise(ended)),
        spread=(end - begin - sum(engine for _, engine in ended)) / len(ended),
        engine=statistics.median(engine for _, engine in ended),
    )


@contextmanager
def _measured(owner: Any, name: str) -> Iterator[list[tuple[float, float, Any]]]:
    """Begin, end and answer of every call of `owner.name` within."""
    whole, calls = getattr(owner, name), []

    def measured(*arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        answer = whole(*arguments, **named)
        calls.append((begin, time.perf_counter(), answer))
        return answer

    setattr(owner, name, measured)
    try:
        yield calls
    finally:
        setattr(owner, name, whole)


def alone(folder: Path, corpus: Path) -> Alone:
    """Through the pages and the daemon, as a person starts a backfill."""
    from ml.studies.concert.study import CONCERT
    from orchestration import data

    bench = small_lab(folder / "lab", corpus, trials_per_run=1)
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    data.build_features(bench, CONCERT, lambda share, words: None)
    bench.machine()
    port, output = free_port(), folder / "up.log"
    up = start_python(["-m", "orchestration.cli", "up", "--port", str(port)], output, environment(bench))
    try:
        wait_until(lambda: up.poll() is not None or answers(port), 120, "the page answers")
        begun = time.time()
        assets = [{"path": ["concert", noun]} for noun in ("trained_model", "evaluation")]
        said = graphql(port, BACKFILL, {"assets": assets, "names": TRIALS})["launchPartitionBackfill"]
        assert said["__typename"] == "LaunchBackfillSuccess", said
        wait_until(lambda: len(_ends(bench)) == len(TRIALS), 400, "all trials are recorded")
        wait_until(lambda: not _working(port), 120, "the last run ends")
    finally:
        press_ctrl_c(up)
        up.wait(60)
    ends = _ends(bench)
    own = [after - before - engine for (before, _), (after, engine) in pairwise(ends)]
    return Alone(spacing=statistics.median(own), worst=max(own), first=ends[0][0] - begun - ends[0][1])


def _working(port: int) -> bool:
    return any(run["status"] in ("STARTING", "STARTED") for run in runs(port))


def _ends(bench: Bench) -> list[tuple[float, float]]:
    """When each record was written (seconds since 1970), and its seconds in the engine; in their order."""
    return sorted(
        ((record.folder / "record.json").stat().st_mtime, float(record.account["seconds_spent"]))
        for record in bench.records.all()[0]
        if record.account["status"] == "finished"
    )


def main() -> int:
    """The table; 1 where a bound is missed."""
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        folder = Path(made)
        corpus = small_corpus(folder / "corpus")
        one_run = together(folder / "together", corpus)
        own_runs = alone(folder / "alone", corpus)
    rows = (
        ("several trials in one run: each further trial", one_run.steady, TOGETHER_BOUND),
        ("several trials in one run: with start and end of the run, spread over five", one_run.spread, TOGETHER_BOUND),
        ("several trials in one run: in the engine, not counted above", one_run.engine, None),
        ("each trial its own run: from the end of one to the end of the next, median", own_runs.spacing, ALONE_BOUND),
        ("each trial its own run: worst", own_runs.worst, None),
        ("each trial its own run: from launching the backfill to the end of the first", own_runs.first, None),
    )
    if hasattr(os, "getloadavg"):
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    missed = 0
    for what, seconds, bound in rows:
        met = "" if bound is None else f"at most {bound:g} s  {'met' if seconds <= bound else 'NOT MET'}"
        missed += bound is not None and seconds > bound
        print(f"{what:<78} {seconds:6.2f} s   {met}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
