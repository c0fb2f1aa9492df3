"""On a GPU too, pieces and streams are what one pass over the whole gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ml.inference.denoiser import Denoiser
from ml.inference.live import Live
from ml.inference.pieces import denoise_signal
from ml.training.machine import MachineConfig, resolve_machine
from tests.ml.inference.small import small_denoiser, sounding

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def test_pieces_and_streams_agree_with_the_whole_and_with_the_processor() -> None:
    machine, sound = resolve_machine(MachineConfig(device="cuda", precision="fp32")), sounding(100_000, channels=2)
    on_the_processor, model = small_denoiser(), small_denoiser().to("cuda")
    with torch.inference_mode():
        expected = on_the_processor(torch.from_numpy(sound)).numpy()

    pieces = denoise_signal(model, sound, machine, piece=9_999)
    live = Live(Denoiser(model, 44_100, machine), 44_100, channels=2)
    stream = np.concatenate([live.push(sound), live.finish()], axis=1)

    for said in (pieces, stream):
        assert 10 * np.log10(np.mean((said - expected) ** 2) / np.mean(expected**2)) < -60
