"""What the trials of a study still need of what was built for them. Whatever cannot be told is needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from ml.config import ConfigError, fingerprint
from ml.studies.study import Study, Trial
from orchestration.releasing import family_of, last_and_best, state_keys
from orchestration.resources import Bench, NotReady
from storage import durable
from storage.records import Record


class Unknown(RuntimeError):
    """Why it cannot be told now what a study needs: then all that is there of it stays."""


@dataclass(frozen=True)
class Wanted:
    """What one study needs, as its files, its data and its records say at this moment."""

    study: str
    origin: str
    precision: str
    features_key: str
    alike: str
    """What features have in common that can be taken over when they are built for other recordings."""
    goes_on: frozenset[str]
    """Families of which a trial is still to come to its end: all their states are needed."""
    ended: dict[str, tuple[Record, ...]]
    """Family of which every trial is at its end, to the records of those that came to numbers without being forced."""
    alone: frozenset[str]
    """Of trials that are of no family, what they stand for instead: some may share epochs all the same."""
    chains: dict[str, str]
    """Trial to its chain: the longest of a chain is the one from which more epochs go on."""

    def may_branch(self, family: str) -> bool:
        """Might a trial that is still to come go on from any of its states, though it is at its end?"""
        return family in self.alone and bool(self.alone & self.goes_on)

    @cached_property
    def ends(self) -> set[str]:
        """The last and the best state of each chain of the families that are at their end."""
        found: set[str] = set()
        for records in self.ended.values():
            chains: dict[str, list[Record]] = {}
            for record in records:
                chains.setdefault(self.chains[str(record.trial)], []).append(record)
            found |= {key for chain in chains.values() for key in last_and_best(chain)}
        return found

    @cached_property
    def epochs(self) -> set[str]:
        """The keys of all epochs of those families: what is noted of them serves more epochs."""
        return {key for records in self.ended.values() for record in records for key in state_keys(record).values()}


def wanted_by(bench: Bench, study: Study) -> Wanted:
    """What the study needs; raises `Unknown` where that cannot be told: what is declared cannot be read, a trial is
    running, a record is damaged."""
    try:
        trials, data, settings = bench.trials(study), bench.data(study), bench.settings(study)
        if trials.problems:
            raise Unknown(f"what its trials say cannot be read: {trials.problems[0]}")
        if busy := running(bench, study):
            raise Unknown(f"{busy[0]} is running")
        if not bench.machine_is_known():
            raise Unknown("with which precision it is trained here is not known before the next run")
        precision = bench.machine().precision
        origin = study.origin(data.fingerprint, data.features_key)
        families: dict[str, list[Trial]] = {}
        for trial in trials.trials:
            families.setdefault(family_of(study, trial), []).append(trial)
        ended: dict[str, tuple[Record, ...]] = {}
        for family, members in families.items():
            answers = [_answers(bench, study, trial, origin, precision) for trial in members]
            if all(answers):
                ended[family] = tuple(record for found in answers for record in _newest_to_go_on_from(found))
    except (ConfigError, NotReady, OSError, durable.Damaged) as problem:
        raise Unknown(str(problem)) from problem
    return Wanted(
        study=study.name,
        origin=origin,
        precision=precision,
        features_key=data.features_key,
        alike=fingerprint(study.name, study.revision, study.features_identity(settings)),
        goes_on=frozenset(families) - frozenset(ended),
        ended=ended,
        alone=frozenset(family_of(study, trial) for trial in trials.trials if study.family(trial) is None),
        chains={trial.name: study.chain(trial) for trial in trials.trials},
    )


def running(bench: Bench, study: Study) -> list[str]:
    """The trials of the study that some process is at now."""
    return [name for name in bench.records.trials(study.name) if bench.records.is_running(study.name, name)]


def needed_models(bench: Bench) -> set[str]:
    """The models of the newest finished attempt of every trial that ever was, and those that were noted as the best.

    Raises `Unknown` where a record cannot be read: its model would look like one that nobody has.
    """
    keys: set[str] = set()
    for study in bench.records.studies():
        for trial in bench.records.trials(study):
            finished = [one for one in _history(bench, study, trial) if one.account["status"] == "finished"]
            keys |= {str(one.account["model_key"]) for one in finished[-1:] if one.account.get("model_key")}
        with suppress(durable.Damaged):
            noted = bench.records.noted(study, "best_model")
            keys |= {str(noted.account["model_key"])} if noted else set()
    return keys


def _answers(bench: Bench, study: Study, trial: Trial, origin: str, precision: str) -> list[Record]:
    """The records by which the trial is at its end, newest first: finished as it is now, or diverged last."""
    history = _history(bench, study.name, trial.name)
    identity = study.trial_fingerprint(trial, origin, precision)
    own = [record for record in reversed(history) if record.account["fingerprint"] == identity]
    finished = [record for record in own if record.account["status"] == "finished"]
    return finished or [one for one in own[:1] if one is history[-1] and one.account["status"] == "diverged"]


def _newest_to_go_on_from(answers: Sequence[Record]) -> list[Record]:
    """The newest that came to numbers and was not forced: only from its states do more epochs go on. None, or one."""
    own = (one for one in answers if one.account["status"] == "finished" and one.account.get("forced_by") is None)
    return list(islice(own, 1))


def _history(bench: Bench, study: str, trial: str) -> Sequence[Record]:
    history = bench.records.history(study, trial)
    if len(history) != sum(bench.records.ended(study, trial).values()):
        raise Unknown(f"a record of {study}/{trial} is damaged")
    return history
