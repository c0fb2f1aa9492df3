"""One trial from beginning to end: found, or trained, evaluated, kept and published.

The same path serves a backfill, a night and the command line. Whatever dies on the way, the finished epochs and the
records stand, and the next attempt goes on from them.
"""

from __future__ import annotations

import datetime as dt
import gc
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.config import fingerprint
from ml.studies.experiments import Trials
from ml.studies.study import Outcome, Study, Trial, TrialJob
from orchestration.failures import may_pass, sentence
from orchestration.lease import machine_lease
from orchestration.releasing import release_states
from orchestration.resources import Bench, NotReady
from orchestration.telling import Telling
from storage.records import Attempt, Record, TrialBusy
from storage.results import publish

if TYPE_CHECKING:
    from collections.abc import Iterator

Say = Callable[[str], None]


class TrialFailed(RuntimeError):
    """A trial that came to no result; `again` says whether another try can help."""

    def __init__(self, trial: str, sentence: str, *, again: bool) -> None:
        super().__init__(f"{trial}: {sentence}")
        self.trial, self.sentence, self.again = trial, sentence, again


@dataclass(frozen=True)
class Answer:
    """What asking for a trial came to."""

    record: Record
    found: bool
    """True where an earlier attempt had answered it already."""
    engine_seconds: float
    """Wall-clock seconds inside the study: training and evaluation."""


def run_trial(bench: Bench, study: Study, name: str, *, run_id: str, forced_by: str | None, say: Say) -> Answer:
    """The record of the trial `name`, trained now where no record answers it.

    `forced_by` names the request to train it anew although it is finished; the older result stays in the history. The
    same request goes on from the epochs that it has trained. Raises `TrialFailed` or `NotReady`, whatever went wrong.
    """
    try:
        return _answer(bench, study, name, run_id=run_id, forced_by=forced_by, say=say)
    except (TrialFailed, NotReady):
        raise
    except Exception as problem:
        raise TrialFailed(name, sentence(problem), again=may_pass(problem)) from problem


def failed_for_good(bench: Bench, study: Study, name: str, run_id: str) -> str | None:
    """Why the run `run_id` need not try the trial again, if it came to a failure that stays."""
    record = bench.records.latest(study.name, name)
    if record is None or record.account.get("run_id") != run_id:
        return None
    status, again = record.account["status"], record.account.get("again", False)
    return first_line(record) if status == "diverged" or (status == "failed" and not again) else None


def first_line(record: Record) -> str:
    """What a record says of its failure, without where it came from."""
    return str(record.account.get("error") or "it came to no result").split("\n")[0]


