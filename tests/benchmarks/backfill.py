"""A backfill of 864 partitions through the daemon: `python -m tests.benchmarks.backfill [--partitions 864]`

A grid of denoise trials so tiny that an epoch takes milliseconds is asked for on the page, as a person does it; the
daemon of a real `nocturne up` runs it, 36 trials in a run as the study has it. Printed are: Nocturne's and Dagster's
own seconds per trial (wall clock of the backfill less the seconds in the engine), the peak memory of daemon,
webserver, code server and of the runs, the size of Dagster's storage, and how soon the pages answer with all of it
materialized. Takes a quarter of an hour on a quiet machine, longer on a busy one: the load is printed too.
Ends with exit code 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ml.studies.denoise.demo import write_corpus
from ml.studies.denoise.study import DENOISE
from orchestration import data
from orchestration.resources import Bench
from tests.benchmarks.table import Table
from tests.orchestration.servers import answers, free_port, graphql, press_ctrl_c, start_python, wait_until
from tests.small_lab import environment, small_lab, write_yaml

OWN_BOUND = 2.0
"""Seconds of Nocturne's and Dagster's own per trial."""
PAGE_BOUND = 3.0
"""Seconds until the pages have what they show."""

AXES: dict[str, list[Any]] = {
    "training.batch_size": [4, 8, 16],
    "training.lr": [0.001, 0.01, 0.05],
    "training.optimizer": ["adam", "adamw"],
    "training.scheduler_patience": [0, 1, 2],
    "training.scheduler_factor": [0.5, 0.3],
    "training.epochs": [2, 3],
    "training.early_stop": [2, 3, 4, 5],
}
"""864 points; 48 share the settings that decide an epoch."""

BACKFILL = """
mutation Backfill($assets: [AssetKeyInput!], $names: [String!]) {
  launchPartitionBackfill(backfillParams: {assetSelection: $assets, partitionNames: $names}) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""
STATUS = """query Status($id: String!) { partitionBackfillOrError(backfillId: $id) { __typename
  ... on PartitionBackfill { status numPartitions error { message } } } }"""
PARTITIONS = """query Partitions($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode {
  partitionKeyConnection(limit: 2000, ascending: true) { results }
  assetPartitionStatuses { ... on DefaultPartitionStatuses {
    materializedPartitions failedPartitions unmaterializedPartitions materializingPartitions } } } } }"""
ONE = """query One($asset: AssetKeyInput!, $names: [String!]) { assetNodeOrError(assetKey: $asset) { ... on AssetNode {
  assetMaterializations(limit: 1, partitions: $names) { runId timestamp metadataEntries { label __typename } } } } }"""
RUNS = "{ runsOrError(limit: 25) { ... on Runs { results { runId status tags { key value } startTime endTime } } } }"


@dataclass
class Watch:
    """The memory of the processes of one lab, looked at every second until `end`."""

    lab: str
    peaks: dict[str, int] = field(default_factory=dict)
    """What it is to the most bytes of its own (USS) that were seen."""
    over: threading.Event = field(default_factory=threading.Event)

    KINDS = (
        ("daemon", "dagster._daemon"),
        ("webserver", "orchestration.webserver"),
        ("code server", "dagster"),
        ("a run", "forkserver"),
    )

    def look(self) -> None:
        """In a thread of its own."""
        while not self.over.wait(1.0):
            together = 0
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.environ().get("NOCTURNE_LAB") != self.lab or process.pid == os.getpid():
                        continue
                    own = process.memory_full_info().uss
                    together += own
                    line = " ".join(process.cmdline())
                    kind = next((kind for kind, words in self.KINDS if words in line), "other")
                    self.peaks[kind] = max(self.peaks.get(kind, 0), own)
            self.peaks["all together"] = max(self.peaks.get("all together", 0), together)


def small_grid_lab(folder: Path, partitions: int) -> tuple[Bench, list[str]]:
    """A lab with features and so many tiny trials."""
    corpus = folder / "corpus"
    write_corpus(corpus, scale=0.1)
    bench = small_lab(folder / "lab", corpus, "denoise")
    write_yaml(bench.lab.experiments("denoise") / "tiny.yaml", {"grid": AXES})
    data.take_inventory(bench, DENOISE, lambda share, words: None)
    data.divide(bench, DENOISE)
    data.build_features(bench, DENOISE, lambda share, words: None)
    bench.machine()
    names = [trial.name for trial in bench.trials(DENOISE).trials if trial.mode == "tiny"]
    assert len(names) == 864, len(names)
    return bench, names[:partitions]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def seconds_of(port: int, query: str, variables: dict[str, Any], times: int = 5) -> float:
    """Median seconds until the page's question is answered."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        graphql(port, query, variables)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def shown_in_a_browser(port: int, name: str) -> float | None:
    """Seconds until Chromium shows the partition's page with its status; None where there is no browser."""
    try:
        from tests.orchestration.browser import chromium_page
    except ImportError:
        return None
    with chromium_page() as page:
        if page is None:
            return None
        address = f"http://127.0.0.1:{port}/assets/denoise/evaluation?view=partitions&partition={name}"
        page.goto(f"http://127.0.0.1:{port}/assets")  # the scripts are loaded and kept
        began = time.perf_counter()
        page.goto(address)
        page.get_by_text("Latest materialization").locator("visible=true").first.wait_for(timeout=120_000)
        return time.perf_counter() - began


def main() -> int:
    """The table; 1 where a bound is missed."""
    said = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    said.add_argument("--partitions", type=int, default=864)
    asked = said.parse_args()
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    table = Table()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        folder = Path(made)
        bench, names = small_grid_lab(folder, asked.partitions)
        port, output = free_port(), folder / "up.log"
        watch = Watch(str(bench.lab.root))
        up = start_python(["-m", "orchestration.cli", "up", "--port", str(port)], output, environment(bench))
        try:
            wait_until(lambda: up.poll() is not None or answers(port), 180, "the page answers")
            threading.Thread(target=watch.look, daemon=True).start()
            before = size_of(bench.lab.dagster_home)
            assets = [{"path": ["denoise", noun]} for noun in ("trained_model", "evaluation")]
            began = time.time()
            answer = graphql(port, BACKFILL, {"assets": assets, "names": names})["launchPartitionBackfill"]
            assert answer["__typename"] == "LaunchBackfillSuccess", answer
            _wait_for_end(port, answer["backfillId"], bench, len(names))
            records = [record for record in bench.records.all()[0] if record.account["status"] == "finished"]
            _tell(table, began, records, names, bench, before)
            evaluation = {"path": ["denoise", "evaluation"]}
            partitions = seconds_of(port, PARTITIONS, {"asset": evaluation})
            table.row("the partition page's question, all partitions", partitions, "s", PAGE_BOUND, False)
            one = seconds_of(port, ONE, {"asset": evaluation, "names": [names[-1]]})
            table.row("one partition's materialization with its metadata", one, "s", PAGE_BOUND, False)
            table.row("the newest 25 runs", seconds_of(port, RUNS, {}), "s", PAGE_BOUND, False)
            if (browser := shown_in_a_browser(port, names[-1])) is not None:
                table.row("the partition page in Chromium, from its address to its text", browser, "s", None)
        finally:
            watch.over.set()
            press_ctrl_c(up)
            up.wait(90)
        for kind, peak in watch.peaks.items():
            table.row(f"peak memory of its own, {kind}", peak / 1e6, "MB", None)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return 1 if table.missed else 0


def _wait_for_end(port: int, backfill: str, bench: Bench, count: int) -> None:
    """Says how far it is, every minute."""
    began = said = time.monotonic()
    while True:
        status = graphql(port, STATUS, {"id": backfill})["partitionBackfillOrError"]["status"]
        if status in ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"):
            assert status == "COMPLETED_SUCCESS", status
            return
        now = time.monotonic()
        assert now - began < 5 * 3600, status
        if now - said > 60:
            said = now
            print(f"  {now - began:.0f} s: {len(bench.records.trials('denoise'))} of {count} begun", flush=True)
        time.sleep(2)


def _tell(table: Table, began: float, records: list[Any], names: list[str], bench: Bench, before: int) -> None:
    ends = sorted((record.folder / "record.json").stat().st_mtime for record in records)
    engine = sum(float(record.account["seconds_spent"]) for record in records)
    wall = ends[-1] - began
    count = len(names)
    assert sorted(record.trial for record in records) == sorted(names), "each partition once"
    table.row("partitions, each recorded once", count, "", None)
    table.row("wall clock from asking to the last record", wall, "s", None)
    table.row("of it in the engine: training, evaluating", engine, "s", None)
    table.row("Nocturne's and Dagster's own per trial", (wall - engine) / count, "s", OWN_BOUND, False)
    table.row("from asking to the first record", ends[0] - began, "s", None)
    table.row("size of Dagster's storage before", before / 1e6, "MB", None)
    table.row("size of Dagster's storage after", size_of(bench.lab.dagster_home) / 1e6, "MB", None)
    table.row("of it per trial", (size_of(bench.lab.dagster_home) - before) / count / 1e3, "kB", None)
    table.row("size of the records", size_of(bench.lab.records) / 1e6, "MB", None)
    table.row("size of results.duckdb", bench.lab.results.stat().st_size / 1e6, "MB", None)


if __name__ == "__main__":
    sys.exit(main())
