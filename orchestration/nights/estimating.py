"""What the trials of a night will cost: from measured epochs, else from a few steps that are timed once and kept.

To foresee a trial its network is built, and to time it the machine is used. So only who says `foresee` does either:
the command, and the step that prepares a night, whose processes end. What they find is kept, and from that the daemon's
own processes reckon, which live on and would hold hundreds of MB of libraries, or the GPU.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from ml.config import fingerprint
from ml.studies.study import Estimate, Study, Trial
from orchestration.lease import machine_lease
from orchestration.resources import Bench, StudyData
from storage import durable

if TYPE_CHECKING:
    from ml.training.machine import Machine

UNKNOWN = "unknown: nothing was timed for it yet; `nocturne plan` does, and so does the beginning of a night"
MEASURED = "epochs of this network measured on this machine"
ROUGH = "rough: a few steps of this network timed on this machine"

LATELY = 20
"""Finished trials by which it is judged what a trial takes around its epochs."""

FILE = "foreseen.json"
"""In the lab: what was foreseen and timed. Made again when it is missing."""


def costs(
    bench: Bench, study: Study, data: StudyData, trials: Sequence[Trial], *, foresee: bool
) -> tuple[list[Estimate], float]:
    """What each trial costs alone, stopping early left aside; and the seconds that each takes around its epochs."""
    if not trials:
        return [], 0.0
    if not (foresee or bench.machine_is_known()):
        return [Estimate(None, 0, UNKNOWN)] * len(trials), 0.0
    machine = bench.machine()
    measured, kept = _measured(bench, study, machine), _Kept(bench, study, data, machine)
    found = []
    for trial in trials:
        network = _network(trial.config.model_dump(mode="json"))
        per_item, basis = measured.per_item.get(network), MEASURED
        if per_item is None:
            per_item, basis = kept.per_item.get(fingerprint(study.name, network)), ROUGH
        if foresee:
            per_item = kept.foresee(trial, network, per_item)
        amount = kept.amount(trial)
        if amount is None or per_item is None:
            found.append(Estimate(None, 0, kept.problems.get(trial.name, UNKNOWN)))
        else:
            found.append(Estimate(amount.seconds + amount.items * per_item, amount.disk_bytes, basis))
    kept.write()
    return found, measured.around


def _network(config: dict[str, Any]) -> str:
    return str(config.get("model"))


@dataclass(frozen=True)
class _Measured:
    """What finished trials of a study have taken on this machine."""

    per_item: dict[str, float]
    """Network to the seconds per trained item of the newest trial with it."""
    around: float
    """Seconds between the beginning of a trial and its end that were not spent on its epochs: evaluation, records."""


def _measured(bench: Bench, study: Study, machine: Machine) -> _Measured:
    newest: dict[str, tuple[str, float]] = {}
    around: list[tuple[str, float]] = []
    facts = machine.as_json()
    for trial in bench.trials(study).trials:
        for record in bench.records.history(study.name, trial.name):
            account = record.account
            if account["status"] != "finished" or account.get("machine_facts") != facts:
                continue
            ended = account["ended"]
            took = (dt.datetime.fromisoformat(ended) - dt.datetime.fromisoformat(account["started"])).total_seconds()
            around.append((ended, max(0.0, took - (account.get("seconds_spent") or 0.0))))
            items = (account.get("items_per_epoch") or 0) * (account.get("epochs_done") or 0)
            network = _network(account.get("config") or {})
            if items and (network not in newest or ended > newest[network][0]):
                newest[network] = ended, account["seconds_standalone"] / items
    lately = [seconds for _, seconds in sorted(around)[-LATELY:]]
    per_item = {network: seconds for network, (_, seconds) in newest.items()}
    return _Measured(per_item, median(lately) if lately else 0.0)


@dataclass(frozen=True)
class _Amount:
    """How much a trial is, whatever it is computed with: its seconds are `seconds` and `items` times those of one."""

    seconds: float
    items: float
    disk_bytes: int


class _Kept:
    """What was foreseen of trials, and the steps that were timed on this machine, from one call to the next."""

    def __init__(self, bench: Bench, study: Study, data: StudyData, machine: Machine) -> None:
        self._bench, self._study, self._data, self._machine = bench, study, data, machine
        self._origin = study.origin(data.fingerprint, data.features_key)
        self._file = bench.lab.root / FILE
        self.problems: dict[str, str] = {}
        """Trial to why nothing can be foreseen of it."""
        said: dict[str, Any] = {}
        if self._file.is_file():
            try:
                said = durable.read_sealed(self._file)
            except durable.Damaged:  # it is made again
                said = {}
        if said.get("machine") != machine.as_json():
            said = {}
        self.per_item: dict[str, float] = said.get("per_item", {})
        self._studies: dict[str, dict[str, Any]] = said.get("studies", {})
        own = self._studies.get(study.name, {})
        self._amounts: dict[str, list[float]] = own["trials"] if own.get("origin") == self._origin else {}
        self._tried: set[str] = set()
        self._changed = False

    def amount(self, trial: Trial) -> _Amount | None:
        """What was foreseen of the trial with the present data and settings."""
        said = self._amounts.get(self._key(trial))
        return None if said is None else _Amount(said[0], said[1], int(said[2]))

    def foresee(self, trial: Trial, network: str, per_item: float | None) -> float | None:
        """Foresees the trial where that was not done, and times its network where nobody knows; seconds per item."""
        known = self.amount(trial)
        if known is None:
            known = self._amount_of(trial)
        if known is None or per_item is not None:
            return per_item
        key = fingerprint(self._study.name, network)
        if key not in self._tried:
            self._tried.add(key)
            seconds = self._timed(trial, known)
            if seconds is not None:
                self.per_item[key], self._changed = seconds, True
        return self.per_item.get(key)

    def write(self) -> None:
        """Keeps what is new."""
        if self._changed:
            self._studies[self._study.name] = {"origin": self._origin, "trials": self._amounts}
            said = {"machine": self._machine.as_json(), "per_item": self.per_item, "studies": self._studies}
            durable.write_sealed(self._file, said)

    def _key(self, trial: Trial) -> str:
        return fingerprint(trial.config.identity())

    def _estimate(self, trial: Trial, per_item: float | None) -> Estimate:
        return self._study.estimate(trial, self._data.files, self._bench.settings(self._study), self._machine, per_item)

    def _amount_of(self, trial: Trial) -> _Amount | None:
        nothing, one = self._estimate(trial, 0.0), self._estimate(trial, 1.0)
        if nothing.seconds is None or one.seconds is None:
            self.problems[trial.name] = one.basis
            return None
        found = _Amount(nothing.seconds, one.seconds - nothing.seconds, one.disk_bytes)
        self._amounts[self._key(trial)] = [found.seconds, found.items, found.disk_bytes]
        self._changed = True
        return found

    def _timed(self, trial: Trial, amount: _Amount) -> float | None:
        """Seconds per item as a few steps take them. While a trial has the machine they would take as long as it lets
        them, so nothing is timed then."""
        what = f"timing steps of {self._study.name}"
        with machine_lease(self._bench.lab, self._machine, what, lambda words: None, lambda: True) as lent:
            if not lent:
                self.problems[trial.name] = "unknown: a trial has the machine now, so nothing is timed"
                return None
            estimate = self._estimate(trial, None)
        if estimate.seconds is None:
            self.problems[trial.name] = estimate.basis
            return None
        return max(0.0, estimate.seconds - amount.seconds) / amount.items if amount.items > 0 else None
