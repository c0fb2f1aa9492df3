"""What a step of the denoiser costs, measured in one run as ratios: python -m tests.benchmarks.unet [--tree N]

First what the engine adds to a bare loop around the same network. Then what the numerics win over the network as
anybody would write it: one-dimensional convolutions in fp32 and an optimizer that is not fused. With `--tree N`, the
factor by which the epochs of a grid become fewer (`python -m tests.benchmarks.stage_tree`), both together. Prints a
table with bounds and ends with exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ml.models.unet1d import build_unet1d
from ml.models.unet1d_config import UNet1DConfig
from ml.training.engine import EpochNote, Machine, Recipe, train
from ml.training.keys import epoch_seed
from ml.training.machine import MachineConfig, processor_has_bf16, resolve_machine
from ml.training.optimizers import adam
from ml.training.waveform_losses import waveform_losses
from tests.benchmarks.table import Table, medians
from tests.ml.models.unet_written_out import WrittenOut, as_written_out
from tests.ml.training.shelf import FolderShelf

RATE, BATCH, CLIP_NORM = 44_100, 8, 1.0
NARROW = UNet1DConfig(channels=(16, 32, 64), kernel=5)
"""About what the demo trains: the smaller the network, the more of a step is the engine's."""
MOST_OVERHEAD, FEWEST_TREE, LEAST_TOGETHER = 5.0, 10.0, 25.0


class SoundLesson:
    """A U-Net on noisy sound that is there already, so that nothing but training is measured."""

    def __init__(self, config: UNet1DConfig, *, steps: int, samples: int, machine: Machine) -> None:
        self.config, self.steps, self.machine = config, steps, machine
        draws = torch.Generator().manual_seed(0)
        self.clean = 0.1 * torch.randn(4 * BATCH, samples, generator=draws)
        self.noisy = self.clean + 0.1 * torch.randn(4 * BATCH, samples, generator=draws)

    def model(self) -> nn.Module:
        return build_unet1d(self.config, seed=1)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return adam(model)

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        return {"batch": BATCH, "lr": 1e-4}

    def order(self, epoch: int) -> np.ndarray:
        return np.arange(self.steps * BATCH) % len(self.clean)

    def draws(self, order: np.ndarray) -> dict[str, int]:
        return {}

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        rows = torch.from_numpy(indices)
        return waveform_losses(model(self.noisy[rows]), self.clean[rows], kind="mse").sum(), {}

    def validate(self, model: nn.Module) -> dict[str, float]:
        return {"loss": 0.0}

    def by_hand(self) -> list[float]:
        """Processor seconds of each step of a bare loop over the same epoch: what anybody would write."""
        model = self.model().to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = self.optimizer(model)
        torch.manual_seed(epoch_seed(1, 1))
        order, seconds = self.order(1), []
        for start in range(0, len(order), BATCH):
            began = time.process_time()
            rows = torch.from_numpy(order[start : start + BATCH])
            with self.machine.autocast():
                loss = waveform_losses(model(self.noisy[rows]), self.clean[rows], kind="mse").mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
            seconds.append(time.process_time() - began)
        return seconds

    def by_engine(self) -> list[float]:
        """Processor seconds of each step of the engine over the same epoch."""
        moments: list[float] = []
        recipe = Recipe("benchmark", 1, 1, "loss", False, clip_norm=CLIP_NORM)
        with tempfile.TemporaryDirectory() as folder:
            shelf = FolderShelf(Path(folder))
            train(self, recipe, shelf, self.machine, progress=lambda *_: moments.append(time.process_time()))
        return np.diff(moments).tolist()


def engine(table: Table, machine: Machine, *, rounds: int, steps: int, samples: int) -> None:
    """What the engine adds to each step."""
    lesson = SoundLesson(NARROW, steps=steps, samples=samples, machine=machine)
    bare: list[float] = []
    ours: list[float] = []
    for turn in range(rounds + 1):  # in turns, so that a burst elsewhere hits both alike; the first one warms up
        bare_now, ours_now = lesson.by_hand(), lesson.by_engine()
        if turn:
            bare += bare_now
            ours += ours_now
    step, own = statistics.median(bare), statistics.median(ours)
    print(f"the engine, a step of {BATCH} x {samples / RATE:.2g} s, channels {NARROW.channels}, {machine.precision}:")
    table.row("a bare loop", step * 1e3, "ms", None)
    table.row("the engine adds", 100 * (own / step - 1), "%", MOST_OVERHEAD, False)


