"""What a run that belongs to a night asks before each of its trials: may it be begun, and when does it have to end?"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from ml.studies.study import Study
from orchestration.account import account_of, moment
from orchestration.nights.bell import Bell
from orchestration.nights.marks import bell_of, night_of
from orchestration.nights.window import Night
from orchestration.nights.work import GIVEN_UP, attempts_tonight, begun_tonight
from orchestration.resources import Bench
from storage.results import publish

DEADLY = 2
"""So often a trial may take its run with it before the retries of that run leave it out and go on with the others."""


@dataclass(frozen=True)
class Tonight:
    """The night that a run belongs to, as far as its trials are concerned."""

    bench: Bench
    study: Study
    night: Night
    bell: Bell
    run_id: str
    retried: bool
    """Whether the run stands for one whose process died."""

    def given_up(self, name: str) -> str:
        """Why the trial is not begun again before the next night, or ""; recorded, where nothing else was."""
        tries = attempts_tonight(self.bench, self.study, name, self.night)
        if tries < self.bench.settings(self.study).night.attempts:
            return ""
        said = f"given up for tonight: begun {tries} times without a result"
        if deaths := deaths_in(self.bench, self.study, name, self.night):
            said += f", {deaths} of them ended without a word (killed, or out of memory)"
            self._record(name, said)
        return said

    def left_out(self, name: str) -> str:
        """Why this run goes on without the trial, which a later run begins again where it is wanted, or ""."""
        mode = self.bench.settings(self.study).night.mode
        trials = self.bench.trials(self.study).trials if mode is not None else ()
        if any(trial.name == name and mode != (trial.mode or name) for trial in trials):
            return f"left out: by now the nights of {self.study.name} are for `mode: {mode}` alone"
        if self.retried and (deaths := deaths_in(self.bench, self.study, name, self.night)) >= DEADLY:
            return f"left out for now: {deaths} runs ended without a word while they were at it; the others go first"
        return ""

    def _record(self, name: str, said: str) -> None:
        """A process that dies writes nothing: without this the results would not know of the trial."""
        latest = self.bench.records.latest(self.study.name, name)
        if latest is not None and latest.number == max(self.bench.records.begun(self.study.name, name), default=0):
            return
        trial = next(one for one in self.bench.trials(self.study).trials if one.name == name)
        data, machine = self.bench.data(self.study), self.bench.machine()
        identity = self.study.trial_fingerprint(
            trial, self.study.origin(data.fingerprint, data.features_key), machine.precision
        )
        account = account_of(self.study, trial, data, machine, identity, self.run_id)
        with self.bench.records.begin(self.study.name, name, self.run_id) as attempt:
            attempt.commit(
                account | {GIVEN_UP: True, "error": said, "again": True, "later": True, "ended": moment()}, {}
            )
        publish(self.bench.lab)


def deaths_in(bench: Bench, study: Study, name: str, night: Night) -> int:
    """Attempts of the night that left no record, though nobody is at the trial: each has taken its run with it."""
    ended = bench.records.ended(study.name, name)
    return sum(not ended.get(number, True) for number in begun_tonight(bench, study, name, night))


def tonight_of(bench: Bench, study: Study, run: dg.DagsterRun) -> Tonight | None:
    """The night that the run belongs to; None for runs that somebody asked for."""
    night, bell = night_of(run.tags), bell_of(run.tags)
    if night is None or bell is None:
        return None
    return Tonight(bench, study, night, bell, run.run_id, run.parent_run_id is not None)
