"""What anyone who looks at a lab must find at any moment: everything whole, or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from orchestration.resources import Bench
from storage.artifacts import Shelf
from storage.query import NoResults, query

KINDS = ("features", "states", "models")


def assert_whole(bench: Bench, *, published: bool) -> None:
    """Every artifact verifies, every record is whole, the database opens and tells nothing that no record told.

    `published`: the database holds all records. Right after a kill it may lag behind them, never contradict them.
    """
    for kind in KINDS:
        shelf = Shelf(bench.lab.artifacts, kind)
        for key in shelf.keys():  # noqa: SIM118 - a shelf is no mapping
            assert shelf.find(key) is not None, f"{kind}/{key} is damaged"
        assert not list(shelf.folder.glob(".damaged-*")), f"somebody found something damaged among the {kind}"
    records, damaged = bench.records.all()
    assert not damaged, damaged
    recorded = {
        (record.study, record.trial, record.attempt): {name: said["rows"] for name, said in record.tables.items()}
        for record in records
    }
    shown = _ask(
        bench, "select study, trial, attempt, status from attempts where status not in ('interrupted', 'running')"
    )
    found = {(row.study, row.trial, row.attempt) for row in shown.itertuples()}
    assert found <= set(recorded)
    if published:
        assert found == set(recorded)
    # The newest finished attempt that the database knows of each trial is the one whose rows it shows.
    done = sorted((row.study, row.trial, row.attempt) for row in shown.itertuples() if row.status == "finished")
    for study, trial, newest in {(study, trial): (study, trial, number) for study, trial, number in done}.values():
        for table, count in recorded[study, trial, newest].items():
            counted = _ask(bench, f"select count(*) as n from {table} where study = '{study}' and trial = '{trial}'")
            said = f"{counted['n'][0]} rows of {table} in the database, {count} in the record"
            assert counted["n"][0] == count, f"{study}/{trial}: {said}"


def epochs_that_stand(bench: Bench) -> set[str]:
    """The keys of all epochs that were made durable, also of those whose files were dropped since."""
    shelf = bench.shelf("states")
    return set(shelf.keys()) | {path.stem for path in (shelf.folder / ".notes").glob("*.json")}


def left_over(bench: Bench) -> list[Path]:
    """What killed writers left lying; the next one to write there sweeps it."""
    patterns = (".building-*", ".dropping-*", ".new-*", ".nocturne-*", ".results.duckdb.new*")
    return [path for pattern in patterns for path in bench.lab.root.rglob(pattern)]


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie computes and writes nothing."""
    alive = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except psutil.NoSuchProcess:
            continue
    return alive


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started, and what those started."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _ask(bench: Bench, sql: str) -> pd.DataFrame:
    try:
        return query(bench.lab, sql)
    except NoResults:
        assert not bench.lab.results.exists(), "there is a database that does not open"
        return pd.DataFrame({"study": [], "trial": [], "attempt": [], "status": [], "n": []})


def in_progress(bench: Bench) -> list[Any]:
    """The runs that Dagster believes to be in progress in this lab."""
    import dagster as dg

    statuses = [
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    with dg.DagsterInstance.from_config(str(bench.lab.dagster_home)) as instance:
        return list(instance.get_runs(dg.RunsFilter(statuses=statuses)))
