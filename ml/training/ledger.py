"""The sums of an epoch, read from the device rarely: reading waits for all work that is queued there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOSS, NORM = "loss", "gradient norm"


class Diverged(ArithmeticError):
    """Loss or gradient is no finite number any more."""

    def __init__(self, step: int | None, problem: str) -> None:
        super().__init__(problem)
        self.step = step
        """1-based optimizer step within the epoch; None when found in the validation."""


class Ledger:
    """Takes the sums of every step; raises `Diverged` for the first step with a loss or gradient that is not finite."""

    def __init__(self, device_type: str) -> None:
        # Reading from the CPU's own memory waits for nothing, so there a bad step is found before it is applied.
        self._every = 1 if device_type == "cpu" else 50
        self._pending: list[dict[str, Tensor | float]] = []
        self._settled = 0
        self.sums: dict[str, float] = {}

    def add(self, said: dict[str, Tensor | float]) -> None:
        """One step's sums: loss, gradient norm, and what the lesson counted."""
        self._pending.append(said)
        if len(self._pending) >= self._every:
            self.settle()

    def settle(self) -> None:
        """Reads what is pending."""
        for values in _read(self._pending):
            self._settled += 1
            for name in (LOSS, NORM):
                if not math.isfinite(values[name]):
                    raise Diverged(self._settled, f"the {name} is {values[name]} in step {self._settled}")
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self._pending.clear()


def _read(steps: list[dict[str, Tensor | float]]) -> list[dict[str, float]]:
    tensors = [value for said in steps for value in said.values() if isinstance(value, Tensor)]
    if not tensors or tensors[0].device.type == "cpu":
        return [{name: float(value) for name, value in said.items()} for said in steps]
    # From a GPU: one transfer for all of them.
    numbers = iter(torch.stack([tensor.detach().double() for tensor in tensors]).tolist())
    return [
        {name: next(numbers) if isinstance(value, Tensor) else float(value) for name, value in said.items()}
        for said in steps
    ]
