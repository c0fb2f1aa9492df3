"""Labs to be cleaned: their trials are few and real; what lies in them and is not needed; what must never change."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from ml.studies.concert.study import CONCERT
from ml.studies.denoise.demo import write_corpus
from ml.studies.denoise.study import DENOISE
from ml.studies.study import Study
from orchestration.answers import best_model
from orchestration.nights.unneeded import Found, unneeded
from orchestration.releasing import owner_of
from orchestration.resources import Bench
from orchestration.trials import run_trial
from tests.orchestration.nights.made_up import look
from tests.small_lab import small_lab, write_yaml

TRIALS = ("first", "second")
LATER = dt.timedelta(hours=2)
"""What was built a moment ago is not looked at before it is an hour old."""


def lab_of_two_trials(folder: Path, corpus: Path) -> Path:
    """The root of a lab with the answers of two trials of its own."""
    bench = small_lab(folder, corpus)
    look(bench, CONCERT)
    for seed, name in enumerate(TRIALS):
        write_yaml(bench.lab.experiments("concert") / f"{name}.yaml", {"seed": seed})
        train(bench, name)
    best_model(bench, CONCERT)
    return bench.lab.root


def lab_of_a_grid(folder: Path, grid: dict[str, Any]) -> Path:
    """The root of a lab with the features of a small corpus, and a grid of which nothing is trained."""
    (folder / "corpus").mkdir()
    write_corpus(folder / "corpus", scale=0.1)
    bench = small_lab(folder / "lab", folder / "corpus", "denoise")
    look(bench, DENOISE)
    write_yaml(bench.lab.experiments("denoise") / "small.yaml", grid)
    bench.machine()
    return bench.lab.root


def train(bench: Bench, name: str, forced_by: str | None = None, study: Study = CONCERT) -> dict[str, Any]:
    """A trial to its end, at once; its account."""
    done = run_trial(bench, study, name, run_id="by hand", forced_by=forced_by, say=lambda words: None)
    return done.record.account


def found(bench: Bench, later: dt.timedelta = LATER, study: Study = CONCERT) -> Found:
    """What is unneeded so much later."""
    return unneeded(bench, dt.datetime.now(dt.UTC) + later, studies=[study])


def kinds(what: Found) -> set[tuple[str, str]]:
    """Kind and reason of what is unneeded, without locks."""
    return {(one.kind, one.why) for one in what.leftovers if one.kind != "locks"}


def everything(bench: Bench) -> dict[Path, bytes]:
    """Every file of records, reports and what a person wrote."""
    root = bench.lab.root
    own = [*bench.lab.records.rglob("*"), *(root / "experiments").rglob("*"), *bench.lab.reports.rglob("*")]
    own += [*bench.lab.collected.rglob("*"), *root.glob("*.yaml"), *root.glob("*.duckdb")]
    return {path.relative_to(root): path.read_bytes() for path in own if path.is_file()}


def left_by_a_kill(bench: Bench, trial: str, key: str, **owner: Any) -> None:
    """A state as a trial leaves it that was killed."""
    whose = owner_now(bench, trial) | owner
    bench.shelf("states", whose).build(key, lambda folder: {"epoch": 1, "settings": {"batch": 1}, "key": key})


def owner_now(bench: Bench, trial: str) -> dict[str, Any]:
    """Whose the states of the trial are, as it is declared now."""
    now = bench.data(CONCERT)
    origin = CONCERT.origin(now.fingerprint, now.features_key)
    declared = {one.name: one for one in bench.trials(CONCERT).trials}[trial]
    return owner_of(CONCERT, declared, origin, bench.machine().precision, None)
