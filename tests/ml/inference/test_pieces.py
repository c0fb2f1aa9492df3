"""Sound denoised in pieces is the sound denoised at once, however it is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ml.inference.pieces import Layout, Stream, denoise_signal, whole_layout
from ml.models.unet1d import UNet1D
from ml.models.unet1d_config import UNet1DConfig
from tests.ml.inference.small import PROCESSOR, SMALL, small_denoiser, sounding


def at_once(model: UNet1D, samples: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(samples)).numpy()


@pytest.mark.parametrize("samples", [1, 31, 32, 5_000, 2_048 * 3, 2_048 * 3 + 1])
def test_pieces_are_what_one_pass_over_the_whole_gives(samples: int) -> None:
    model, sound = small_denoiser(), sounding(samples, channels=2)
    expected = at_once(model, sound)

    said = denoise_signal(model, sound, PROCESSOR, piece=2_048)

    assert samples < 1_000 or np.abs(expected - sound).max() > 0.02  # it does something
    np.testing.assert_allclose(said, expected, atol=2e-6)
    assert denoise_signal(model, sound[0], PROCESSOR).shape == (samples,)


def test_a_stride_that_is_no_power_of_two_is_aligned_too() -> None:
    model = small_denoiser(UNet1DConfig(channels=(8, 16), kernel=3, fold=5))
    sound = sounding(3_001)
    stream = Stream(model, PROCESSOR, whole_layout(model.config, piece=333))
    said = np.concatenate([stream.push(sound), stream.finish()], axis=1)
    np.testing.assert_allclose(said, at_once(model, sound), atol=2e-6)


def test_what_comes_out_does_not_depend_on_how_it_came_in() -> None:
    model, sound = small_denoiser(), sounding(9_000)
    layout = Layout(hop=500, overlap=70, ahead=131, behind=509)
    whole = Stream(model, PROCESSOR, layout)
    expected = np.concatenate([whole.push(sound), whole.finish()], axis=1)

    stream, said, place = Stream(model, PROCESSOR, layout), [], 0
    for number in (0, 1, 700, 3, 2_000, 499, 501, 5_296):
        said.append(stream.push(sound[:, place : place + number]))
        place += number
        # No sample waits longer than the latency says.
        assert place - sum(part.shape[1] for part in said) < layout.latency
    said.append(stream.finish())

    np.testing.assert_array_equal(np.concatenate(said, axis=1), expected)
    assert expected.shape == sound.shape


def test_a_layout_that_hears_less_ahead_than_the_network_does_is_faded_over() -> None:
    """Seams of a cut look-ahead: with the fade, steps between neighbouring samples are no larger at them."""
    model, sound = small_denoiser(), sounding(40_000)
    behind = whole_layout(SMALL).behind

    def off(overlap: int) -> np.ndarray:
        stream = Stream(model, PROCESSOR, Layout(hop=1_024, overlap=overlap, ahead=0, behind=behind))
        said = np.concatenate([stream.push(sound), stream.finish()], axis=1)
        return np.abs(np.diff(said - at_once(model, sound)))[0]

    seams = np.arange(1_024, 39_000, 1_024)
    assert off(256)[seams - 1].mean() < 0.2 * off(0)[seams - 1].mean()


def test_nothing_in_gives_nothing_out() -> None:
    assert denoise_signal(small_denoiser(), np.zeros(0, np.float32), PROCESSOR).shape == (0,)
