"""What a night cannot find out, said before it is spent: two changes at once, twins, too few recordings."""

from __future__ import annotations

from collections.abc import Sequence

from ml.metrics.resolution import too_few
from ml.studies.experiments import same_settings
from ml.studies.study import Study, Trial
from ml.studies.words import first_of
from orchestration.resources import Bench, NotReady

POINTS = 5.0
"""The difference between two trials, in points of 100, that is to be seen where nobody says another."""

NAMED = 3
"""Trials of which the same is said, by name; the others are counted."""


def confounds(bench: Bench, study: Study, trials: Sequence[Trial], points: float = POINTS) -> list[str]:
    """Sentences about the `trials` that are to run and the recordings that will judge them."""
    names = {trial.name for trial in trials}
    said: dict[str, list[str]] = {}
    for trial in trials:
        for remark in study.remarks(trial):
            said.setdefault(remark, []).append(trial.name)
    found = [f"{first_of(named, NAMED)}: {remark}" for remark, named in said.items()]
    for first, second in same_settings(bench.trials(study).trials):
        if {first, second} & names:
            found.append(f"{second} says the same as {first}: it costs no epochs, and shows no difference")
    try:
        split = bench.data(study).split
    except NotReady:
        return found
    for part in ("validation", "test"):
        found += too_few(split, part, points, by_score=study.compared is not None)
    return found
