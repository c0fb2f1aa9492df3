"""The losses against torch's own and against the formula written out in plain numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ml.data.windows import class_weights
from ml.training.losses import classification_losses

ITEMS, CLASSES = 40, 7
COUNTS = np.array([400, 30, 60, 700, 500, 300, 600])


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    logits = 3 * torch.randn(ITEMS, CLASSES, generator=generator)
    return logits.requires_grad_(), torch.randint(CLASSES, (ITEMS,), generator=generator)


def balancing() -> Tensor:
    return torch.from_numpy(class_weights(COUNTS, 1.0).astype(np.float32))


def written_out(logits: list[float], label: int, gamma: float, smoothing: float, weights: list[float]) -> float:
    """The loss of one item, in plain numbers: focal where gamma is not 0."""
    largest = max(logits)
    total = sum(math.exp(value - largest) for value in logits)
    logs = [value - largest - math.log(total) for value in logits]
    loss = 0.0
    for number, log in enumerate(logs):
        target = smoothing / len(logits) + (1 - smoothing if number == label else 0.0)
        loss -= target * weights[number] * log
    return loss * (1 - math.exp(logs[label])) ** gamma


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_torchs_in_value_and_gradient(smoothing: float, weighted: bool) -> None:
    logits, labels = batch()
    weights = balancing() if weighted else None
    ours = classification_losses(logits, labels, label_smoothing=smoothing, weights=weights)
    theirs = nn.CrossEntropyLoss(weights, label_smoothing=smoothing, reduction="none")(logits, labels)
    assert ours.shape == (ITEMS,) and torch.equal(ours, theirs)
    mean = nn.CrossEntropyLoss(weights, label_smoothing=smoothing)(logits, labels)
    divisor = weights[labels].sum() if weights is not None else ITEMS
    torch.testing.assert_close(ours.sum() / divisor, mean)
    gradients = [torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in (ours, theirs)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_focal_loss_is_the_formula(gamma: float, smoothing: float, weighted: bool) -> None:
    logits, labels = batch()
    weights = balancing() if weighted else None
    ours = classification_losses(
        logits, labels, kind="focal", gamma=gamma, label_smoothing=smoothing, weights=weights
    ).tolist()
    plain = weights.tolist() if weights is not None else [1.0] * CLASSES
    expected = [
        written_out(item, label, gamma, smoothing, plain)
        for item, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    assert ours == pytest.approx(expected, rel=2e-4, abs=1e-6)


def test_a_picture_that_is_right_already_weighs_a_hundredth() -> None:
    """The example of the paper: at p = 0.9 and gamma = 2 the loss is a hundredth of the cross-entropy."""
    logits, labels = torch.tensor([[math.log(9.0), 0.0]]), torch.tensor([0])
    focal = classification_losses(logits, labels, kind="focal", gamma=2.0)
    assert focal.item() == pytest.approx(-math.log(0.9) / 100, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_certainty_and_error_beyond_every_float_have_finite_losses_and_gradients(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0], [17.0, 0.0], [16.0, 0.0]], requires_grad=True)
    losses = classification_losses(logits, torch.zeros(4, dtype=torch.int64), kind="focal", gamma=gamma)
    losses.sum().backward()
    assert losses[0] == 0 and losses[1].item() == pytest.approx(200.0)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert logits.grad[1].tolist() == pytest.approx([-1.0, 1.0])


def test_the_slope_of_the_focal_loss_is_that_of_its_value() -> None:
    logits, labels = batch()
    logits = logits[:6].detach().double().requires_grad_()

    def loss(values: Tensor) -> Tensor:
        return classification_losses(
            values, labels[:6], kind="focal", gamma=1.5, label_smoothing=0.1, weights=balancing().double()
        )

    assert torch.autograd.gradcheck(loss, (logits,))


def test_balancing_weights_leave_the_scale_of_the_loss() -> None:
    weights = balancing().numpy().astype(np.float64)
    assert (weights * COUNTS).sum() / COUNTS.sum() == pytest.approx(1.0), "a mean of 1 over the training items"
    assert weights[1] / weights[3] == pytest.approx(700 / 30)
