"""Adam and AdamW: those of the papers, in one pass over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ml.training.optimizers import adam, adamw

KINDS: dict[str, tuple[Callable[[nn.Module], torch.optim.Optimizer], float, bool]] = {
    "adam": (lambda model: adam(model, lr=0.01), 0.0, False),
    "adamw": (lambda model: adamw(model, weight_decay=0.1, lr=0.01), 0.1, True),
}


def two() -> tuple[nn.Module, nn.Module]:
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(nn.Sequential(nn.Conv2d(8, 16, (1, 3)), nn.ReLU(), nn.Conv2d(16, 8, 1)))
    made[1].to(memory_format=torch.channels_last)
    return made[0], made[1]


@pytest.mark.parametrize("kind", KINDS)
def test_it_walks_as_the_paper_says(kind: str) -> None:
    make, decay, apart = KINDS[kind]
    model, ours = two()
    optimizer = make(ours)
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in model.named_parameters()}
    for step in range(1, 6):
        for name, parameter in model.named_parameters():
            gradient = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
            there = ours.get_parameter(name)
            there.grad = torch.empty_like(there).copy_(gradient)  # laid out as backward does it
            first, second = moments[name]
            first.mul_(0.9).add_(0.1 * gradient)
            second.mul_(0.999).add_(0.001 * gradient**2)
            with torch.no_grad():
                if apart:
                    parameter.mul_(1 - 0.01 * decay)
                root = (second / (1 - 0.999**step)).sqrt() + 1e-8
                parameter.sub_(0.01 * (first / (1 - 0.9**step)) / root)
        optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name), parameter)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_fused_where_it_can_be(kind: str) -> None:
    make, decay, _ = KINDS[kind]
    said: dict[str, Any] = make(two()[0]).defaults
    assert said["fused"] is True and said["weight_decay"] == decay and said["lr"] == 0.01
    with torch.device("meta"):
        elsewhere = nn.Linear(2, 2)
    assert make(elsewhere).defaults["fused"] is False
