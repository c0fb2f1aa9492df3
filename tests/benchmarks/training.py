"""What makes training fast, measured in one run as ratios: python -m tests.benchmarks.training

Prints a table with bounds and ends with exit code 1 when one is missed. Needs torch and transformers; takes a minute or
two on a processor. With a GPU it also trains AST base in full size there and compares with the card's own matrix rate.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.data.windows import WindowConfig
from ml.features.fbank import FbankConfig
from ml.models.ast import AstConfig, build_ast, tokens
from ml.training.engine import EpochNote, Machine, Recipe, train
from ml.training.keys import epoch_seed
from ml.training.machine import MachineConfig, measure_threads, processor_has_bf16, processors, resolve_machine
from ml.training.optimizers import adamw
from tests.benchmarks.table import Table, medians
from tests.ml.training.shelf import FolderShelf

WINDOW, FBANK = WindowConfig(), FbankConfig()
SIZED, PADDED, MELS = round(WINDOW.seconds * FBANK.frames_per_second), 1024, FBANK.mels
"""Frames of a window as the product cuts it, frames that the pretrained AST was made for, mel bands."""
QUOTED = 1 + int(WINDOW.seconds * 48_000) // 512
"""Frames of the same window at a hop of 512 samples at 48 kHz, as this comparison is usually quoted."""
LAYERS, BATCH = 2, 2
"""AST in base width, but with these few layers and windows, so that a step on a processor takes part of a second."""
LABELS = ("APPLAUSE", "MUSIC", "PUBLIC", "SPEECH", "TUNING")


def ast_step(
    frames: int,
    precision: str,
    *,
    attention: str = "sdpa",
    layers: int = LAYERS,
    batch: int = BATCH,
    device: str = "cpu",
    compiled: bool = False,
) -> Callable[[], None]:
    """One whole training step of AST: forward, backward, AdamW."""
    torch.manual_seed(0)
    model: Any = build_ast(AstConfig(pretrained=None, layers=layers), frames=frames, mels=MELS, labels=LABELS, seed=1)
    model.set_attn_implementation(attention)
    model.to(device).train()
    optimizer = adamw(model, weight_decay=0.01)
    windows = torch.randn(batch, frames, MELS, device=device)
    labels = torch.arange(batch, device=device) % len(LABELS)
    called = torch.compile(model) if compiled else model

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = functional.cross_entropy(called(windows).logits.float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def threads(table: Table) -> None:
    print(f"threads (of {processors()} processors), mean ms of a piece of a transformer:")
    for precision in ("fp32", "bf16") if processor_has_bf16() else ("fp32",):
        measured = measure_threads(precision)  # type: ignore[arg-type]
        chosen = resolve_machine(MachineConfig(device="cpu", precision=precision)).threads  # type: ignore[arg-type]
        said = ", ".join(f"{number}: {seconds * 1e3:.1f}" for number, seconds in measured.items())
        print(f"  {precision}   {said}   resolve_machine, measuring again, chose {chosen}", flush=True)


def ast(table: Table, precision: str) -> None:
    print(f"AST, base width, {LAYERS} layers, batch {BATCH}, forward + backward + AdamW, {precision}:")
    lengths = [SIZED, QUOTED, PADDED]
    sized, quoted, padded = medians([ast_step(frames, precision) for frames in lengths], rounds=4)
    for what, frames, seconds in (("sized", SIZED, sized), ("hop of 512 at 48 kHz", QUOTED, quoted)):
        shape = f"{frames} frames, {tokens(frames, MELS)} tokens"
        table.row(f"{what} ({shape}) against padded ({tokens(PADDED, MELS)} tokens)", padded / seconds, "times", 3.0)
    eager, sdpa = medians([ast_step(PADDED, precision, attention="eager"), ast_step(PADDED, precision)], rounds=3)
    table.row(f"sdpa against eager attention, {tokens(PADDED, MELS)} tokens", eager / sdpa, "times", 1.2)
    eager, sdpa = medians([ast_step(SIZED, precision, attention="eager"), ast_step(SIZED, precision)], rounds=5)
    table.row(f"sdpa against eager attention, {tokens(SIZED, MELS)} tokens", eager / sdpa, "times", None)
    if processor_has_bf16():
        fp32, bf16 = medians([ast_step(SIZED, "fp32"), ast_step(SIZED, "bf16")], rounds=5)
        table.row(f"bf16 against fp32, {tokens(SIZED, MELS)} tokens", fp32 / bf16, "times", 1.2)
    else:
        print("  bf16 against fp32: not run, this processor has no instructions for it")


def optimizers(table: Table) -> None:
    def stepper(fused: bool, foreach: bool) -> Callable[[], None]:
        model = build_ast(AstConfig(pretrained=None, layers=LAYERS), frames=SIZED, mels=MELS, labels=LABELS, seed=1)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        if fused:
            return adamw(model, weight_decay=0.01).step
        return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, foreach=foreach).step

    plain, foreach, fused = medians([stepper(False, False), stepper(False, True), stepper(True, False)], rounds=7)
    print(f"AdamW over {LAYERS} layers of AST:")
    table.row("fused against plain", plain / fused, "times", 2.0)
    table.row("foreach against plain", plain / foreach, "times", None)


class TinyLesson:
    """As little work per step as there can be, so that the engine's own part shows."""

    steps, batch = 2000, 4

    def __init__(self) -> None:
        self.inputs, self.targets = torch.randn(64, 8), torch.randn(64, 1)

    def model(self) -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return adamw(model, weight_decay=0.01)

    def settings(self, epoch: int, history: Sequence[EpochNote]) -> dict[str, Any]:
        return {"batch": self.batch, "lr": 1e-3}

    def order(self, epoch: int) -> np.ndarray:
        return np.arange(self.steps * self.batch) % 64

    def draws(self, order: np.ndarray) -> dict[str, int]:
        return {}

    def loss(
        self, model: nn.Module, indices: np.ndarray, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        rows = torch.from_numpy(indices)
        return (model(self.inputs[rows]) - self.targets[rows]).square().sum(), {}

    def validate(self, model: nn.Module) -> dict[str, float]:
        return {"loss": 0.0}

    def by_hand(self, clip_norm: float | None) -> float:
        """Processor seconds of a bare loop over the same epoch: what anybody would write."""
        model = self.model()
        optimizer = self.optimizer(model)
        torch.manual_seed(epoch_seed(1, 1))
        generator = torch.Generator()
        began = time.process_time()
        order = self.order(1)
        total = 0.0
        for start in range(0, len(order), self.batch):
            part = order[start : start + self.batch]
            loss, _ = self.loss(model, part, generator)
            (loss / len(part)).backward()
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.item()
        return time.process_time() - began


def engine(table: Table) -> None:
    lesson, machine = TinyLesson(), Machine("cpu", "fp32", 1, "", False)

    def by_engine(clip_norm: float | None) -> float:
        with tempfile.TemporaryDirectory() as folder:
            recipe = Recipe("bench", 1, 1, "loss", False, clip_norm=clip_norm)
            began = time.process_time()
            train(lesson, recipe, FolderShelf(Path(folder)), machine)
            return time.process_time() - began

    torch.set_num_threads(1)
    print(f"the engine, a whole call of {lesson.steps} steps of a tiny net, saving included:")
    for clip_norm in (None, 1.0):
        bare, ours = [], []
        for turn in range(6):
            bare_now, ours_now = lesson.by_hand(clip_norm), by_engine(clip_norm)
            if turn:
                bare.append(bare_now)
                ours.append(ours_now)
        own = (statistics.median(ours) - statistics.median(bare)) / lesson.steps * 1e3
        clipped = "without clipping" if clip_norm is None else "with clipping"
        step = statistics.median(bare) / lesson.steps * 1e3
        table.row(f"its own cost per step over a bare loop of {step:.2f} ms, {clipped}", own, "ms", 0.1, False)


def training_flops(frames: int) -> float:
    """Floating point operations of AST base per window in a training step: three times the forward's products."""
    count, width = tokens(frames, MELS), 768
    layer = 24 * width**2 * count + 4 * count**2 * width
    return 3.0 * (12 * layer + 2 * 16 * 16 * width * (count - 2))


def gpu(table: Table) -> None:
    device, batch = "cuda", 128
    print(f"GPU: {torch.cuda.get_device_name()}, AST base, {tokens(SIZED, MELS)} tokens, batch {batch}, bf16:")
    one, other = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    rate = 2 * 8192**3 / per_call(lambda: one @ other, 30)
    table.row("the card's own rate, product of two 8192 x 8192 bf16 matrices", rate / 1e12, "TF/s", None)
    seconds = per_call(ast_step(SIZED, "bf16", layers=12, batch=batch, device=device), 20)
    table.row("windows trained per second", batch / seconds, "1/s", None)
    reached = training_flops(SIZED) * batch / seconds
    table.row("share of the card's own rate", 100 * reached / rate, "%", None)
    padded = per_call(ast_step(PADDED, "bf16", layers=12, batch=batch // 4, device=device), 10) * 4
    table.row("sized against padded", padded / seconds, "times", 3.0)
    eager = per_call(ast_step(SIZED, "bf16", attention="eager", layers=12, batch=batch, device=device), 10)
    table.row("sdpa against eager attention", eager / seconds, "times", None)
    try:
        compiled = per_call(ast_step(SIZED, "bf16", layers=12, batch=batch, device=device, compiled=True), 20)
    except Exception as problem:  # the compiler needs tools that a machine may lack: that is the answer then
        print(f"  torch.compile does not work here: {type(problem).__name__}: {' '.join(str(problem).split())[:150]}")
        return
    table.row("torch.compile against none", seconds / compiled, "times", None)
    table.row("windows trained per second, compiled", batch / compiled, "1/s", None)
    table.row(
        "share of the card's own rate, compiled", 100 * training_flops(SIZED) * batch / compiled / rate, "%", None
    )


def per_call(work: Callable[[], Any], calls: int) -> float:
    """Seconds per call on the GPU, after a warm-up."""
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(calls):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / calls


def main() -> int:
    table = Table()
    began = time.perf_counter()
    threads(table)
    machine = resolve_machine(MachineConfig(device="cpu", threads=1))
    # One thread and its own time: what neighbours do on a shared machine then hardly moves the ratios.
    torch.set_num_threads(1)
    print(f"all below: {machine.name}, {machine.precision}, one thread, processor time, torch {torch.__version__}")
    ast(table, machine.precision)
    optimizers(table)
    engine(table)
    if torch.cuda.is_available():
        gpu(table)
    else:
        print("GPU: none here, so that part was not run")
    print(f"{time.perf_counter() - began:.0f} s; {'all bounds met' if not table.missed else f'{table.missed} MISSED'}")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
