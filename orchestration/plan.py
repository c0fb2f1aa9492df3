"""What is done and what is not, trial by trial."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml.studies.study import Study, Trial
from orchestration.data import next_data
from orchestration.resources import Bench, NotReady, StudyData

STATES = ("done", "missing", "stale", "failed", "diverged", "paused", "running")


@dataclass(frozen=True)
class TrialState:
    """Where one trial stands."""

    trial: Trial
    state: str
    why: str
    ended: str = ""
    """When it was done, UTC, to the minute."""


def trial_states(bench: Bench, study: Study, *, upcoming: bool = False) -> list[TrialState]:
    """The state of every trial: done only when data, features, settings and precision are the present ones.

    The present data is what was divided last, with which a night goes on; `upcoming`: what will be divided next.
    """
    return states_with(bench, study, present_data(bench, study, upcoming=upcoming))


def present_data(bench: Bench, study: Study, *, upcoming: bool) -> StudyData | None:
    """What was divided last, or what will be next; None where there is none."""
    try:
        return next_data(bench, study) if upcoming else bench.data(study)
    except NotReady:
        return None


def states_with(bench: Bench, study: Study, data: StudyData | None) -> list[TrialState]:
    """The state of every trial with this data; None: nobody has looked at the source."""
    trials = bench.trials(study).trials
    precision = bench.machine().precision if data is not None and bench.machine_is_known() else None
    return [_state(bench, study, trial, data, precision) for trial in trials]


def _state(bench: Bench, study: Study, trial: Trial, data: StudyData | None, precision: str | None) -> TrialState:
    if bench.records.is_running(study.name, trial.name):
        return TrialState(trial, "running", "is being trained now")
    history = bench.records.history(study.name, trial.name)
    finished = [record for record in history if record.account["status"] == "finished"]
    if data is not None and precision is not None:
        origin = study.origin(data.fingerprint, data.features_key)
        identity = study.trial_fingerprint(trial, origin, precision)
        answers = [record.account["ended"] for record in finished if record.account["fingerprint"] == identity]
        if answers:
            return TrialState(trial, "done", "", answers[-1][:16].replace("T", " "))
    if history and history[-1].account["status"] != "finished":
        last = history[-1].account
        return TrialState(trial, last["status"], (last.get("error") or "").split("\n")[0])
    if finished:
        return TrialState(trial, "stale", _what_changed(finished[-1].account, trial, data, study, precision))
    begun = bench.records.begun(study.name, trial.name)
    return TrialState(trial, "missing", f"begun {len(begun)} times, never came to a result" if begun else "")


def _what_changed(
    account: dict[str, object], trial: Trial, data: StudyData | None, study: Study, precision: str | None
) -> str:
    if data is None:
        return "the source has not been looked at yet"
    changed = []
    if account.get("data_fingerprint") != data.fingerprint:
        changed.append("data or split")
    if account.get("features_key") != data.features_key:
        changed.append("features")
    if account.get("revision") != study.revision:
        changed.append("the study's code")
    if account.get("precision") != precision:
        changed.append("precision")
    said = account.get("config")
    silent = ("name", "purpose")  # they change no number
    if isinstance(said, dict) and {k: v for k, v in said.items() if k not in silent} != trial.config.identity():
        changed.append("settings")
    return f"{' and '.join(changed) or 'something'} changed since it was trained"


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of `folder`."""
    import shutil

    return shutil.disk_usage(folder).free
