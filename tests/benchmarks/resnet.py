"""Pictures that ResNet18 trains on per second, ours beside the usual way: python -m tests.benchmarks.resnet

From the repository root, with `uv pip install '.[benchmarks]'`, which brings torchvision; on a processor some minutes.
The usual way is what everybody writes: ImageFolder, a DataLoader with eight workers, torchvision's resnet18 in fp32,
AdamW. Ours is the product's: the prepared store, PictureBatches, channels-last memory, the machine's precision, the
engine. Both train the same network on the same files in the same sizes, in turns. What counts is processor time, that
of the workers included: it hardly changes with what else the machine does, and neither way leaves it idle. Exit code 1
when the bound is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.data.audio import read_mono
from ml.data.children import map_in_children
from ml.data.pictures import read_picture
from ml.data.windows import shuffled
from ml.features.pictures import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PictureBatches,
    PictureConfig,
    build_pictures,
    open_pictures,
)
from ml.models.resnet import build_resnet
from ml.models.resnet_config import ResNetConfig
from ml.training.engine import EpochNote, Machine, Recipe, train
from ml.training.machine import MachineConfig, processor_has_bf16, processors, resolve_machine
from ml.training.optimizers import adamw
from tests.benchmarks.features import content_hash
from tests.benchmarks.pictures import encoded
from tests.benchmarks.table import Table
from tests.ml.models.written_out import as_written_out
from tests.ml.training.shelf import FolderShelf

LABELS = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")
SIDE, BATCH, WORKERS, ROUNDS = 224, 32, 8, 3
BOUND = 2.5
"""Times as many pictures per processor second, where the processor has instructions for bf16."""

Spent = tuple[float, float]
"""Seconds by the wall's clock, and of all processors."""


def written(folder: Path, count: int) -> list[Path]:
    """`count` pictures in a folder per class, as ImageFolder reads them."""
    paths = []
    for number in range(count):
        suffix, content = encoded(number)
        path = folder / LABELS[number % len(LABELS)] / f"{number:05}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


class Clock:
    """What this process and its children have spent since it was made."""

    def __init__(self) -> None:
        self._wall, self._processors = time.perf_counter(), self._all()

    def spent(self) -> Spent:
        return time.perf_counter() - self._wall, self._all() - self._processors

    def _all(self) -> float:
        own = psutil.Process()
        times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
        return sum(each.user + each.system for each in times)


class OurLesson:
    """Cross-entropy over all pictures, each once per epoch; says what each epoch spent."""

    def __init__(self, pictures: np.ndarray, labels: Sequence[int], machine: Machine) -> None:
        self._batches = PictureBatches(pictures, machine.device)
        self._labels = torch.tensor(labels, device=machine.device)
        self._clock = Clock()
        self.epochs: list[Spent] = []

    def model(self) -> nn.Module:
        return build_resnet(ResNetConfig(pretrained=None, dropout=0.0), labels=LABELS, seed=1)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return adamw(model, weight_decay=0.05)

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        return {"batch": BATCH, "lr": 3e-4}

    def order(self, epoch: int) -> np.ndarray:
        self._clock = Clock()
        return shuffled(len(self._labels), 1, epoch)

    def draws(self, order: np.ndarray) -> dict[str, int]:
        return {}

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        labels = self._labels[torch.from_numpy(indices).to(self._labels.device)]
        logits = model(self._batches.batch(indices)).logits.float()
        return functional.cross_entropy(logits, labels, reduction="sum"), {}

    def validate(self, model: nn.Module) -> dict[str, float]:
        self.epochs.append(self._clock.spent())
        return {"loss": 0.0}


class UsualWay:
    """The loop of the tutorials."""

    def __init__(self, folder: Path, device: str) -> None:
        from torchvision import datasets, models, transforms

        prepared = transforms.Compose(
            [
                transforms.Resize((SIDE, SIDE)),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )
        data = datasets.ImageFolder(str(folder), prepared)
        # The workers stay from epoch to epoch: what starting them costs is not counted against the usual way.
        self._loader = torch.utils.data.DataLoader(
            data, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, pin_memory=device != "cpu"
        )
        self._device = device
        self.model = models.resnet18(num_classes=len(LABELS)).to(device)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, weight_decay=0.05)

    def epoch(self) -> Spent:
        clock = Clock()
        self.model.train()
        for pictures, labels in self._loader:
            pictures, labels = pictures.to(self._device), labels.to(self._device)
            self._optimizer.zero_grad()
            functional.cross_entropy(self.model(pictures), labels).backward()
            self._optimizer.step()
        if self._device != "cpu":
            torch.cuda.synchronize()
        return clock.spent()


