"""A clip becomes pictures that show what is heard: when, how high, how loud beside the rest of the clip."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from ml.features.clips import ClipConfig, ClipPictures
from ml.features.fbank import FLOOR, PREEMPHASIS, Fbank
from ml.features.pictures import PictureConfig, pictures_of

CONFIG, SIDE = ClipConfig(), 96
PICTURES = ClipPictures(CONFIG, SIDE)


def noise(seconds: float, loudness: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(round(seconds * 16000)) * loudness).astype(np.float32)


def tone(hz: float, seconds: float = 4.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 16000)) / 16000)).astype(np.float32)


def drawn(samples: np.ndarray, maker: ClipPictures = PICTURES, block: int = 32000) -> np.ndarray:
    blocks = [samples[first : first + block] for first in range(0, len(samples), block)]
    return np.concatenate(list(maker(lambda: blocks)))


def test_low_tones_are_below_high_ones() -> None:
    edges = np.linspace(1127 * np.log(1 + 50 / 700), 1127 * np.log(1 + 8000 / 700), SIDE + 2)
    for hz in (150, 440, 2000, 6000):
        (picture,) = drawn(tone(hz))
        expected = SIDE - 1 - (np.abs(edges[1:-1] - 1127 * np.log(1 + hz / 700))).argmin()
        brightest = picture[:, :, 0].astype(int).sum(axis=1).argmax()
        assert abs(brightest - expected) <= 1
        assert picture[brightest].min() > 230 and picture[(brightest + SIDE // 2) % SIDE].max() < 60


def test_time_runs_from_left_to_right_in_grey() -> None:
    samples = np.concatenate([np.zeros(48000, np.float32), noise(1)])
    (picture,) = drawn(samples)
    assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    assert (picture == picture[:, :, :1]).all()
    assert not picture[:, : SIDE * 3 // 4 - 2].any() and picture[:, SIDE * 3 // 4 + 2 :].min() > 30


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.02, 1), (1.0, 1), (4.0, 1), (5.9, 1), (6.1, 2), (8.0, 2), (10.0, 3), (13.9, 3)]
)
def test_one_picture_per_stretch_and_the_last_where_half_of_it_is_there(seconds: float, count: int) -> None:
    assert len(drawn(noise(seconds))) == count == pictures_of(seconds, CONFIG)


def test_a_picture_file_is_one_picture() -> None:
    assert pictures_of(0.0, CONFIG) == 1


def test_what_lies_beyond_the_clip_is_black() -> None:
    (short,) = drawn(noise(1.0))
    assert short[:, : SIDE // 4 - 2].min() > 0 and not short[:, SIDE // 4 + 1 :].any()
    last = drawn(noise(6.5))[-1]
    assert last[:, : SIDE * 5 // 8 - 2].min() > 0 and not last[:, SIDE * 5 // 8 + 1 :].any()


def test_volume_does_not_matter_within_the_clip_it_does() -> None:
    loud, quiet = drawn(noise(4)), drawn(noise(4, 0.004))
    np.testing.assert_allclose(loud.astype(int), quiet.astype(int), atol=1)
    first, second = drawn(np.concatenate([noise(4, 0.001), noise(4)])).astype(int)
    assert second.max() == 255
    # A hundredth of the amplitude is 40 of 80 dB.
    np.testing.assert_allclose(first[first > 30], second[first > 30] - 255 * 40 / 80, atol=1.01)


def test_silence_is_black_and_is_no_error() -> None:
    assert not drawn(np.zeros(80000, np.float32)).any()


def test_a_clip_without_samples_has_no_picture() -> None:
    assert list(PICTURES(lambda: [])) == []


def test_a_long_clip_is_the_same_whatever_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.concatenate([noise(9, 0.01), noise(9), noise(3, 0.05)])
    whole = drawn(samples)
    for at_once in (1, 2, len(whole), 100):
        monkeypatch.setattr("ml.features.clips.AT_ONCE", at_once)
        assert np.array_equal(drawn(samples), whole)


@pytest.mark.parametrize("block", [777, 64000, 10**6])
def test_blocks_of_any_size_give_the_same_pictures(block: int) -> None:
    assert np.array_equal(drawn(noise(11), block=block), drawn(noise(11)))


@pytest.mark.parametrize("side", [32, 224, 512])
def test_no_row_is_blind_however_narrow_its_filter(side: int) -> None:
    config = CONFIG.fbank(side)
    samples = noise(4)
    assert (Fbank(config, gapless=True)(samples).min(axis=0) > np.log(FLOOR) + 1).all()
    if side > 500:
        assert (Fbank(config)(samples).max(axis=0) < np.log(FLOOR) + 1).any(), "without `gapless` some are"


def test_a_column_is_what_is_written_out_plainly() -> None:
    fbank = Fbank(CONFIG.fbank(SIDE), gapless=True)
    config, samples = fbank.config, noise(4).astype(np.float64)
    frame = samples[3 * config.hop_samples :][: config.window_samples]
    frame = frame - frame.mean()
    frame = (frame - PREEMPHASIS * np.concatenate([frame[:1], frame[:-1]])) * np.hanning(len(frame))
    power = np.abs(np.fft.rfft(frame, 1024)) ** 2
    mels = 1127 * np.log(1 + np.fft.rfftfreq(1024, 1 / 16000) / 700)
    edges = np.linspace(1127 * np.log(1 + 50 / 700), 1127 * np.log(1 + 8000 / 700), SIDE + 2)
    for mel in (0, 40, SIDE - 1):
        triangle = np.interp(mels, edges[mel : mel + 3], [0, 1, 0])
        found = fbank(samples.astype(np.float32))[3, mel]
        assert found == pytest.approx(np.log(power @ triangle), abs=2e-3)


@pytest.mark.parametrize("side", [16, 96, 224, 225, 512])
@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_a_full_stretch_fills_the_whole_picture(side: int, rate: int) -> None:
    config = ClipConfig(sample_rate=rate, seconds=3.1)
    fbank = Fbank(config.fbank(side))
    columns = fbank.frames_of(config.samples)
    assert side <= columns <= side * 1.05 + 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": 8},
        {"side": 224.0},
        {"clip": {"seconds": 0.05}},
        {"clip": {"seconds": -1.0}},
        {"clip": {"high_hz": 9000.0}},
        {"clip": {"low_hz": 8000.0}},
        {"clip": {"span_db": 0.0}},
        {"clip": {"window_ms": 0.1}},
        {"clip": {"mels": 64}},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PictureConfig.model_validate(wrong)
