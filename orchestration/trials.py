"""One trial from beginning to end: found, or trained, evaluated, kept and published.

The same path serves a backfill, a night and the command line. Whatever dies on the way, the finished epochs and the
records stand, and the next attempt goes on from them.
"""

from __future__ import annotations

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
from ml.studies.study import Study, Trial, TrialJob
from orchestration.account import account_of, moment, result_of
from orchestration.failures import may_pass, passes_later, sentence
from orchestration.lease import machine_lease
from orchestration.nights.bell import Bell, BellRang, ended_by
from orchestration.releasing import owner_of, release_states
from orchestration.resources import Bench, NotReady
from orchestration.telling import Telling
from storage.records import Attempt, Record, TrialBusy
from storage.results import publish

if TYPE_CHECKING:
    from collections.abc import Iterator

Say = Callable[[str], None]

WAIT_SECONDS = 60.0
"""While another process is at the same trial, this is said so often."""


class TrialFailed(RuntimeError):
    """A trial that came to no result; `again` says whether another try can help."""

    def __init__(self, trial: str, sentence: str, *, again: bool) -> None:
        super().__init__(f"{trial}: {sentence}")
        self.trial, self.sentence, self.again = trial, sentence, again


class NightOver(RuntimeError):
    """The night ended before the trial did: it was not begun, or it is paused and goes on from there."""


@dataclass(frozen=True)
class Answer:
    """What asking for a trial came to."""

    record: Record
    found: bool
    """True where an earlier attempt had answered it already."""


def run_trial(
    bench: Bench, study: Study, name: str, *, run_id: str, forced_by: str | None, say: Say, bell: Bell | None = None
) -> Answer:
    """The record of the trial `name`, trained now where no record answers it.

    `forced_by` names the request to train it anew although it is finished; the older result stays in the history. The
    same request goes on from the epochs that it has trained. `bell` is the end of the night in which it is trained.
    Raises `NightOver`; `TrialFailed` or `NotReady`, whatever went wrong.
    """
    try:
        return _answer(bench, study, name, run_id=run_id, forced_by=forced_by, say=say, bell=bell)
    except (TrialFailed, NotReady, NightOver):
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


def _answer(
    bench: Bench, study: Study, name: str, *, run_id: str, forced_by: str | None, say: Say, bell: Bell | None
) -> Answer:
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
    telling = Telling(name, study.planned_epochs(trial), study.told, say)

    def rung() -> bool:
        return bell is not None and bell.rung()

    def progress(epoch: int, share: float) -> None:
        telling.progress(epoch, share)
        if bell is not None and bell.presses():
            raise BellRang

    def recorded() -> None:
        try:
            release_states(bench, study, trial, trials.trials, ended)
        except Exception as problem:  # what is recorded stands: states that stay only take room
            say(f"{name}: the states of its family stay on the disk: {sentence(problem)}")

    with _begin(bench, study, name, run_id, say, bell) as attempt:
        if found := finished():  # another process answered it while this one waited for the trial
            return _found(bench, found, say)
        with machine_lease(bench.lab, machine, f"{study.name} {name}", say, rung) as lent:
            if lent and not rung():
                owner = owner_of(study, trial, origin, machine.precision, forced_by)
                job = TrialJob(
                    trial=trial,
                    settings=settings,
                    split=data.split,
                    features=features,
                    states=bench.shelf("states", owner),
                    evaluations=bench.shelf("evaluations", owner),
                    machine=machine,
                    origin=fingerprint(origin, forced_by) if forced_by else origin,
                    found=telling.found,
                    report=telling.report,
                    progress=progress,
                    say=lambda words: say(f"{name}: {words}"),
                    stop=rung,
                    siblings=trials.trials,
                )
                account = account_of(study, trial, data, machine, identity, run_id) | {"forced_by": forced_by}
                return _compute(bench, study, job, attempt, account, telling, say, recorded, bell)
    raise NightOver(f"{name} is not begun: the night is over")


def _named(found: Trials, name: str) -> Trial:
    """The trial as it is declared now; its file may have been changed or deleted since the run was started."""
    for trial in found.trials:
        if trial.name == name:
            return trial
    own = [said for said in found.problems if f"{name}.y" in said or f"({name}): " in said]
    why = own[0] if own else "its file is gone; no trial has this name now"
    raise TrialFailed(name, why, again=False)


@contextmanager
def _begin(bench: Bench, study: Study, name: str, run_id: str, say: Say, bell: Bell | None) -> Iterator[Attempt]:
    """The next attempt; while another process is at the same trial, wait for it: its answer will be ours."""
    with ExitStack() as held:
        while True:
            wait = WAIT_SECONDS if bell is None else min(WAIT_SECONDS, bell.seconds_left())
            try:
                attempt = held.enter_context(bench.records.begin(study.name, name, run_id, wait))
                break
            except TrialBusy as busy:
                if bell is not None and bell.rung():
                    raise NightOver(f"{name} is not begun: the night is over, and {busy}") from busy
                say(f"{busy}; waiting for its answer")
        yield attempt


def _found(bench: Bench, record: Record, say: Say) -> Answer:
    _publish(bench, say)  # whoever wrote the record may have died before the database had it
    return Answer(record, True)


def _compute(
    bench: Bench,
    study: Study,
    job: TrialJob,
    attempt: Attempt,
    account: dict[str, Any],
    telling: Telling,
    say: Say,
    recorded: Callable[[], None],
    bell: Bell | None,
) -> Answer:
    """`recorded` is called as soon as the record is durable: what dies while publishing leaves no states behind."""
    name = job.trial.name
    started = time.perf_counter()
    try:
        with ended_by(bell):
            outcome = study.run_trial(job)
        record = attempt.commit(account | result_of(bench, outcome) | {"ended": moment()}, outcome.tables)
    except BaseException as problem:
        interrupted = not isinstance(problem, Exception)
        rang = interrupted and bell is not None and bell.presses()
        said = "the night ended" if rang else "interrupted" if interrupted else sentence(problem)
        said += "; finished epochs are kept" if interrupted else ""
        account |= {
            "status": "paused" if interrupted else "failed",
            "error": said if interrupted else f"{said}\n{traceback.format_exc(limit=-6)}",
            "again": interrupted or may_pass(problem),
            "later": interrupted or passes_later(problem),
            "epochs_done": telling.done,
            "epochs_trained": len(telling.trained),
            "seconds_spent": time.perf_counter() - started,
        }
        try:
            attempt.commit(account | {"ended": moment()}, {})
        except Exception as second:  # the first problem is the one to be told
            say(f"{name}: that it {account['status']} could not be recorded: {sentence(second)}")
        _publish(bench, say)
        if rang:
            raise _paused(name, account) from problem
        if interrupted:
            raise
        raise TrialFailed(name, said, again=may_pass(problem)) from problem
    recorded()
    _publish(bench, say)
    if outcome.trained.status == "diverged":
        raise TrialFailed(name, outcome.trained.problem, again=False)
    if outcome.trained.status == "paused":
        raise _paused(name, record.account)
    return Answer(record, False)


def _paused(name: str, account: dict[str, Any]) -> NightOver:
    at = f"{account['epochs_done']} of {account['epochs_planned']} epochs"
    return NightOver(f"{name} is paused with {at}: the night is over, the next goes on from there")


def _publish(bench: Bench, say: Say) -> None:
    """The database is made from the records and can wait for them: its trouble is none of the trial."""
    try:
        publish(bench.lab)
    except Exception as problem:
        say(f"recorded; results.duckdb shows the state before: {sentence(problem)}")
