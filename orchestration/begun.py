"""How many epochs of a trial are there already: its own from an earlier attempt or this moment, or those of a sibling.

What an attempt leaves is in its record. Of one that is under way, or that died without a word, the notes of the states
tell.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from ml.studies.experiments import same_settings
from ml.studies.study import Study, Trial
from orchestration.nights import clock
from orchestration.plan import TrialState
from orchestration.resources import Bench, StudyData
from storage.leftovers import lying

SLACK = 60.0
"""Seconds by which the clock of a disk may be behind."""


def identity_of(bench: Bench, study: Study, trial: Trial, data: StudyData | None) -> str | None:
    """The present fingerprint of the trial, where what it is made of is known."""
    if data is None or not bench.machine_is_known():
        return None
    origin = study.origin(data.fingerprint, data.features_key)
    return study.trial_fingerprint(trial, origin, bench.machine().precision)


def chains_of(study: Study, trials: Sequence[Trial]) -> dict[str, str]:
    """Trial to what it shares epochs in; two that say the same share all of them."""
    twins = {second: first for first, second in same_settings(trials)}
    own = {trial.name: study.chain(trial) for trial in trials}
    return {name: own[twins.get(name, name)] for name in own}


def epochs_begun(
    bench: Bench, study: Study, data: StudyData, states: Sequence[TrialState], chains: Mapping[str, str]
) -> dict[str, int]:
    """Trial to the epochs of it that need not be trained any more, for all of `states` that are not done."""
    wanted = {chains[one.trial.name] for one in states if one.state != "done"}
    under_way = _noted(bench, study, data, states)
    reached: dict[str, int] = {}
    stopped: dict[str, int] = {}
    """Chain to the patience of the most patient of it that stopped early: who waits no longer is at its end too."""
    for one in states:
        chain = chains[one.trial.name]
        if chain not in wanted:
            continue
        if one.state == "done":
            account = _finished(bench, study, one)
            own = int(account["epochs_done"])
            if account.get("stopped_early") and (patience := study.patience(account["config"])) is not None:
                stopped[chain] = max(stopped.get(chain, 0), patience)
        else:
            own = max(_recorded(bench, study, one, data), under_way.get(one.trial.name, 0))
        reached[chain] = max(reached.get(chain, 0), own)
    found = {}
    for one in states:
        if one.state != "done":
            chain, planned = chains[one.trial.name], study.planned_epochs(one.trial)
            patience = study.patience(one.trial.config.model_dump(mode="json"))
            ended = patience is not None and patience <= stopped.get(chain, 0)
            found[one.trial.name] = planned if ended else min(reached[chain], planned)
    return found


def _finished(bench: Bench, study: Study, one: TrialState) -> dict[str, Any]:
    """The newest account of a trial that is done."""
    history = bench.records.history(study.name, one.trial.name)
    return [record.account for record in history if record.account["status"] == "finished"][-1]


def _recorded(bench: Bench, study: Study, one: TrialState, data: StudyData) -> int:
    """The epochs that the record of the newest attempt tells of, where it was at the same trial."""
    if one.state not in ("paused", "failed", "running"):
        return 0
    record = bench.records.latest(study.name, one.trial.name)
    if record is None or record.account["fingerprint"] != identity_of(bench, study, one.trial, data):
        return 0
    return int(record.account.get("epochs_done") or 0)


def _noted(bench: Bench, study: Study, data: StudyData, states: Sequence[TrialState]) -> dict[str, int]:
    """Trials that are under way, or were begun without a word since, to the last epoch that they have trained."""
    running = {one.trial.name for one in states if one.state == "running"}
    since: list[float] = []
    for name in running | {one.trial.name for one in states if one.state == "missing" and one.why}:
        latest = bench.records.latest(study.name, name)
        told = latest.number if latest else 0
        for number, said in bench.records.begun(study.name, name).items():
            if number > told:
                started = dt.datetime.fromisoformat(said["started"])
                since.append(clock.as_recorded(started).timestamp() - SLACK)
    if not since:
        return {}
    present = study.origin(data.fingerprint, data.features_key), bench.machine().precision
    found: dict[str, int] = {}
    for one in lying(bench.shelf("states"), min(since)):
        owner, epoch = one.owner, one.note.get("epoch")
        name = str(owner.get("trial"))
        own = owner.get("study") == study.name and (owner.get("origin"), owner.get("precision")) == present
        # What is trained anew on request is not there for others: of it only the one that is under way counts.
        if own and epoch is not None and (name in running or owner.get("forced_by") is None):
            found[name] = max(found.get(name, 0), int(epoch))
    return found
