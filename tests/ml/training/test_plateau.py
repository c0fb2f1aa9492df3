"""The falling rate equals torch's ReduceLROnPlateau, step by step, to the last bit."""

from __future__ import annotations

import random

import pytest
import torch

from ml.training.plateau import plateau_rate, plateau_rates


def torchs(losses: list[float], *, lr: float, patience: int, factor: float, min_lr: float) -> tuple[float, ...]:
    """The rates that torch's own scheduler sets."""
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min", patience=patience, factor=factor, min_lr=min_lr
    )
    rates = [optimizer.param_groups[0]["lr"]]
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return tuple(rates)


def curve(rng: random.Random) -> list[float]:
    """Losses that fall, stand still, fall by almost nothing, repeat themselves, rise, cross zero."""
    loss, losses = rng.choice([1.0, 1e-3, 40.0, 0.0, -2.0]), []
    for _ in range(rng.randrange(1, 150)):
        kind = rng.random()
        if kind < 0.3:
            loss *= rng.uniform(0.8, 1.0)
        elif kind < 0.5:
            loss *= 1.0 - 1e-4 * rng.uniform(0.0, 2.0)
        elif kind < 0.7:
            loss += rng.uniform(-0.01, 0.05)
        losses.append(loss)
    return losses


def test_equals_torch_step_by_step_on_random_curves() -> None:
    rng = random.Random(20261121)
    fallen = 0
    for _ in range(150):
        losses = curve(rng)
        said = {
            "lr": rng.choice([5e-5, 1e-4, 2e-4, 5e-4, 2e-7, 1e-8]),
            "patience": rng.choice([0, 1, 3, 8, 10, 12, 15]),
            "factor": rng.choice([0.5, 0.3, 0.99]),
            "min_lr": rng.choice([1e-7, 0.0, 1e-5]),
        }
        expected = torchs(losses, **said)  # type: ignore[arg-type]
        assert plateau_rates(losses, **said) == expected, said  # type: ignore[arg-type]
        assert plateau_rate(losses, **said) == expected[-1]  # type: ignore[arg-type]
        fallen += len(set(expected)) > 1
    assert fallen > 40, "too few curves on which a rate falls: this shows nothing"


@pytest.mark.parametrize("patience", [8, 12, 15])
def test_falls_after_one_bad_epoch_more_than_its_patience(patience: int) -> None:
    flat = [1.0] * (patience + 2)
    rates = plateau_rates(flat, lr=1e-4, patience=patience, factor=0.5, min_lr=1e-7)
    assert rates == (*(1e-4,) * (patience + 2), 5e-5), "the first epoch is the best, then come patience + 1 bad ones"


def test_never_falls_below_the_least_rate() -> None:
    rates = plateau_rates([1.0] * 60, lr=5e-5, patience=0, factor=0.3, min_lr=1e-7)
    assert rates[-1] == 1e-7 and min(rates) == 1e-7


def test_before_the_first_loss_holds_the_first_rate() -> None:
    assert plateau_rate([], lr=2e-4, patience=8, factor=0.5, min_lr=1e-7) == 2e-4