def torchvisions(name: str) -> str:
    """The name of a weight in torchvision's resnet18."""
    stage, _, rest = as_written_out(name).removeprefix("stages.").partition(".")
    return f"layer{int(stage) + 1}.{rest}" if stage.isdigit() else as_written_out(name)


def same_network(theirs: nn.Module) -> bool:
    """Whether ours says what torchvision's says once it has the same weights."""
    ours = build_resnet(ResNetConfig(pretrained=None), labels=LABELS, seed=1).eval()
    reference = type(theirs)(theirs.layer1[0].__class__, [2, 2, 2, 2], num_classes=len(LABELS)).eval()  # type: ignore[index,union-attr]
    reference.load_state_dict({torchvisions(name): value for name, value in ours.state_dict().items()})
    batch = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.allclose(ours(batch).logits, reference(batch), rtol=1e-4, atol=1e-5)


def middle(spent: Sequence[Spent]) -> Spent:
    """The medians."""
    return statistics.median(each[0] for each in spent), statistics.median(each[1] for each in spent)


def compare(folder: Path, count: int, machine: Machine, table: Table) -> None:
    """Trains `count` pictures in both ways, in turns, and says how many go through in a second."""
    paths = written(folder / "pictures", count)
    files = [(content_hash(path), path, 0.0) for path in paths]
    (folder / "store").mkdir()
    clock = Clock()
    build_pictures(
        folder / "store",
        files,
        PictureConfig(side=SIDE),
        read_picture=read_picture,
        read_sound=read_mono,
        run=partial(map_in_children, workers=processors()),
        workers=processors(),
    )
    table.row("pictures prepared per second, once for all trials", count / clock.spent()[0], "1/s", None)
    store = open_pictures(folder / "store")
    labels = [LABELS.index(path.parent.name) for path in sorted(paths, key=lambda path: store.rows[content_hash(path)])]
    lesson, usual = OurLesson(store.pictures, labels, machine), UsualWay(folder / "pictures", machine.device)
    if not same_network(usual.model):
        print("  the two networks do not say the same")
        table.missed += 1
    others: list[Spent] = []
    for turn in range(ROUNDS + 1):
        # The same shelf: the engine goes on from the state of its last turn, outside of what is timed.
        train(lesson, Recipe("bench", 1, turn + 1, "loss", False), FolderShelf(folder / "states"), machine)
        others.append(usual.epoch())
    ours, theirs = (middle(spent[1:]) for spent in (lesson.epochs, others))
    for what, place in (("second", 0), ("processor second", 1)):
        table.row(f"pictures per {what}, ours", count / ours[place], "1/s", None)
        table.row(f"pictures per {what}, the usual way", count / theirs[place], "1/s", None)
    table.row("ours against the usual way, by the wall's clock", theirs[0] / ours[0], "times", None)
    bound = BOUND if machine.precision == "bf16" and machine.device == "cpu" else None
    table.row("ours against the usual way, by processor time", theirs[1] / ours[1], "times", bound)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=96)
    asked = parser.parse_args(arguments)
    table = Table()
    machine = resolve_machine(MachineConfig(device="cpu", threads=1))
    torch.set_num_threads(1)
    print(
        f"{machine.name}, {machine.precision} beside fp32, one thread, {SIDE} x {SIDE}, "
        f"batch {BATCH}, {WORKERS} workers:"
    )
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), asked.pictures, machine, table)
    if not processor_has_bf16():
        print("  no bound: this processor has no instructions for bf16")
    if torch.cuda.is_available():
        machine = replace(resolve_machine(MachineConfig(device="cuda")), threads=1)
        print(f"{machine.name}, {machine.precision} beside fp32, {SIDE} x {SIDE}, batch {BATCH}:")
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), 20 * asked.pictures, machine, table)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