def release_memory() -> None:
    """After a failure: what its traceback held (network, optimizer, features) goes, on the GPU too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _answer(bench: Bench, study: Study, name: str, *, run_id: str, forced_by: str | None, say: Say) -> Answer:
    trials = bench.trials(study)
    trial = _named(trials, name)
    settings = bench.settings(study)
    data = bench.data(study)
    machine = bench.machine()
    origin = study.origin(data.fingerprint, data.features_key)
    identity = study.trial_fingerprint(trial, origin, machine.precision)

    def asked_for(record: Record | None) -> Record | None:
        return record if record and (forced_by is None or record.account.get("forced_by") == forced_by) else None

    def finished() -> Record | None:
        return asked_for(bench.records.finished(study.name, name, identity))

    def ended(of: Trial) -> Record | None:
        """One that diverged would diverge again: no sibling waits for it."""
        own = study.trial_fingerprint(of, origin, machine.precision)
        if record := asked_for(bench.records.finished(study.name, of.name, own)):
            return record
        record = asked_for(bench.records.latest(study.name, of.name))
        said = record.account if record else {}
        return record if said.get("status") == "diverged" and said["fingerprint"] == own else None

    if found := finished():
        say(f"{name}: already finished on {found.account['ended'][:16].replace('T', ' ')} UTC; nothing to train")
        return _found(bench, found, say)
    features = bench.shelf("features").find(data.features_key)
    if features is None:
        raise TrialFailed(
            name,
            f"the features of {study.name} are not built for the present data: materialize "
            f"{study.name}/features, or run `nocturne run {study.name}`",
            again=False,
        )
    with _begin(bench, study, name, run_id, say) as attempt:
        if found := finished():  # another process answered it while this one waited for the trial
            return _found(bench, found, say)
        with machine_lease(bench.lab, machine, f"{study.name} {name}", say):
            telling = Telling(name, study.planned_epochs(trial), study.told, say)
            job = TrialJob(
                trial=trial,
                settings=settings,
                split=data.split,
                features=features,
                states=bench.shelf("states"),
                evaluations=bench.shelf("evaluations"),
                machine=machine,
                origin=fingerprint(origin, forced_by) if forced_by else origin,
                found=telling.found,
                report=telling.report,
                progress=telling.progress,
                say=lambda words: say(f"{name}: {words}"),
                siblings=trials.trials,
            )
            account = _account(study, trial, job, run_id, forced_by, identity, data.fingerprint, data.features_key)

            def recorded() -> None:
                try:
                    release_states(bench, study, trial, trials.trials, ended)
                except Exception as problem:  # what is recorded stands: states that stay only take room
                    say(f"{name}: the states of its family stay on the disk: {sentence(problem)}")

            return _compute(bench, study, job, attempt, account, telling, say, recorded)


def _named(found: Trials, name: str) -> Trial:
    """The trial as it is declared now; its file may have been changed or deleted since the run was started."""
    for trial in found.trials:
        if trial.name == name:
            return trial
    own = [said for said in found.problems if f"{name}.y" in said or f"({name}): " in said]
    why = own[0] if own else "its file is gone; no trial has this name now"
    raise TrialFailed(name, why, again=False)


@contextmanager
def _begin(bench: Bench, study: Study, name: str, run_id: str, say: Say) -> Iterator[Attempt]:
    """The next attempt; while another process is at the same trial, wait for it: its answer will be ours."""
    with ExitStack() as held:
        while True:
            try:
                attempt = held.enter_context(bench.records.begin(study.name, name, run_id))
                break
            except TrialBusy as busy:
                say(f"{busy}; waiting for its answer")
        yield attempt


def _found(bench: Bench, record: Record, say: Say) -> Answer:
    _publish(bench, say)  # whoever wrote the record may have died before the database had it
    return Answer(record, True, 0.0)


def _compute(
    bench: Bench,
    study: Study,
    job: TrialJob,
    attempt: Attempt,
    account: dict[str, Any],
    telling: Telling,
    say: Say,
    recorded: Callable[[], None],
) -> Answer:
    """`recorded` is called as soon as the record is durable: what dies while publishing leaves no states behind."""
    started = time.perf_counter()
    try:
        outcome = study.run_trial(job)
        seconds = time.perf_counter() - started
        record = attempt.commit(account | _result(bench, outcome) | {"ended": _now()}, outcome.tables)
    except BaseException as problem:
        interrupted = not isinstance(problem, Exception)
        said = "interrupted; finished epochs are kept" if interrupted else sentence(problem)
        account |= {
            "status": "paused" if interrupted else "failed",
            "error": said if interrupted else f"{said}\n{traceback.format_exc(limit=-6)}",
            "again": interrupted or may_pass(problem),
            "epochs_done": telling.done,
            "epochs_trained": len(telling.trained),
            "seconds_spent": time.perf_counter() - started,
        }
        try:
            attempt.commit(account | {"ended": _now()}, {})
        except Exception as second:  # the first problem is the one to be told
            say(f"{job.trial.name}: that it {account['status']} could not be recorded: {sentence(second)}")
        _publish(bench, say)
        if interrupted:
            raise
        raise TrialFailed(job.trial.name, said, again=may_pass(problem)) from problem
    recorded()
    _publish(bench, say)
    if outcome.trained.status == "diverged":
        raise TrialFailed(job.trial.name, outcome.trained.problem, again=False)
    return Answer(record, False, seconds)


def _publish(bench: Bench, say: Say) -> None:
    """The database is made from the records and can wait for them: its trouble is none of the trial."""
    try:
        publish(bench.lab)
    except Exception as problem:
        say(f"recorded; results.duckdb shows the state before: {sentence(problem)}")


def _account(
    study: Study,
    trial: Trial,
    job: TrialJob,
    run_id: str,
    forced_by: str | None,
    identity: str,
    data_fingerprint: str,
    features_key: str,
) -> dict[str, Any]:
    return {
        "study": study.name,
        "trial": trial.name,
        "fingerprint": identity,
        "status": "failed",
        "run_id": run_id,
        "forced_by": forced_by,
        "started": _now(),
        "model_name": study.model_name(trial, dt.datetime.now()),
        "config": trial.config.model_dump(mode="json"),
        "changes": {key: list(pair) for key, pair in trial.changes.items()},
        "epochs_planned": study.planned_epochs(trial),
        "purpose": trial.config.purpose,
        "remarks": study.remarks(trial),
        "precision": job.machine.precision,
        "machine": job.machine.describe(),
        "machine_facts": job.machine.as_json(),
        "data_fingerprint": data_fingerprint,
        "features_key": features_key,
        "revision": study.revision,
    }


def _result(bench: Bench, outcome: Outcome) -> dict[str, Any]:
    trained = outcome.trained
    model_key = None
    if outcome.save_model is not None and trained.best is not None:
        model_key = fingerprint("model", trained.best.key)
        bench.shelf("models").build(model_key, outcome.save_model)
    return {
        "status": trained.status,
        "error": trained.problem,
        "model_key": model_key,
        "seconds_spent": trained.seconds_spent,
        "seconds_standalone": trained.seconds_standalone,
        "epochs_done": len(trained.history),
        "epochs_trained": trained.epochs_trained,
        "best_epoch": trained.best.epoch if trained.best else None,
        "stopped_early": trained.stopped_early,
        "micro_batch": trained.micro_batch,
        "out_of_memory": trained.out_of_memory,
        "items_per_epoch": trained.history[-1].items if trained.history else 0,
        "higher_is_better": outcome.higher_is_better,
        "selection_metric": outcome.selection_metric,
        "selection_value": outcome.selection_value,
        "verdict": outcome.verdict,
    }


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
