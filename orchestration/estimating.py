"""What trials will cost: from measured epochs, else from a few steps that are timed once and kept.

To foresee a trial its network is built, and to time it the machine is used. So only who says `foresee` does either:
the command, and the step that prepares a night, whose processes end. What they find is kept, and from that the daemon's
own processes reckon, which live on and would hold hundreds of MB of libraries, or the GPU.

A trial that may stop early is expected to do so as the latest ones of its study did; what all of its epochs would take
is said beside that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
"""Finished trials by which it is judged what a trial takes around its epochs, and when it stops."""

FILE = "foreseen.json"
"""In the lab: what was foreseen and timed. Made again when it is missing."""


@dataclass(frozen=True)
class Cost:
    """What is left of one trial, as if it were alone, and how that is known."""

    seconds: float | None
    """Expected: the trials of the study stop early as they did so far. None: nobody knows."""
    at_most: float | None
    """If it trains all of its epochs."""
    disk_bytes: int
    basis: str
    spent: float = 0.0
    """Seconds that its epochs took that are there already."""
    epoch_seconds: float = 0.0
    """Of one epoch, evaluation left aside."""

    def later(self, seconds: float) -> Cost:
        """With so many seconds more: what a trial takes around its epochs."""
        if self.seconds is None or self.at_most is None:
            return self
        return replace(self, seconds=self.seconds + seconds, at_most=self.at_most + seconds)


@dataclass(frozen=True)
class Costs:
    """What some trials of a study cost."""

    each: tuple[Cost, ...]
    """In the order of the trials; without what is `around` them."""
    around: float
    """Seconds that each trial takes around its epochs."""


def costs(
    bench: Bench,
    study: Study,
    data: StudyData,
    trials: Sequence[Trial],
    *,
    foresee: bool,
    begun: Mapping[str, int] | None = None,
) -> Costs:
    """What is left of each trial alone; `begun` says which have epochs already, and how many (see `begun.py`)."""
    if not trials:
        return Costs((), 0.0)
    if not (foresee or bench.machine_is_known()):
        return Costs((Cost(None, None, 0, UNKNOWN),) * len(trials), 0.0)
    machine = bench.machine()
    past, kept = _past(bench, study, data, machine), _Kept(bench, study, data, machine)
    found = []
    for trial in trials:
        config = trial.config.model_dump(mode="json")
        network = _network(config)
        per_item, basis = past.per_item.get(network), MEASURED
        if per_item is None:
            per_item, basis = kept.per_item.get(fingerprint(study.name, network)), ROUGH
        if foresee:
            per_item = kept.foresee(trial, network, per_item)
        amount, planned = kept.amount(trial), study.planned_epochs(trial)
        if amount is None or per_item is None:
            found.append(Cost(None, None, 0, kept.problems.get(trial.name, UNKNOWN)))
            continue
        there = (begun or {}).get(trial.name, 0) / max(1, planned)
        share = 1.0
        if study.may_stop_early(config, planned) and past.stops.shares:
            share, basis = past.stops.expected(there), basis + past.stops.told
        epochs = amount.items * per_item
        left, most = amount.seconds + epochs * (share - there), amount.seconds + epochs * (1 - there)
        found.append(Cost(left, most, amount.disk_bytes, basis, epochs * there, epochs / max(1, planned)))
    kept.write()
    return Costs(tuple(found), past.around)


def added(each: Sequence[Cost]) -> Cost:
    """One after the other; nobody knows how long where that holds for one of them."""
    disk = sum(cost.disk_bytes for cost in each)
    known = [(cost.seconds, cost.at_most) for cost in each if cost.seconds is not None and cost.at_most is not None]
    if len(known) < len(each):
        return Cost(None, None, disk, "")
    return Cost(sum(seconds for seconds, _ in known), sum(most for _, most in known), disk, "")


def longest_of_chains(study: Study, trials: Sequence[Trial], each: Sequence[Cost]) -> list[Cost]:
    """The costs that are left when trials that need only epochs of a longer one are counted with that."""
    longest: dict[str, Cost] = {}
    for trial, cost in zip(trials, each, strict=True):
        chain = study.chain(trial)
        if chain not in longest or (cost.at_most or 0.0) > (longest[chain].at_most or 0.0):
            longest[chain] = cost
    return list(longest.values())


def _network(config: dict[str, Any]) -> str:
    return str(config.get("model"))


@dataclass(frozen=True)
class _Stops:
    """How far the latest finished trials came of those that could stop early."""

    shares: tuple[float, ...]
    """Of their planned epochs, what they trained."""

    @property
    def told(self) -> str:
        """What that says, as the end of a sentence; "" where none stopped early."""
        share = median(self.shares) if self.shares else 1.0
        if share > 0.995:
            return ""
        return (
            f"; trials here stopped early after {100 * share:.0f} % of their epochs on median (of {len(self.shares)})"
        )

    def expected(self, there: float) -> float:
        """The share of its epochs that a trial will train which has this share of them already."""
        return median([share for share in self.shares if share > there] or [1.0])


@dataclass(frozen=True)
class _Past:
    """What finished trials of a study have taken."""

    per_item: dict[str, float]
    """Network to the seconds per trained item of the newest trial with it on this machine."""
    around: float
    """Seconds between the beginning of a trial and its end that were not spent on its epochs: evaluation, records."""
    stops: _Stops
    """Of trials with the same data."""


def _past(bench: Bench, study: Study, data: StudyData, machine: Machine) -> _Past:
    """One look at every record of the study, those of trials that are not declared any more included."""
    newest: dict[str, tuple[str, float]] = {}
    around: list[tuple[str, float]] = []
    shares: list[tuple[str, float]] = []
    facts = machine.as_json()
    for name in bench.records.trials(study.name):
        for record in bench.records.history(study.name, name):
            account = record.account
            if account["status"] != "finished":
                continue
            ended, epochs, config = account["ended"], account.get("epochs_done") or 0, account.get("config") or {}
            planned = account.get("epochs_planned") or 0
            if account.get("data_fingerprint") == data.fingerprint and study.may_stop_early(config, planned):
                shares.append((ended, min(1.0, epochs / planned)))
            if account.get("machine_facts") != facts:
                continue
            took = (dt.datetime.fromisoformat(ended) - dt.datetime.fromisoformat(account["started"])).total_seconds()
            around.append((ended, max(0.0, took - (account.get("seconds_spent") or 0.0))))
            items = (account.get("items_per_epoch") or 0) * epochs
            network = _network(config)
            if items and (network not in newest or ended > newest[network][0]):
                newest[network] = ended, account["seconds_standalone"] / items
    per_item = {network: seconds for network, (_, seconds) in newest.items()}
    return _Past(per_item, median(_lately(around) or [0.0]), _Stops(tuple(_lately(shares))))


def _lately(told: Sequence[tuple[str, float]]) -> list[float]:
    return [value for _, value in sorted(told)[-LATELY:]]


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
