"""Good or trouble, at and beyond every threshold of the guide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from ml.studies.denoise.verdicts import overall, verdict
from ml.studies.results import Results

GOOD: dict[str, Any] = {"best_loss": 0.004, "gap": 0.002, "epochs_done": 47, "stopped_early": True}


@pytest.mark.parametrize(
    ("said", "word", "why"),
    [
        ({}, "good", "stopped after 47 epochs"),
        ({"best_loss": 0.01}, "good", "validation loss 0.01"),
        ({"best_loss": 0.0004}, "good", "below the usual 0.001"),
        ({"gap": -0.2}, "good", "gap -0.2"),
        ({"epochs_done": 30}, "good", "30 epochs"),
        ({"epochs_done": 100}, "good", "100 epochs"),
        ({"best_loss": 0.011}, "fair", "validation loss 0.011 is over 0.01"),
        ({"best_loss": 0.1}, "fair", "validation loss 0.1 is over 0.01"),
        ({"gap": 0.01}, "fair", "gap 0.01 is not below 0.01"),
        ({"gap": 0.05}, "fair", "gap 0.05 is not below 0.01"),
        ({"epochs_done": 29}, "fair", "stopped after 29 epochs, not 30 to 100"),
        ({"epochs_done": 101}, "fair", "stopped after 101 epochs"),
        ({"best_loss": 0.101}, "trouble", "poor denoising"),
        ({"gap": 0.051}, "trouble", "learned by heart"),
        ({"stopped_early": False, "epochs_done": 150}, "trouble", "no early stop in 150 epochs"),
        ({"loss": "l1_stft"}, "no verdict", "this is l1_stft"),
    ],
)
def test_every_threshold(said: dict[str, Any], word: str, why: str) -> None:
    text = verdict(**(GOOD | said))
    assert text.partition(":")[0] == word and why in text, text


def test_trouble_names_all_that_is_wrong() -> None:
    text = verdict(best_loss=0.2, gap=0.02, epochs_done=150, stopped_early=False)
    assert text == (
        "trouble: validation loss 0.2 is over 0.1: poor denoising; no early stop in 150 epochs: not converged; "
        "gap 0.02 is not below 0.01"
    )


def results(
    trials: list[dict[str, Any]], rates: dict[float, float] | None = None, diverged: Sequence[float] = ()
) -> Results:
    rows = []
    for number, said in enumerate(trials):
        own = GOOD | said
        row = {"trial": f"t{number}", "status": "finished", "best_validation_loss": own["best_loss"]}
        rows.append(row | {"gap": own["gap"], "stopped_early": own["stopped_early"], "verdict": verdict(**own)})
    impact = [{"setting": "training.lr", "number": rate, "best": loss} for rate, loss in (rates or {}).items()]
    names = [f"d{number}" for number in range(len(diverged))]
    tables = {
        "fits": pd.DataFrame(rows),
        "impact": pd.DataFrame(impact, columns=["setting", "number", "best"]),
        "failures": pd.DataFrame({"trial": [*names, "broken"], "status": [*["diverged"] * len(names), "failed"]}),
        "trials": pd.DataFrame(
            {
                "trial": [*names, "broken"],
                "config": [*(json.dumps({"training": {"lr": rate}}) for rate in diverged), None],
            }
        ),
    }
    return Results(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), tables.__getitem__)


def test_together_they_are_counted_and_say_what_to_do() -> None:
    said = overall(results([{}, {}, {"gap": 0.02}, {"gap": 0.06}, {"stopped_early": False}]))
    assert said[0] == "5 trials: 2 good, 1 fair, 2 trouble."
    assert said[1] == "1 trial with a gap over 0.05: the training part is learned by heart. More recordings help."
    assert said[2] == "1 trial did not stop early: 4 others did, so more epochs may help." and len(said) == 3


def test_what_holds_for_all_is_said_of_all() -> None:
    said = overall(results([{"best_loss": 0.3, "stopped_early": False}] * 2))
    assert said[1].startswith("Even the best validation loss, 0.3, is over 0.1: poor denoising.")
    assert said[2].startswith("No trial stopped early: none has converged.")
    assert said[2].endswith("That alone is `trouble` by the guide; the trials ran as planned.")
    assert overall(results([{"loss": "l1_stft"}])) == ["No verdicts: the thresholds are for the loss mse."]


@pytest.mark.parametrize(("rates", "told"), [({1e-4: 0.02, 5e-4: 0.01}, True), ({1e-4: 0.01, 5e-4: 0.02}, False)])
def test_only_the_highest_rate_doing_well_is_a_sign_of_trouble(rates: dict[float, float], told: bool) -> None:
    said = overall(results([{}], rates))
    assert any("the highest learning rate of all, 0.0005" in line for line in said) == told


@pytest.mark.parametrize(
    ("diverged", "told"),
    [
        ((1e-3,), "1 trial diverged at 0.001: higher ones are no remedy"),
        ((1e-3, 2e-3, 1e-4), "2 trials diverged at 0.001 or above"),
        ((5e-4,), "1 trial diverged at 0.0005: higher ones are no remedy"),
        ((1e-4,), "the highest learning rate of all, 0.0005: try higher ones"),
    ],
)
def test_higher_rates_are_not_advised_where_they_diverged(diverged: tuple[float, ...], told: str) -> None:
    *_, said = overall(results([{}], {1e-4: 0.02, 5e-4: 0.01}, diverged))
    assert told in said and ("try higher ones" in said) == ("try higher ones" in told)
