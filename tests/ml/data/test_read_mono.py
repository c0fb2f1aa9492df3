"""The streamed sound of a file against decoding and resampling it whole."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from ml.data.audio import read_mono


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_blocks_are_the_whole(tmp_path: Path, rate: int, channels: int, kind: str) -> None:
    compare_blocks_with_whole(tmp_path, rate, channels, kind)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_of_mp3_are_the_whole(tmp_path: Path, rate: int, channels: int) -> None:
    """Noise makes the encoder borrow bits across frames, which a seek between blocks would lose."""
    compare_blocks_with_whole(tmp_path, rate, channels, "mp3")


def compare_blocks_with_whole(tmp_path: Path, rate: int, channels: int, kind: str) -> None:
    path = tmp_path / f"Próba! ż {rate}.{kind}"
    samples = np.random.default_rng(1).normal(0, 0.1, (rate * 2 + 17, channels))
    soundfile.write(path, samples, rate)
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1, dtype=np.float32)
    if rate != 16_000:
        whole = soxr.resample(whole, rate, 16_000, quality="HQ")
    blocks = list(read_mono(path, 16_000, block_seconds=0.37))
    streamed = np.concatenate(blocks)
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    assert len(streamed) == len(whole)
    np.testing.assert_allclose(streamed, whole, atol=1e-5)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 4):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.zeros((minutes * 60 * 8000, 2)), 8000)
        tracemalloc.start()
        seconds = sum(len(block) for block in read_mono(path, 16_000, block_seconds=5)) / 16_000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert seconds == pytest.approx(minutes * 60, abs=0.01)
    assert peaks[1] < 1.2 * peaks[0]
