"""What the trials of a night will cost: from measured epochs, else from a calibration that is made once and kept.

A calibration uses the machine. So only who says `calibrate` makes one: the command, and the step that prepares a night,
whose process ends. The daemon's own processes live on and would hold the GPU; what nobody measured is unknown to them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ml.config import fingerprint
from ml.studies.study import Estimate, Study, Trial
from orchestration.lease import machine_lease
from orchestration.resources import Bench, StudyData
from storage import durable

if TYPE_CHECKING:
    from ml.training.machine import Machine

UNKNOWN = "unknown: no epoch of this network has been measured on this machine yet"

LATELY = 20
"""Finished trials by which it is judged what a trial takes around its epochs."""


def machine_is_known(bench: Bench) -> bool:
    """Whether it was ever found out what computes in this lab; finding out uses it."""
    return (bench.lab.root / "machine-resolved.json").is_file()


def costs(
    bench: Bench, study: Study, data: StudyData, trials: Sequence[Trial], *, calibrate: bool
) -> tuple[list[Estimate], float]:
    """What each trial costs alone, stopping early left aside; and the seconds that each takes around its epochs."""
    if not trials:
        return [], 0.0
    if not (calibrate or machine_is_known(bench)):
        return [Estimate(None, 0, UNKNOWN)] * len(trials), 0.0
    settings, machine = bench.settings(study), bench.machine()
    measured = _measured(bench, study, machine)
    timed, refused = _Timed(bench, machine), set[str]()
    found = []
    for trial in trials:
        network = _network(trial.config.model_dump(mode="json"))
        seconds, basis = measured.per_item.get(network), ""
        if seconds is None:
            key = fingerprint(study.name, network)
            seconds, basis = timed.known.get(key), "rough: a few steps of this network timed on this machine"
            if seconds is None and calibrate and key not in refused:
                with machine_lease(bench.lab, machine, f"timing steps of {study.name}", _unsaid, lambda: True) as lent:
                    seconds = _calibrated(study, trial, data, settings, machine) if lent else None
                timed.keep(key, seconds)
                refused |= {key} if seconds is None else set()
        if seconds is None:
            found.append(Estimate(None, 0, UNKNOWN))
        else:
            estimate = study.estimate(trial, data.files, settings, machine, seconds)
            found.append(replace(estimate, basis=basis or estimate.basis) if estimate.seconds is not None else estimate)
    return found, measured.around


def _unsaid(words: str) -> None:
    """While a trial has the machine nothing is timed: a step would take as long as the trial lets it."""


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


def _calibrated(study: Study, trial: Trial, data: StudyData, settings: Any, machine: Machine) -> float | None:
    """Seconds per item as a short calibration finds them; the study multiplies them by the items that it foresees."""
    nothing, one = (study.estimate(trial, data.files, settings, machine, each).seconds for each in (0.0, 1.0))
    said = study.estimate(trial, data.files, settings, machine, None).seconds
    if said is None or nothing is None or one is None or one <= nothing:
        return None
    return max(0.0, said - nothing) / (one - nothing)


class _Timed:
    """The calibrations of this lab's machine, kept in a file: another machine begins anew."""

    def __init__(self, bench: Bench, machine: Machine) -> None:
        self._file: Path = bench.lab.root / "calibrated.json"
        self._machine = machine.as_json()
        said: dict[str, Any] = {}
        if self._file.is_file():
            try:
                said = durable.read_sealed(self._file)
            except durable.Damaged:  # it is made again
                said = {}
        self.known: dict[str, float] = said["seconds"] if said.get("machine") == self._machine else {}

    def keep(self, key: str, seconds: float | None) -> None:
        if seconds is not None:
            self.known[key] = seconds
            durable.write_sealed(self._file, {"machine": self._machine, "seconds": self.known})
