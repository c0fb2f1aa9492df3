"""Whose states are; those that were kept for the trials of a family go when the last of them has come to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml.config import fingerprint
from ml.studies.study import Study, Trial
from orchestration.resources import Bench
from storage.records import Record


def owner_of(study: Study, trial: Trial, origin: str, precision: str, forced_by: str | None) -> dict[str, Any]:
    """What is noted beside the states of a trial, so that they are known for its own when nobody trains it any more."""
    return {
        "study": study.name,
        "trial": trial.name,
        "family": family_of(study, trial),
        "origin": origin,
        "precision": precision,
        "forced_by": forced_by,
    }


def family_of(study: Study, trial: Trial) -> str:
    """What a trial has in common with those that begin as it does; for one that begins alone, all that it says."""
    return study.family(trial) or fingerprint(trial.config.content())


def release_states(
    bench: Bench,
    study: Study,
    trial: Trial,
    trials: Sequence[Trial],
    ended: Callable[[Trial], Record | None],
) -> int:
    """Drops the states of the family of `trial` where `ended` answers for all of it; how many states that were.

    Models, metrics and the notes of all epochs stay, and of each chain the last and the best state: more epochs go on
    from there. A trial that joins the family in another way trains its beginning anew, to the same numbers.
    """
    family = study.family(trial)
    if family is None:
        return 0
    # The last ones first: while a family is being trained they are the ones that lack. Two that say the same under two
    # names need each epoch once, so either answers for both.
    answers: dict[str, Record | None] = {}
    chains: dict[str, list[Record]] = {}
    for other in reversed(trials):
        if study.family(other) == family:
            said = fingerprint(other.config.content())
            answers[said] = answers.get(said) or ended(other)
            record = answers[said]
            if record is not None:
                chains.setdefault(study.chain(other), []).append(record)
            elif not _has_twin(other, trials):
                return 0
    if None in answers.values():
        return 0
    kept = {key for records in chains.values() for key in last_and_best(records)}
    left = {key for records in chains.values() for record in records for key in state_keys(record).values()}
    return bench.shelf("states").release(left - kept)


def last_and_best(records: Sequence[Record]) -> set[str]:
    """The last and the best state of the longest of a chain that came to its end in numbers."""
    finished = [record for record in records if record.account["status"] == "finished"]
    if not finished:
        return set()
    longest = max(finished, key=lambda record: record.account["epochs_done"])
    keys = state_keys(longest)
    return {keys[longest.account["epochs_done"]], keys[longest.account["best_epoch"]]}


def state_keys(record: Record) -> dict[int, str]:
    """Epoch to the key of its state."""
    epochs = record.table("epochs")[["epoch", "key"]].drop_duplicates("epoch")
    return {int(epoch): str(key) for epoch, key in epochs.itertuples(index=False, name=None)}


def _has_twin(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether another trial says the same under another name."""
    said = trial.config.identity()
    return any(other is not trial and other.config.identity() == said for other in trials)