def stepper(
    model: nn.Module, optimizer: torch.optim.Optimizer, noisy: Tensor, clean: Tensor, *, bf16: bool
) -> Callable[[], None]:
    """One whole training step: forward, backward, clipping, optimizer."""
    model.train()

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext():
            loss = waveform_losses(model(noisy), clean, kind="mse").mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def numerics(table: Table, config: UNet1DConfig, *, rounds: int, samples: int) -> float:
    """How many times less processor time a step takes than with everything plain."""
    lesson = SoundLesson(config, steps=1, samples=samples, machine=Machine("cpu", "fp32", 1, "", False))
    noisy, clean = lesson.noisy[:BATCH], lesson.clean[:BATCH]
    fresh = lesson.model()
    written = WrittenOut(config)
    written.load_state_dict(as_written_out(fresh.state_dict()))
    size = sum(parameter.numel() for parameter in fresh.parameters()) / 1e6

    def plain(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=1e-4, foreach=False)

    def ours() -> nn.Module:
        return lesson.model().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    folded, fused, short = ours(), ours(), ours()
    ways = {
        "Conv1d, fp32, optimizer not fused": stepper(written, plain(written), noisy, clean, bf16=False),
        "folded frames in channels_last": stepper(folded, plain(folded), noisy, clean, bf16=False),
        "fused optimizer": stepper(fused, adam(fused, lr=1e-4), noisy, clean, bf16=False),
    }
    if processor_has_bf16():
        ways["bf16"] = stepper(short, adam(short, lr=1e-4), noisy, clean, bf16=True)
    seconds = dict(zip(ways, medians(list(ways.values()), rounds), strict=True))
    print(f"numerics, a step of {BATCH} x {samples / RATE:.2g} s, {size:.2f} M parameters, channels {config.channels}:")
    (first, usual), *others = seconds.items()
    table.row(first, usual * 1e3, "ms", None)
    before = usual
    for what, own in others:
        table.row(f"+ {what}", before / own, "times", None)
        before = own
    table.row("all together", usual / before, "times", None)
    return usual / before


def together(table: Table, tree: float, faster: float) -> None:
    """Fewer epochs and faster steps multiply: they have nothing to do with each other."""
    print("a grid against independent trials in plain fp32:")
    table.row("fewer epochs, as said by --tree", tree, "times", FEWEST_TREE)
    bound = LEAST_TOGETHER if processor_has_bf16() else None
    table.row("less processor time", tree * faster, "times", bound)
    print(f"{tree:.1f} x fewer epochs times {faster:.1f} x faster steps = {tree * faster:.0f} x less processor time")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=float, help="how many times fewer epochs a grid takes (the stage tree's figure)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a window")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--steps", type=int, default=30, help="steps of an epoch, for the engine")
    said = parser.parse_args()
    table, began, samples = Table(), time.perf_counter(), round(said.seconds * RATE)
    machine = resolve_machine(MachineConfig(device="cpu", threads=1))
    # One thread and its own time: what neighbours do on a shared machine then hardly moves the ratios.
    torch.set_num_threads(1)
    print(f"{machine.name}, {machine.precision}, one thread, processor time, torch {torch.__version__}")
    engine(table, machine, rounds=said.rounds, steps=said.steps, samples=samples)
    numerics(table, NARROW, rounds=said.rounds, samples=samples)
    faster = numerics(table, UNet1DConfig(), rounds=said.rounds, samples=samples)
    if said.tree is not None:
        together(table, said.tree, faster)
    print(f"{time.perf_counter() - began:.0f} s; {'all bounds met' if not table.missed else f'{table.missed} MISSED'}")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
