"""What the concert study is there to show, on sound that asks for it: balancing finds TUNING and costs some MUSIC."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.config import merge
from ml.studies.concert.study import CONCERT, DEMO_LAB
from orchestration import data
from orchestration.resources import Bench
from orchestration.trials import run_trial
from storage.query import query
from tests.small_lab import small_corpus, small_lab

SEEDS = (0, 1, 2)

RECALL = """
select sum("count") filter (where predicted = actual) / sum("count") as recall, sum("count") as windows
from confusion where level = 'window' and actual = ? and trial = ?
"""
"""Over the windows of validation and test together: neither was trained on, and alone each has few of TUNING."""


def recalls(bench: Bench, trial: str) -> dict[str, tuple[float, int]]:
    """Class to recall and windows, as a person would ask for it in the morning."""
    run_trial(bench, CONCERT, trial, run_id="by hand", forced_by=None, say=print)
    found = {}
    for name in ("TUNING", "MUSIC"):
        row = query(bench.lab, RECALL, [name, trial]).iloc[0]
        found[name] = (float(row["recall"] or 0), int(row["windows"]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_balancing_finds_tuning_and_costs_music(tmp_path: Path, seed: int) -> None:
    """The demo's own settings; `seed` makes other recordings, other first weights and other draws."""
    corpus = small_corpus(tmp_path / "corpus", seed=seed, scale=1.0)
    bench = small_lab(tmp_path / "lab", corpus, **merge(DEMO_LAB, {"trial": {"seed": 42 + seed}}))
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    data.divide(bench, CONCERT)
    data.build_features(bench, CONCERT, lambda share, words: None)
    drawn, balanced = (recalls(bench, f"balance_{strength}") for strength in ("0.00", "1.00"))
    for name in drawn:
        print(
            f"seed {seed}: recall of {name} over {drawn[name][1]} windows: "
            f"{100 * drawn[name][0]:.0f} % at 0.00, {100 * balanced[name][0]:.0f} % at 1.00"
        )
    assert drawn["TUNING"][1] >= 8, "too few windows to say anything"
    assert balanced["TUNING"][0] > drawn["TUNING"][0]
    assert balanced["MUSIC"][0] <= drawn["MUSIC"][0]
