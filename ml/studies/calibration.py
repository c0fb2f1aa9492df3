"""What a step of a network costs on this machine, timed where no epoch was measured yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from ml.training.machine import Machine

CALIBRATION_ITEMS = 4
CALIBRATION_SECONDS = 20.0
"""No further calibration step is begun after this long."""

ADAM_COPIES = 3
"""Weights and two moments: an epoch's state is three times the model."""

STATES_KEPT = 2
"""The latest and the best."""


def model_bytes(build: Callable[[], nn.Module]) -> int:
    """Bytes of the network's parameters, counted without giving it any memory."""
    import torch

    with torch.device("meta"):
        shape = build()
    return 4 * sum(weight.numel() for weight in shape.parameters())


def disk_bytes(model: int) -> int:
    """What a trial leaves on the disk: its model of so many bytes, and the states that are kept."""
    return model * (1 + ADAM_COPIES * STATES_KEPT)


def seconds_per_item(build: Callable[[], nn.Module], shape: tuple[int, ...], machine: Machine) -> float:
    """Seconds per trained item of a batch of `shape`: the second of two steps, or the first where that took long."""
    import torch

    model = build().to(device=machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = torch.randn(*shape, device=machine.device)
    before, begun = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(machine.threads)
    try:
        for _ in range(2):
            start = time.perf_counter()
            with machine.autocast():
                answer = model(batch)
                loss = getattr(answer, "logits", answer).float().square().sum()
            loss.backward()
            if machine.device.startswith("cuda"):
                torch.cuda.synchronize()
            took = time.perf_counter() - start
            if time.perf_counter() - begun > CALIBRATION_SECONDS:
                break
    finally:
        torch.set_num_threads(before)
    return took / shape[0]
