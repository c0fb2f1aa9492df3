"""What computes: device, precision and threads. Execution, not identity (but precision, which changes numbers)."""

from __future__ import annotations

import os
import platform
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ml.config import Config

WORTH_A_THREAD = 0.75
"""More threads are taken only when a step then takes at most this share of its time: twice the threads win at most
half, but on a machine that others use too they can cost ten times as much."""


class MachineError(RuntimeError):
    """The settings ask for something that this machine does not have."""


class MachineConfig(Config):
    """What a person says about the machine; "auto" is resolved once per lab and written down."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """auto, cpu, cuda, or cuda:1 for the second card. auto: the GPU where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of matrix products in training. auto: bf16 where the processor or the GPU has instructions for it."""
    threads: Literal["auto"] | int = "auto"
    """Processor threads that torch uses. auto: measured, because two can be far slower than one on a busy machine."""


@dataclass(frozen=True)
class Machine:
    """A machine as resolved: plain facts, written down as JSON."""

    device: str
    """cpu, cuda or cuda:N."""
    precision: Literal["fp32", "bf16"]
    threads: int
    name: str
    """Of the GPU or the processor."""
    bf16: bool
    """Has instructions for bf16 matrix products."""

    @property
    def device_type(self) -> str:
        """cpu or cuda."""
        return self.device.partition(":")[0]

    def autocast(self) -> AbstractContextManager[Any]:
        """Within it, matrix products are computed in the machine's precision."""
        if self.precision == "fp32":
            return nullcontext()
        import torch

        return torch.autocast(self.device_type, dtype=torch.bfloat16)

    def describe(self) -> str:
        """One line for a person."""
        where = "GPU" if self.device_type == "cuda" else "processor, no GPU: training takes many times longer"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        note = "" if self.bf16 or self.precision == "fp32" else " (without instructions for it: slow)"
        return f"{self.name} ({where}), {self.precision}{note}, {threads}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Machine:
        return cls(**said)


def resolve_machine(config: MachineConfig) -> Machine:
    """What `config` means here. Takes up to two seconds when threads are measured."""
    import torch

    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu":
        _check_gpu(device)
    bf16 = _gpu_has_bf16(device) if device != "cpu" else processor_has_bf16()
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if bf16 else "fp32"
    if config.threads == "auto":
        # On a GPU the processor only hands out work: one measurement less, and torch's own number does no harm.
        threads = torch.get_num_threads() if device != "cpu" else fastest(measure_threads(precision))
    elif config.threads < 1:
        raise MachineError(f"threads is {config.threads}: at least 1 computes; write a number or auto")
    else:
        threads = config.threads
    name = _processor_name() if device == "cpu" else torch.cuda.get_device_name(device)
    return Machine(device=device, precision=precision, threads=threads, name=name, bf16=bf16)


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_has_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices by instructions of its own (AVX512-BF16 or AMX)."""
    import torch

    # Only here does torch say it; Apple's and Arm's processors are left at fp32, which is always right.
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def fastest(seconds: dict[int, float]) -> int:
    """The number of threads to use, given the seconds of the same work with each number."""
    chosen = min(seconds)
    for threads in sorted(seconds):
        if seconds[threads] <= WORTH_A_THREAD * seconds[chosen]:
            chosen = threads
    return chosen


def measure_threads(precision: Literal["fp32", "bf16"], budget_seconds: float = 1.5) -> dict[int, float]:
    """Mean seconds of the same piece of a transformer with 1, 2, 4, ... threads, up to the processors there are.

    The mean, because the rare step in which threads wait for one another is what a night pays for.
    """
    import torch

    candidates = [1]
    while candidates[-1] * 2 <= processors():
        candidates.append(candidates[-1] * 2)
    if len(candidates) == 1:
        return {1: 0.0}
    before = torch.get_num_threads()
    rounds: dict[int, list[float]] = {threads: [] for threads in candidates}
    inputs, first, second = torch.zeros(350, 768), torch.zeros(1536, 768), torch.zeros(768, 1536)
    try:
        end = time.perf_counter() + budget_seconds
        # In turns, so that a neighbour's burst of work hits every candidate alike; the first round only warms up.
        while time.perf_counter() < end or len(rounds[candidates[-1]]) < 4:
            for threads in candidates:
                torch.set_num_threads(threads)
                rounds[threads].append(_timed_step(inputs, first, second, precision))
    finally:
        torch.set_num_threads(before)
    return {threads: sum(seconds[1:]) / (len(seconds) - 1) for threads, seconds in rounds.items()}


def _timed_step(inputs: Any, first: Any, second: Any, precision: str) -> float:
    import torch
    from torch.nn import functional

    weights = [first.requires_grad_(), second.requires_grad_()]
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        out = functional.linear(functional.gelu(functional.linear(inputs, weights[0])), weights[1])
    torch.autograd.grad(out.float().square().sum(), weights)
    return time.perf_counter() - start


def _check_gpu(device: str) -> None:
    import torch

    if not torch.cuda.is_available():
        raise MachineError(
            f"device is {device}, but torch {torch.__version__} finds no GPU: check `nvidia-smi`, or set device to auto"
        )
    number = int(device.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise MachineError(f"device is {device}, but there are {torch.cuda.device_count()} GPUs, counted from cuda:0")


def _gpu_has_bf16(device: str) -> bool:
    import torch

    return torch.cuda.get_device_capability(device) >= (8, 0)


def _processor_name() -> str:
    """As Linux tells it, where it does; elsewhere what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
