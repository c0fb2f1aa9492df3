"""Raw PCM: every value comes back as it was, wherever the bytes were cut."""

from __future__ import annotations

import numpy as np
import pytest

from ml.inference.pcm import Samples


def test_every_sixteen_bit_value_comes_back() -> None:
    every = np.arange(-(2**15), 2**15).astype("<i2").tobytes()
    samples = Samples("s16le")
    assert samples.bytes_of(samples.numbers(every)) == every
    assert samples.clipped == 0


@pytest.mark.parametrize(("name", "channels", "frame"), [("s16le", 1, 2), ("s16le", 3, 6), ("f32le", 2, 8)])
def test_bytes_that_are_cut_anywhere_become_whole_samples(name: str, channels: int, frame: int) -> None:
    said = bytes(np.random.default_rng(0).integers(0, 60, 20 * frame + frame - 1, dtype=np.uint8))
    samples, parts, place = Samples(name, channels), [], 0
    for number in (1, 1, frame, 3, 5 * frame - 1, 1, 1_000):
        parts.append(samples.whole(said[place : place + number]))
        place += number
        assert len(parts[-1]) % frame == 0
    whole = b"".join(parts)
    assert whole == said[: 20 * frame] and samples.left == said[20 * frame :]
    assert samples.numbers(whole).shape == (channels, 20)
    assert samples.bytes_of(samples.numbers(whole)) == whole


def test_channels_come_in_turns() -> None:
    samples = Samples("f32le", 2)
    np.testing.assert_array_equal(
        samples.numbers(np.array([1, -1, 2, -2], "<f4").tobytes()), np.array([[1, 2], [-1, -2]], np.float32)
    )


def test_what_is_no_number_is_silence_and_what_is_too_loud_is_cut_and_both_are_counted() -> None:
    floats, shorts = Samples("f32le"), Samples("s16le")
    numbers = floats.numbers(np.array([0.5, np.nan, np.inf, -0.5], "<f4").tobytes())
    np.testing.assert_array_equal(numbers, [[0.5, 0, 0, -0.5]])
    assert floats.bad == 2
    said = np.frombuffer(shorts.bytes_of(np.array([[1.5, -1.5, 0.25]], np.float32)), "<i2")
    np.testing.assert_array_equal(said, [32_767, -32_768, 8_192])
    assert shorts.clipped == 2
