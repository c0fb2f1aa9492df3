"""The state of the house in the morning: runs that were tried again, records and rows, files, disk, GPU."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG, PARTITION_NAME_TAG, RETRY_NUMBER_TAG

from ml.config import ConfigError
from ml.studies.study import Study
from ml.studies.words import counted
from ml.training import gpu
from orchestration import plan
from orchestration.asking import size
from orchestration.failures import sentence
from orchestration.nights import clock
from orchestration.nights.guards import strangers_on_gpu
from orchestration.nights.lab_nights import nights_of_lab
from orchestration.nights.looking_back import DIED, Evening, Tried
from orchestration.reaper import IS_GONE
from orchestration.resources import Bench
from storage.query import query
from storage.results import publish

MANY = 5000
"""Runs of one night that are looked at."""
LOOKED_INTO = 500
"""The newest of them, whose logs are read for steps that were tried again."""
NAMED = 12
"""Bad files of a study that are named."""


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at."""

    name: str
    said: str
    wrong: bool = False
    todo: str = ""
    """What a person does about it, where something is wrong."""


@dataclass(frozen=True)
class BadFile:
    """A file of a source that was left out, or is used with a warning."""

    path: str
    state: str
    problem: str


@dataclass(frozen=True)
class BadFiles:
    """Those of one study."""

    rejected: int = 0
    warned: int = 0
    named: tuple[BadFile, ...] = ()


@dataclass(frozen=True)
class Runs:
    """Dagster's runs of the night."""

    ended: int = 0
    retried: int = 0
    """Started by the daemon for one whose process died."""
    steps_retried: int = 0
    """Times that a step was tried again within its run: a drive that was away for a moment."""
    reaped: int = 0
    """Reported as failed because their process was gone without a word."""
    failed: tuple[tuple[str, str], ...] = ()
    """What was to be made and why it was not, where no later run made it: data, a leaderboard. Trials speak for
    themselves."""


def facts(bench: Bench, runs: Runs | None, tried: Sequence[Tried], now: dt.datetime) -> list[Fact]:
    """What was looked at, line by line. Whatever cannot be found out is said and costs nobody the report."""
    found = [_attempts(tried)]
    if runs is not None:
        found.append(Fact("runs", _of_runs(runs)))
    for name, ask in (("records", _records), ("disk", _disk), ("GPU", _gpu)):
        found.append(_asked(name, ask, bench))
    return [*found, Fact("written", f"{now.astimezone():%Y-%m-%d %H:%M:%S %Z}".strip())]


def runs_in(instance: dg.DagsterInstance, evening: Evening, now: dt.datetime) -> Runs:
    """What Dagster's books say of everything that ran in the night, whoever asked for it."""
    after = clock.as_recorded(evening.begins)
    records = instance.get_run_records(dg.RunsFilter(created_after=after), limit=MANY)
    shift = now - clock.as_recorded(now)
    own = [one for one in records if one.create_timestamp.replace(tzinfo=dt.UTC) + shift < evening.until]
    failed: dict[str, str] = {}
    reaped = 0
    for run in reversed([one.dagster_run for one in own]):  # oldest first
        if run.status == dg.DagsterRunStatus.SUCCESS:
            failed.pop(_subject(run), None)
        if run.status == dg.DagsterRunStatus.FAILURE:
            why = _why(instance, run.run_id)
            reaped += IS_GONE in why
            if not _is_of_trials(run):
                failed[_subject(run)] = why
    return Runs(
        ended=sum(one.dagster_run.is_finished for one in own),
        retried=sum(int(one.dagster_run.tags.get(RETRY_NUMBER_TAG, "0")) > 0 for one in own),
        steps_retried=sum(_steps_retried(instance, one.dagster_run.run_id) for one in own[:LOOKED_INTO]),
        reaped=reaped,
        failed=tuple(failed.items()),
    )


def bad_files(bench: Bench, study: Study) -> BadFiles:
    """The files of the last inventory that were rejected or warned about, the rejected ones first."""
    files = bench.files(study)
    if files is None:
        return BadFiles()
    troubled = files[files["state"] != "ok"].drop_duplicates("path").sort_values(["state", "path"])
    named = tuple(BadFile(str(row.path), str(row.state), str(row.problem)) for row in troubled.head(NAMED).itertuples())
    rejected = int((troubled["state"] == "rejected").sum())
    return BadFiles(rejected, len(troubled) - rejected, named)


