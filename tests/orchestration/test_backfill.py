"""A night as a person starts it in the UI: everything materialized and backfilled through the pages and the daemon,
while two DuckDB shells hold the results open, one of them for writing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from orchestration.resources import Bench
from storage.query import query
from tests.orchestration.servers import answers, free_port, graphql, press_ctrl_c, start_python, wait_until
from tests.small_lab import environment, nocturne, small_lab, write_yaml

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

TRIALS = [f"balance_{strength}" for strength in ("0.00", "0.25", "0.50", "0.75", "1.00")]

SHELL = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "ro")
print(connection.execute("select count(*) from trials").fetchone()[0], flush=True)
sys.stdin.readline()
print(connection.execute("select count(*) from trials").fetchone()[0], flush=True)
"""

BACKFILL = """
mutation Backfill($assets: [AssetKeyInput!], $names: [String!]) {
  launchPartitionBackfill(backfillParams: {
    assetSelection: $assets, partitionNames: $names, tags: [{key: "asked/by", value: "a person"}]
  }) { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } }
}
"""

MATERIALIZE = """
mutation Materialize($assets: [AssetKeyInput!]) {
  launchRun(executionParams: {
    mode: "default"
    selector: {
      repositoryLocationName: "orchestration.definitions", repositoryName: "__repository__"
      jobName: "__ASSET_JOB", assetSelection: $assets
    }
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""

TERMINATE = """mutation Stop($run: String!) { terminateRun(runId: $run) { __typename } }"""

RUNS = """{ runsOrError { ... on Runs { results {
  runId status assetSelection { path } tags { key value } startTime endTime
} } } }"""

METADATA = """query Look($asset: AssetKeyInput!, $names: [String!]) { assetNodeOrError(assetKey: $asset) {
  ... on AssetNode { assetMaterializations(limit: 20, partitions: $names) {
    partition metadataEntries { label __typename ... on MarkdownMetadataEntry { mdStr } }
} } } }"""


def _asset(noun: str) -> dict[str, list[str]]:
    return {"path": ["concert", noun]}


def _runs(port: int) -> list[dict[str, Any]]:
    return list(graphql(port, RUNS)["runsOrError"]["results"])


@pytest.fixture(scope="module")
def house(tmp_path_factory, corpus) -> Iterator[tuple[Bench, int]]:
    """`nocturne up` on a small lab."""
    folder = tmp_path_factory.mktemp("night")
    bench = small_lab(folder / "lab", corpus, trials_per_run=2)
    write_yaml(bench.lab.experiments("concert") / "long.yaml", {"training": {"epochs": 1000}})
    port = free_port()
    output = folder / "up.log"
    up = start_python(["-m", "orchestration.cli", "up", "--port", str(port)], output, environment(bench))
    wait_until(lambda: up.poll() is not None or answers(port), 120, "the page answers")
    assert up.poll() is None, output.read_text()
    yield bench, port
    press_ctrl_c(up)
    assert up.wait(60) == 0, output.read_text()


def _materialize(port: int, *nouns: str) -> None:
    answer = graphql(port, MATERIALIZE, {"assets": [_asset(noun) for noun in nouns]})["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run = answer["run"]["runId"]
    ended = wait_until(
        lambda: next((r for r in _runs(port) if r["runId"] == run and r["status"] in ("SUCCESS", "FAILURE")), None),
        120,
        f"{nouns} are materialized",
    )
    assert ended["status"] == "SUCCESS"


def _shell(bench: Bench, mode: str) -> subprocess.Popen[str]:
    shell = subprocess.Popen(
        [sys.executable, "-c", SHELL, str(bench.lab.results), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert shell.stdout is not None
    assert shell.stdout.readline() == "0\n"
    return shell


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_backfill_of_all_strengths_with_two_shells_left_open(house):
    bench, port = house
    _materialize(port, "source_inventory", "split", "features")

    read_only = _shell(bench, "ro")
    read_only.stdin.write("\n")  # DuckDB lets nobody else in beside a writer of the same file: the readers go first
    read_only.stdin.flush()
    assert read_only.stdout.readline() == "0\n"
    shells = [_shell(bench, "ro")]

    assets = [_asset("trained_model"), _asset("evaluation")]
    answer = graphql(port, BACKFILL, {"assets": assets, "names": TRIALS})["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    wait_until(lambda: bench.records.latest("concert", TRIALS[0]), 180, "the first trial is recorded")
    wait_until(lambda: len(query(bench.lab, "select * from leaderboard")) >= 1, 30, "the first trial is published")
    shells.append(_shell_on_new(bench))
    wait_until(lambda: len(query(bench.lab, "select * from leaderboard")) == 5, 300, "five trials are published")
    assert all(shell.poll() is None for shell in shells)
    for shell in shells:  # still open, still the version they opened
        shell.stdin.write("\n")
        shell.stdin.flush()
        assert int(shell.stdout.readline()) < 5
        assert shell.wait(30) == 0
    assert query(bench.lab, "select trial from leaderboard order by trial")["trial"].tolist() == TRIALS

    trial_runs = [r for r in _runs(port) if any(t["key"] == "dagster/backfill" for t in r["tags"])]
    wait_until(
        lambda: all(r["status"] == "SUCCESS" for r in _runs(port) if r["runId"] in {t["runId"] for t in trial_runs}),
        60,
        "the runs end",
    )
    spans = sorted(
        (r["startTime"], r["endTime"]) for r in _runs(port) if r["runId"] in {t["runId"] for t in trial_runs}
    )
    assert len(spans) == 3, "two, two and one"
    assert all(end <= start + 0.5 for (_, end), (start, _) in pairwise(spans)), "pool of one"

    look = graphql(port, METADATA, {"asset": _asset("evaluation"), "names": TRIALS})
    shown = look["assetNodeOrError"]["assetMaterializations"]
    assert sorted(each["partition"] for each in shown) == TRIALS
    entries = {entry["label"]: entry for entry in shown[0]["metadataEntries"]}
    assert "TUNING" in entries["classes"]["mdStr"]
    assert entries["confusion"]["mdStr"].startswith("![picture](data:image/png;base64,")

    wait_until(
        lambda: bench.records.noted("concert", "best_model"), 150, "leaderboard and best model follow by themselves"
    )
    # Retry one: it is found, not trained again, and the history does not grow.
    before = len(bench.records.history("concert", TRIALS[2]))
    answer = graphql(port, BACKFILL, {"assets": assets, "names": [TRIALS[2]]})["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    wait_until(
        lambda: (
            len(
                [
                    r
                    for r in _runs(port)
                    if r["status"] == "SUCCESS"
                    and r["tags"]
                    and any(t == {"key": "dagster/backfill", "value": answer["backfillId"]} for t in r["tags"])
                ]
            )
            == 1
        ),
        120,
        "the one is answered again",
    )
    assert len(bench.records.history("concert", TRIALS[2])) == before
    said = nocturne(bench, "studies")
    assert "5 done, 1 missing" in said.stdout, said.stdout + said.stderr


def _shell_on_new(bench: Bench) -> subprocess.Popen[str]:
    """A shell that opens the present file for reading and writing, and keeps it."""
    shell = subprocess.Popen(
        [sys.executable, "-c", SHELL, str(bench.lab.results), "rw"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert shell.stdout is not None
    assert int(shell.stdout.readline()) >= 1
    return shell


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_trial_that_is_terminated_on_the_page_is_paused_and_frees_the_machine(house):
    """Runs after the backfill above, in the same house."""
    bench, port = house
    assets = [_asset("trained_model"), _asset("evaluation")]
    before = set(bench.shelf("states").keys())
    answer = graphql(port, BACKFILL, {"assets": assets, "names": ["long"]})["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    wait_until(lambda: bench.records.is_running("concert", "long"), 120, "the long trial is being trained")
    wait_until(lambda: set(bench.shelf("states").keys()) - before, 60, "an epoch of its own is kept")
    run = next(run for run in _runs(port) if run["status"] == "STARTED")
    stopped = graphql(port, TERMINATE, {"run": run["runId"]})["terminateRun"]
    assert stopped["__typename"] == "TerminateRunSuccess"
    wait_until(lambda: next(r for r in _runs(port) if r["runId"] == run["runId"])["status"] == "CANCELED", 60, "ended")
    assert not bench.records.is_running("concert", "long")
    record = bench.records.latest("concert", "long")
    assert record is not None
    assert record.account["status"] == "paused"
    assert 0 < record.account["epochs_done"] < 1000
