"""Which trials share a run, and which come next."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from ml.config import fingerprint
from ml.studies.experiments import told_apart
from ml.studies.study import Study, Trial
from orchestration.resources import Bench
from orchestration.showing import VOICE
from storage.query import NoResults, query

CHILD_SECONDS = 120.0
"""So long a ranking may take; it takes a few seconds."""

_ranked: dict[str, tuple[str, list[str]]] = {}
"""Study to what its ranking was made from, and the ranking."""


def neighbours(bench: Bench, study: Study, todo: Sequence[Trial]) -> list[list[str]]:
    """Runs of neighbours in the order of partitions, for Dagster runs take ranges; families stay whole where they fit.

    None is longer than the `trials_per_run` of the study.
    """
    at_most = bench.settings(study).trials_per_run
    place = {trial.name: number for number, trial in enumerate(bench.trials(study).trials)}
    groups: list[list[str]] = []
    in_order = sorted(todo, key=lambda trial: place[trial.name])
    for _, members in groupby(in_order, key=lambda trial: study.family(trial) or trial.name):
        names = [trial.name for trial in members]
        fits = bool(groups) and len(groups[-1]) + len(names) <= at_most
        for number, name in enumerate(names):
            goes_on = fits or (number > 0 and len(groups[-1]) < at_most)
            if goes_on and place[name] == place[groups[-1][-1]] + 1:
                groups[-1].append(name)
            else:
                groups.append([name])
    return groups


def smartly(bench: Bench, study: Study, todo: Sequence[Trial]) -> Iterator[list[str]]:
    """One trial after the other, always the one that the results so far make most likely to be the best."""
    left = {trial.name for trial in todo}
    tried: set[str] = set()
    while left:
        ranked, finished = promising(bench, study)
        # One that failed has no value and would be asked for again and again.
        name = next((name for name in ranked if name in left and name not in tried), min(left))
        tried.add(name)
        VOICE.info(f"next: {name}, by what {finished} finished trials tell")
        left.discard(name)
        yield [name]


def promising(bench: Bench, study: Study) -> tuple[list[str], int]:
    """The trials without a result, most likely to be the best first, by what so many finished ones tell."""
    from ml.studies.ordering import smart_order

    points = told_apart(bench.trials(study).trials)
    values, lower_is_better = _values(bench, study)
    finished = {name: value for name, value in values.items() if name in points}
    return smart_order(points, finished, seed=0, lower_is_better=lower_is_better), len(finished)


def promising_aside(bench: Bench, study: Study) -> list[str]:
    """As `promising`, found out by a process of its own whenever a trial has finished: its libraries would stay in one
    that lives on. Empty where it cannot be found out: then the order is that of the study."""
    values, _ = _values(bench, study)
    key = fingerprint(str(bench.lab.root), [trial.name for trial in bench.trials(study).trials], sorted(values.items()))
    if _ranked.get(study.name, ("", []))[0] != key:
        _ranked[study.name] = key, _ranked_by_a_child(bench, study)
    return _ranked[study.name][1]


def _ranked_by_a_child(bench: Bench, study: Study) -> list[str]:
    command = [sys.executable, "-m", "orchestration.ranking", str(bench.lab.root), study.name]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHILD_SECONDS,
            check=True,
        )
        return [str(name) for name in json.loads(done.stdout)]
    except (OSError, ValueError, subprocess.SubprocessError) as problem:
        VOICE.warning("the trials of %s run in the order of the study: %s", study.name, problem)
        return []


def _values(bench: Bench, study: Study) -> tuple[dict[str, float], bool]:
    """What the finished trials of the present data came to, and whether less is better."""
    try:
        board = query(
            bench.lab,
            "select trial, selection_value, higher_is_better from leaderboard where study = ? and current_data",
            [study.name],
        ).dropna()
    except NoResults:
        return {}, False
    values = dict(zip(board["trial"], board["selection_value"].astype(float), strict=True))
    return values, not board["higher_is_better"].all()
