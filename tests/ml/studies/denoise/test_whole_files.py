"""Files as they are judged: mixed once and for all, as noisy as was said, whatever the noise is silent of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ml.studies.denoise.lulls import start_of_noise
from tests.ml.studies.denoise.heard import RATE, folders, mixtures, snr_db, sound


def test_whole_files_are_mixed_once_and_for_all() -> None:
    recordings = folders()
    files = list(mixtures(recordings, snr_db=(0.0, 20.0)).files("test"))
    assert [file.path for file in files] == [f"test/clean/{number}" for number in range(5)]
    assert [file.group for file in files] == [f"test/{number}" for number in range(5)]
    for number, file in enumerate(files):
        assert file.clean.dtype == file.noisy.dtype == np.float32
        np.testing.assert_allclose(file.clean, recordings[file.path], atol=1e-6)
        assert file.snr_db == pytest.approx((0.0, 20.0)[number % 2], abs=0.02)
        own = 10 * np.log10(np.sum(file.clean**2) / np.sum((file.noisy - file.clean) ** 2))
        assert file.snr_db == pytest.approx(own, abs=1e-3)
    again = list(mixtures(recordings, snr_db=(0.0, 20.0), seed=7).files("test"))
    assert all(np.array_equal(one.noisy, other.noisy) for one, other in zip(files, again, strict=True))


def barks(seconds: float, seed: int) -> np.ndarray:
    """A bark of a fifth of a second every ten seconds, and nothing between them."""
    found = np.zeros(round(seconds * RATE), np.float16)
    for number, first in enumerate(range(4 * RATE, len(found) - RATE, 10 * RATE)):
        found[first : first + RATE // 5] = sound(0.2, seed + number)
    return found


def test_whole_files_are_as_noisy_as_said_where_most_of_the_noise_is_silence() -> None:
    recordings = folders(clean=40, noise=3)
    for number, seconds in enumerate((15.0, 30.0, 60.0)):
        recordings[f"test/noise/{number}"] = barks(seconds, 1000 * number)
    files = list(mixtures(recordings, snr_db=(0.0, 5.0, 15.0)).files("test"))
    np.testing.assert_allclose(
        [snr_db(torch.from_numpy(file.noisy)[None], torch.from_numpy(file.clean)[None])[0] for file in files],
        [(0.0, 5.0, 15.0)[number % 3] for number in range(40)],
        atol=0.1,
    )
    for seed in (1, 2):
        again = mixtures(recordings, snr_db=(0.0, 5.0, 15.0), seed=seed).files("test")
        assert all(np.array_equal(one.noisy, other.noisy) for one, other in zip(files, again, strict=True))
    heard_noises = {tuple(np.flatnonzero(file.noisy != file.clean)[[0, -1]]) for file in files}
    assert len(heard_noises) > 20, "they do not all begin at one place"


def test_noise_begins_where_it_was_drawn_unless_a_lull_is_there() -> None:
    recording = np.concatenate([sound(2.0, 1), sound(3.0, 2, level=1e-4), sound(1.0, 3)])
    level = float(np.sqrt(np.mean(recording.astype(float) ** 2)))
    second = RATE
    for start, expected in ((0, 0), (second, second), (5 * second, 5 * second), (2 * second, 5 * second)):
        assert start_of_noise(recording, level, start, second) == expected
    assert start_of_noise(recording, level, 5 * second + 9, second) == 5 * second + 9, "round its end"
    assert start_of_noise(recording, level, 3 * second, 7 * second) == 3 * second, "all of it is heard"
    assert start_of_noise(recording[2 * second : 4 * second], level, 7, second) == 7, "nowhere is it as loud"
    click = np.zeros(10 * second, np.float16)
    click[-1] = 1.0
    for start in range(0, 10 * second, 777):
        found = start_of_noise(click, float(np.sqrt(1 / len(click))), start, second)
        assert np.roll(click, -found)[:second].any()


def test_of_hours_the_first_minutes_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.studies.denoise.mixing.JUDGED_SECONDS", 1.5)
    recordings = folders()
    recordings["test/clean/4"] = np.concatenate([sound(2.0, 5), sound(2.0, 6, level=0.01)])
    for file in mixtures(recordings, snr_db=(5.0,)).files("test"):
        assert len(file.clean) == len(file.noisy) == min(len(recordings[file.path]), 1.5 * RATE)
        assert file.snr_db == pytest.approx(5.0, abs=0.1), "what is judged is as noisy as was said"
