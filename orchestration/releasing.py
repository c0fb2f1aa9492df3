"""States that were kept for the trials of a family go when the last of them has come to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ml.config import fingerprint
from ml.studies.study import Study, Trial
from orchestration.resources import Bench
from storage.records import Record


def release_states(
    bench: Bench,
    study: Study,
    trial: Trial,
    trials: Sequence[Trial],
    ended: Callable[[Trial], Record | None],
) -> int:
    """Drops the states of the family of `trial` where `ended` answers for all of it; how many states that were.

    Models, metrics and the notes of all epochs stay. A trial that joins the family later trains anew what it needs.
    """
    family = study.family(trial)
    if family is None:
        return 0
    # The last ones first: while a family is being trained they are the ones that lack. Two that say the same under two
    # names need each epoch once, so either answers for both.
    answers: dict[str, Record | None] = {}
    for other in reversed(trials):
        if study.family(other) == family:
            said = fingerprint(other.config.content())
            answers[said] = answers.get(said) or ended(other)
            if answers[said] is None and not _has_twin(other, trials):
                return 0
    if None in answers.values():
        return 0
    records = [record for record in answers.values() if record is not None]
    return bench.shelf("states").release({key for record in records for key in record.table("epochs")["key"].dropna()})


def _has_twin(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether another trial says the same under another name."""
    said = trial.config.identity()
    return any(other is not trial and other.config.identity() == said for other in trials)