def _asked(name: str, ask: Callable[[Bench], Fact], bench: Bench) -> Fact:
    try:
        return ask(bench)
    except Exception as problem:
        return Fact(name, f"unknown: {sentence(problem)}", wrong=True)


def _attempts(tried: Sequence[Tried]) -> Fact:
    number = sum(one.attempts for one in tried)
    spare, deaths = number - len(tried), sum(one.count(DIED) for one in tried)
    said = f"{number} at {counted(len(tried), 'trial')}"
    if spare:
        said += f": {spare} more than one each"
    return Fact("attempts", said + (f", {deaths} ended without a word" if deaths else ""))


def _records(bench: Bench) -> Fact:
    published = publish(bench.lab)
    rows = query(
        bench.lab, "select (select count(*) from trials) as trials, (select count(*) from attempts) as attempts"
    ).iloc[0]
    trials, attempts = int(rows["trials"]), int(rows["attempts"])
    said = f"{published.attempts} attempts at {published.trials} trials; results.duckdb has the same"
    if (trials, attempts) != (published.trials, published.attempts):
        said = (
            f"{published.attempts} attempts at {published.trials} trials, but results.duckdb has {attempts} at {trials}"
        )
        return Fact(
            "records", said, wrong=True, todo="`nocturne db rebuild` makes results.duckdb again from the records"
        )
    _, damaged = bench.records.all()  # every byte is looked at: what was published was whole then
    if damaged:
        return Fact(
            "records",
            f"{said}; {len(damaged)} damaged: {damaged[0]}",
            wrong=True,
            todo="look at the disk; a damaged record is left out, and its trial runs again",
        )
    return Fact("records", said)


def _disk(bench: Bench) -> Fact:
    free = plan.free_bytes(bench.lab.root)
    with suppress(ConfigError):
        kept = nights_of_lab(bench.lab).keep_free_bytes
        if free < kept:
            said = f"{size(free)} free, {size(kept)} are to stay free: no trial is begun"
            return Fact("disk", said, wrong=True, todo="`nocturne clean` shows what can go")
    return Fact("disk", f"{size(free)} free")


def _gpu(bench: Bench) -> Fact:
    holders = gpu.holders()
    strangers = strangers_on_gpu(bench, holders)
    own = [one for one in holders if one not in strangers]
    said = "; ".join(
        f"{one.name} (process {one.pid}) holds {'some' if one.mib is None else f'{one.mib:,} MiB'}"
        + (", a run of this lab" if one in own else "")
        for one in holders
    )
    return Fact("GPU", said or "free")


def _of_runs(runs: Runs) -> str:
    said = [f"{runs.ended} ended", f"{runs.retried} retried because their process died", f"{runs.reaped} reaped"]
    return ", ".join([*said, f"{runs.steps_retried} retries of steps within them"])


def _steps_retried(instance: dg.DagsterInstance, run_id: str) -> int:
    return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY))


def _subject(run: dg.DagsterRun) -> str:
    """What the run was to make."""
    keys = sorted(key.to_user_string() for key in run.asset_selection or ())
    return ", ".join(keys) if keys else run.job_name


def _is_of_trials(run: dg.DagsterRun) -> bool:
    return any(tag in run.tags for tag in (PARTITION_NAME_TAG, ASSET_PARTITION_RANGE_START_TAG))


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why the run failed: what its steps said, else what is known of its process, else the run itself."""
    steps, killed, last = "", "", ""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.RUN_FAILURE}
    for entry in instance.all_logs(run_id, of_type=kinds):
        event = entry.dagster_event
        if event is None:
            continue
        if event.is_step_failure:
            said = event.step_failure_data.user_failure_data
            error = event.step_failure_data.error
            steps = str(said.description if said and said.description else error.message if error else "") or steps
        elif event.is_run_failure:
            last = event.message or last
        elif "was terminated by" in (event.message or ""):
            killed = "its process was killed, or ran out of memory"
    return " ".join((steps or killed or last or "it says no reason").split())
