"""The state of the house in the morning: runs that were tried again, records and rows, files, disk, GPU."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
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
from orchestration.nights.hook import WAS_RUN
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
REPORT = "morning_report"
"""The asset that runs `on_morning`."""
NAMED = 12
"""Bad files of a study that are named."""
BROKEN_OFF = ("Query interrupted", "KeyboardInterrupt", "DagsterExecutionInterruptedError")
"""Said by a run that a person broke off (Ctrl+C) while it made something: no failure that waits for anybody."""


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
    failed: tuple[tuple[tuple[str, ...], str], ...] = ()
    """What was to be made (by one run) and why it was not, where no later run made it: data, a leaderboard. Trials
    speak for themselves."""
    hook: str = ""
    """What became of `on_morning` when the last report was written, where it did not do its work."""


def facts(bench: Bench, runs: Runs | None, tried: Sequence[Tried], now: dt.datetime) -> list[Fact]:
    """What was looked at, line by line. Whatever cannot be found out is said and costs nobody the report."""
    found = [_attempts(tried)]
    if runs is not None:
        found.append(Fact("runs", _of_runs(runs)))
    for name, ask in (("records", _records), ("disk", _disk), ("GPU", _gpu)):
        found.append(_asked(name, ask, bench))
    if problem := rules_problem(bench):
        todo = "nothing is begun in a night until it is corrected"
        found.append(Fact(bench.lab.nights_file.name, problem, wrong=True, todo=todo))
    return [*found, Fact("written", f"{now.astimezone():%Y-%m-%d %H:%M:%S %Z}".strip())]


def rules_problem(bench: Bench) -> str:
    """Why what holds for all nights of the lab cannot be read; "" where it can."""
    try:
        nights_of_lab(bench.lab)
    except ConfigError as problem:
        return str(problem)
    return ""


def runs_in(instance: dg.DagsterInstance, evening: Evening, now: dt.datetime) -> Runs:
    """What Dagster's books say of everything that ran in the night, whoever asked for it."""
    after = clock.as_recorded(evening.begins)
    records = instance.get_run_records(dg.RunsFilter(created_after=after), limit=MANY)
    shift = now - clock.as_recorded(now)
    own = [one for one in records if one.create_timestamp.replace(tzinfo=dt.UTC) + shift < evening.until]
    failed: dict[str, tuple[str, str]] = {}
    reaped = 0
    for run in reversed([one.dagster_run for one in own]):  # oldest first
        if run.status == dg.DagsterRunStatus.SUCCESS and failed:
            for what in _wanted(instance, run) | _made(instance, run):
                failed.pop(what, None)
        if run.status == dg.DagsterRunStatus.FAILURE:
            why = _why(instance, run.run_id)
            reaped += IS_GONE in why
            if not _is_of_trials(run) and not any(words in why for words in BROKEN_OFF):
                made = _made(instance, run)
                failed = {what: said for what, said in failed.items() if what not in made}
                failed |= dict.fromkeys(sorted(_wanted(instance, run) - made), (run.run_id, why))
    return Runs(
        ended=sum(one.dagster_run.is_finished for one in own),
        retried=sum(int(one.dagster_run.tags.get(RETRY_NUMBER_TAG, "0")) > 0 for one in own),
        steps_retried=sum(_steps_retried(instance, one.dagster_run.run_id) for one in own[:LOOKED_INTO]),
        reaped=reaped,
        failed=_by_run(failed),
        hook=_hook(instance),
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


def _wanted(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """What the run was to make, asset by asset."""
    keys = {key.to_user_string() for key in run.asset_selection or ()}
    return keys or _assets(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED) or {run.job_name}


def _made(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """What it did make, whatever became of the rest."""
    return _assets(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION)


def _assets(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> set[str]:
    events = (entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=kind))
    return {event.asset_key.to_user_string() for event in events if event is not None and event.asset_key}


def _hook(instance: dg.DagsterInstance) -> str:
    event = instance.get_latest_materialization_event(dg.AssetKey(REPORT))
    made = event.asset_materialization if event is not None else None
    said = str(made.metadata["on_morning"].value) if made is not None and "on_morning" in made.metadata else ""
    return "" if said.endswith(WAS_RUN) else said


def _by_run(failed: Mapping[str, tuple[str, str]]) -> tuple[tuple[tuple[str, ...], str], ...]:
    """What failed in one run, for one reason, is told together."""
    together: dict[tuple[str, str], list[str]] = {}
    for what, run_and_why in failed.items():
        together.setdefault(run_and_why, []).append(what)
    return tuple((tuple(names), why) for (_, why), names in together.items())


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
            error = error.cause or error if error else None  # the first says only in which step it was
            steps = str(said.description if said and said.description else error.message if error else "") or steps
        elif event.is_run_failure:
            last = event.message or last
        elif "was terminated by" in (event.message or ""):
            killed = "its process was killed, or ran out of memory"
    return " ".join((steps or killed or last or "it says no reason").split())
