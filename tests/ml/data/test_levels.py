"""Levels gathered in blocks against the whole array at once."""

from __future__ import annotations

import numpy as np
import pytest

from ml.data.levels import FOLD, Levels


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("block", [1, FOLD - 1, FOLD, FOLD + 1, 1_000])
def test_blocks_are_the_whole(channels: int, block: int) -> None:
    samples = np.random.default_rng(block).normal(0.1, 0.5, (3_001, channels)).clip(-1.9, 1.9).astype(np.float32)
    levels = Levels(channels)
    for begin in range(0, len(samples), block):
        levels.add(samples[begin : begin + block])
    assert levels.frames == 3_001 and levels.finite and not levels.silent
    np.testing.assert_array_equal(levels.lowest, samples.min(axis=0))
    np.testing.assert_array_equal(levels.highest, samples.max(axis=0))
    assert levels.peak == np.abs(samples).max()
    clipped, offset = levels.warnings()
    assert f"{100 * (np.abs(samples) >= 0.99).mean():.2g} %" in clipped
    assert f"{np.abs(samples.mean(axis=0, dtype=float)).max():.2g} of full scale" in offset


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 63, 64, 129])
def test_one_bad_sample_is_enough(value: float, place: int) -> None:
    samples = np.zeros((130, 2), dtype=np.float32)
    samples[place, 1] = value
    levels = Levels(2)
    levels.add(samples)
    assert not levels.finite
