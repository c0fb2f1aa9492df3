"""States on disk: exact, free of pickles, and laid out in memory as they were."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ml.training.keys import epoch_seed, first_key, next_key
from ml.training.optimizers import adamw
from ml.training.state import load_state, load_weights, save_state
from tests.ml.training.tiny import digest, recipe

OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adamw fused": lambda model: adamw(model, weight_decay=0.1),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01, fused=False),
    "adam amsgrad": lambda model: torch.optim.Adam(model.parameters(), lr=0.01, amsgrad=True, betas=(0.8, 0.9)),
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.01),
    "sgd momentum": lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True),
    "rprop": lambda model: torch.optim.Rprop(model.parameters(), lr=0.01),
    "two groups": lambda model: torch.optim.AdamW(
        [{"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.3},
         {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}], lr=0.01
    ),
}  # fmt: skip


def picture_net() -> nn.Module:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(96, 4)
    )
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, count: int) -> None:
    for number in range(first, first + count):
        pictures = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        model(pictures.to(memory_format=torch.channels_last)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_restored_goes_on_as_if_never_saved(tmp_path: Path, kind: str) -> None:
    torch.set_num_threads(1)
    model = picture_net()
    optimizer = OPTIMIZERS[kind](model)
    steps(model, optimizer, 0, 3)
    save_state(tmp_path, model, optimizer)
    saved = copy.deepcopy(optimizer.state_dict())

    restored = picture_net()
    restored_optimizer = OPTIMIZERS[kind](restored)
    load_state(tmp_path, restored, restored_optimizer)
    assert digest(restored) == digest(model)
    found = restored_optimizer.state_dict()
    assert found["param_groups"] == saved["param_groups"]
    assert found["state"].keys() == saved["state"].keys()
    for number, values in saved["state"].items():
        for name, value in values.items():
            other = found["state"][number][name]
            assert (
                torch.equal(other, value) and other.stride() == value.stride()
                if torch.is_tensor(value)
                else (other == value)
            )

    steps(model, optimizer, 3, 3)
    steps(restored, restored_optimizer, 3, 3)
    assert digest(restored) == digest(model)


def test_a_state_stays_what_it_was_while_training_goes_on(tmp_path: Path) -> None:
    model = picture_net()
    optimizer = adamw(model, weight_decay=0.1)
    steps(model, optimizer, 0, 2)
    save_state(tmp_path, model, optimizer)
    before = digest(model)
    for _ in range(2):
        load_state(tmp_path, model, optimizer)
        assert digest(model) == before
        assert all(values["step"] == 2 for values in optimizer.state.values())
        steps(model, optimizer, 2, 2)  # in place: it must not reach into what was loaded
        assert digest(model) != before


def test_tied_weights_and_integers_survive(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.register_buffer("seen", torch.tensor(0, dtype=torch.int64))

    one, other = Tied(), Tied()
    one.seen += 5
    save_state(tmp_path, one, torch.optim.SGD(one.parameters(), lr=0.1))
    load_weights(tmp_path, other)
    assert digest(one) == digest(other) and other.second.weight is other.first.weight


def test_nothing_is_pickled(tmp_path: Path) -> None:
    model = picture_net()
    save_state(tmp_path, model, adamw(model, weight_decay=0.1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "optimizer.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    assert all(b"PK\x03\x04" not in path.read_bytes()[:4] for path in tmp_path.iterdir())


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    model = picture_net()
    save_state(tmp_path, model, adamw(model, weight_decay=0.1))
    with pytest.raises(RuntimeError, match="Missing key"):
        load_weights(tmp_path, nn.Linear(2, 2))


def test_keys_and_seeds_are_the_same_on_every_machine() -> None:
    first = first_key(recipe(5), "fp32")
    assert first == first_key(recipe(9, patience=3, micro_batch=2), "fp32"), "how long is not what"
    assert first != first_key(recipe(5), "bf16")
    assert next_key(first, {"lr": 0.1, "batch": 8}) == next_key(first, {"batch": 8, "lr": 0.1})
    assert next_key(first, {"lr": 0.1}) != next_key(first, {"lr": 0.1 + 1e-16 * 10})
    assert epoch_seed(42, 1) == 1668292710437184747
    assert len({epoch_seed(seed, epoch) for seed in range(30) for epoch in range(30)}) == 900
    assert epoch_seed(1, 11) != epoch_seed(11, 1)
