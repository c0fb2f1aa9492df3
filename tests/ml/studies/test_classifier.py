"""A classifier's evaluation where memory is short."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ml.data.windows import Windows
from ml.studies.classifier import ClassifierLesson
from ml.training.engine import OutOfMemory
from ml.training.machine import Machine

CPU = Machine(device="cpu", precision="fp32", threads=1, name="a small card", bf16=False)


class Small(nn.Module):
    """Answers with its input; has memory for `fits` windows at once."""

    def __init__(self, fits: int, problem: RuntimeError) -> None:
        super().__init__()
        self.fits, self.problem = fits, problem
        self.sizes: list[int] = []

    def forward(self, batch: torch.Tensor) -> SimpleNamespace:
        self.sizes.append(len(batch))
        if len(batch) > self.fits:
            raise self.problem
        return SimpleNamespace(logits=batch[:, :, 0])


def lesson(windows: int, at_once: int) -> ClassifierLesson:
    inputs = torch.randn(windows, 2, 1, generator=torch.Generator().manual_seed(3))
    numbers = np.arange(windows)
    return ClassifierLesson(
        build=lambda: nn.Identity(),
        batch=lambda indices: inputs[torch.from_numpy(indices)],
        windows=Windows(
            start=numbers,
            valid=np.ones(windows, dtype=np.int32),
            label=numbers % 2,
            recording=numbers,
            part=np.ones(windows, dtype=np.int8),
            start_seconds=np.zeros(windows, dtype=np.float32),
            recordings=pd.DataFrame({"path": numbers, "group": numbers, "label": numbers % 2, "part": "validation"}),
            frames=1,
        ),
        classes=["a", "b"],
        settings=lambda epoch: {},
        draw=lambda epoch: numbers,
        weight_decay=0.0,
        evaluation_batch=at_once,
        machine=CPU,
    )


OUT = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling")]


@pytest.mark.parametrize("problem", OUT, ids=["torch", "cublas"])
def test_a_trial_is_not_lost_for_want_of_memory_in_its_evaluation(problem: RuntimeError) -> None:
    torch.set_num_threads(1)
    ample, short = Small(99, problem), Small(3, problem)
    expected = lesson(11, 8).predict(ample, np.arange(11))
    own = lesson(11, 8)
    short.train()
    found = own.predict(short, np.arange(11))
    assert np.array_equal(found, expected) and short.sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    assert short.training, "left as it was"
    short.sizes.clear()
    assert own.validate(short).keys() >= {"accuracy", "loss"}
    assert short.sizes == [2, 2, 2, 2, 2, 1], "what fitted once is not tried larger again"


def test_not_even_one_window_fits_and_other_faults_are_no_want_of_memory() -> None:
    with pytest.raises(OutOfMemory, match=r"on a small card in the evaluation of a single window; free it .*shorter"):
        lesson(4, 4).predict(Small(0, OUT[0]), np.arange(4))
    with pytest.raises(RuntimeError, match="no such kernel"):
        lesson(4, 4).predict(Small(0, RuntimeError("no such kernel")), np.arange(4))
