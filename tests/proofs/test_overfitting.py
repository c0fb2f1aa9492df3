"""What the emotion study is there to show, on faces that ask for it: without mixing, a network learns them by heart."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from ml.config import merge
from ml.studies.emotion.demo import write_corpus
from ml.studies.emotion.study import DEMO_LAB, EMOTION
from orchestration import data
from orchestration.resources import Bench
from orchestration.trials import run_trial
from storage.query import query
from tests.small_lab import small_lab

SEEDS = (0, 1, 2)
CHANCE = 1 / 7

SAID = """
select max(m.value) filter (where m.part = 'validation' and m.metric = 'macro_f1') as macro_f1,
       any_value(e.value) - max(m.value) filter (where m.part = 'train' and m.metric = 'loss') as gap
from metrics m join trials t using (study, trial)
join epochs e on e.study = t.study and e.trial = t.trial and e.epoch = t.best_epoch
where m.class is null and m.level = 'window' and e.part = 'validation' and e.metric = 'loss' and trial = ?
"""
"""The gap is of the cross-entropy at the chosen epoch, both parts measured without mixing, weights or smoothing."""


class Said(NamedTuple):
    """What a trial came to."""

    macro_f1: float
    gap: float


def answered(bench: Bench, trial: str) -> Said:
    run_trial(bench, EMOTION, trial, run_id="by hand", forced_by=None, say=lambda said: None)
    row = query(bench.lab, SAID, [trial]).iloc[0]
    return Said(float(row["macro_f1"]), float(row["gap"]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_baseline_is_well_above_chance_and_without_mixing_it_overfits_more(tmp_path: Path, seed: int) -> None:
    """The demo's own settings; `seed` makes other persons, other first weights and other draws."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_corpus(corpus, seed=seed)
    bench = small_lab(tmp_path / "lab", corpus, "emotion", **merge(DEMO_LAB, {"trial": {"seed": 42 + seed}}))
    data.take_inventory(bench, EMOTION, lambda share, words: None)
    data.divide(bench, EMOTION)
    data.build_features(bench, EMOTION, lambda share, words: None)
    baseline, bare = answered(bench, "baseline"), answered(bench, "aug_none")
    print(
        f"seed {seed}: macro F1 {baseline.macro_f1:.2f} of the baseline (chance {CHANCE:.2f}); gap of the loss between "
        f"training and validation {baseline.gap:.2f} with mixing, {bare.gap:.2f} without"
    )
    assert baseline.macro_f1 > 2 * CHANCE
    assert bare.gap > baseline.gap
