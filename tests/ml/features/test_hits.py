"""Pictures of hits: only what lies in the window, the same in every batch, and truly stretched and tuned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ml.features.hit_config import HitPictureConfig
from ml.features.hits import HitClips, HitPictures

RATE = 44_100
CONFIG = HitPictureConfig(mels=64, columns=32)
FASTEST, SHIFT = 1.25, 400


def pictures(config: HitPictureConfig = CONFIG, **said: float) -> HitPictures:
    return HitPictures(config, RATE, **said)  # type: ignore[arg-type]


def tone(hertz: float, samples: int = RATE, falls: float = 0.0) -> np.ndarray:
    moments = np.arange(samples) / RATE
    return np.sin(2 * np.pi * hertz * moments) * np.exp(-falls * moments)


def seen(of: HitPictures, samples: np.ndarray, start: int, **told: float) -> Tensor:
    """The picture (mels, columns) of the hit at `start` in `samples`."""
    places = (np.array([value]) for value in (start, 0, len(samples)))
    clip = of.clips(samples.astype(np.float32)).batch(*places)
    return of.pictures(clip, **{name: torch.tensor([value]) for name, value in told.items()})[0, 0]


def test_a_clip_is_the_sound_around_the_hit_and_zeros_beyond_its_recording() -> None:
    samples = np.arange(1, 101, dtype=np.float16)
    clips = HitClips(samples, lead=2, length=5)
    found = clips.batch(np.array([50, 20, 39, 0, 99]), np.array([0, 20, 20, 0, 0]), np.array([100, 40, 40, 100, 100]))
    assert found.tolist() == [
        [49, 50, 51, 52, 53],
        [0, 0, 21, 22, 23],
        [38, 39, 40, 0, 0],
        [0, 0, 1, 2, 3],
        [98, 99, 100, 0, 0],
    ]


def test_clips_come_out_of_a_mapped_file_as_out_of_memory(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 4000).astype("<f2")
    (tmp_path / "samples").write_bytes(samples.tobytes())
    mapped = np.memmap(tmp_path / "samples", dtype="<f2", mode="r")
    places = np.array([5, 3999, 1234]), np.array([0, 2000, 1200]), np.array([4000, 4000, 1300])
    one, other = (HitClips(which, 300, 900).batch(*places) for which in (mapped, samples.astype(np.float32)))
    assert torch.equal(one, other) and one.dtype == torch.float32


def test_nothing_outside_of_the_window_is_seen() -> None:
    of = pictures()
    start, rng = 20_000, np.random.default_rng(1)
    quiet = rng.normal(0, 0.05, 40_000)
    before, after = round(RATE * 0.025), round(RATE * 0.1)
    loud = quiet.copy()
    loud[: start - before - 1] = 0.9
    loud[start + after + 1 :] = -0.9
    assert torch.equal(seen(of, quiet, start), seen(of, loud, start))
    loud[start + after - 10] = 0.9
    assert not torch.equal(seen(of, quiet, start), seen(of, loud, start))


def test_columns_are_spread_over_the_window() -> None:
    samples = np.zeros(40_000)
    for column in (0, 8, 31):  # 25 ms are a fifth of what is seen
        click = 20_000 + round(((column + 0.5) / 32 * 0.125 - 0.025) * RATE)
        samples[:] = 0
        samples[click] = 0.5
        assert int(seen(pictures(), samples, 20_000).sum(dim=0).argmax()) == column


def test_the_loudest_point_is_one_and_silence_is_black() -> None:
    found = seen(pictures(), 0.001 * tone(1000), 20_000)
    assert float(found.max()) == 1.0 and float(found.min()) == -1.0
    assert torch.equal(seen(pictures(), np.zeros(40_000), 20_000), torch.full((64, 32), -1.0))
    assert torch.allclose(found, seen(pictures(), tone(1000), 20_000), atol=1e-4), "loudness makes no difference"


def test_every_band_hears_something_however_narrow_it_is() -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, 40_000)
    found = seen(pictures(HitPictureConfig(mels=128, columns=32)), noise, 20_000)
    assert float(found.max(dim=1).values.min()) > 0.2


def test_faster_is_the_picture_of_a_sound_that_falls_faster() -> None:
    """With the same pitch: that is what stretching in time means."""
    of = pictures(fastest=FASTEST)
    start = 10_000
    slow, fast = np.zeros(40_000), np.zeros(40_000)
    slow[start:] = tone(3000, 30_000, falls=40)
    fast[start:] = tone(3000, 30_000, falls=40 * FASTEST)
    plain, wanted = seen(of, slow, start), seen(of, fast, start)
    stretched = seen(of, slow, start, stretch=FASTEST)
    # The spectra's own length is not stretched: at the borders of what is seen they differ.
    inside = slice(10, 29)
    band = int(wanted.mean(dim=1).argmax())
    error = (stretched - wanted)[band, inside].abs().mean()
    assert error < 0.2 * (plain - wanted)[band, inside].abs().mean()


@pytest.mark.parametrize("semitones", [-2.0, 1.0, 2.0])
def test_higher_is_the_picture_of_a_higher_tone(semitones: float) -> None:
    of = pictures()
    tuned = seen(of, tone(2000), 20_000, semitones=semitones)[:, 16]
    wanted = seen(of, tone(2000 * 2 ** (semitones / 12)), 20_000)[:, 16]
    plain = seen(of, tone(2000), 20_000)[:, 16]
    assert int(tuned.argmax()) == int(wanted.argmax())
    assert (tuned - wanted).abs().mean() < 0.5 * (plain - wanted).abs().mean()


def test_a_shifted_hit_is_the_hit_that_many_samples_later() -> None:
    of, noise = pictures(shift=SHIFT), np.random.default_rng(3).normal(0, 0.1, 40_000)
    for shift in (-SHIFT, 7, SHIFT):
        assert torch.equal(seen(of, noise, 20_000, shift=shift), seen(pictures(), noise, 20_000 + shift))


def test_what_could_be_asked_for_changes_no_plain_picture() -> None:
    """Training makes room for changes; use does not, and must see the same."""
    noise = np.random.default_rng(4).normal(0, 0.1, 40_000)
    plain = seen(pictures(), noise, 20_000)
    assert torch.equal(plain, seen(pictures(fastest=FASTEST, shift=SHIFT), noise, 20_000))
    unchanged = seen(pictures(), noise, 20_000, stretch=1.0, semitones=0.0, shift=0)
    assert torch.allclose(plain, unchanged, atol=1e-4)


def test_a_picture_is_the_same_in_every_batch() -> None:
    of, noise = pictures(), np.random.default_rng(5).normal(0, 0.1, 40_000).astype(np.float32)
    start = np.arange(0, 40_000, 400)
    whole = of.pictures(of.clips(noise).batch(start, 0 * start, 0 * start + len(noise)))
    assert whole.shape == (100, 1, 64, 32)
    for place in (0, 57, 99):
        assert torch.allclose(whole[place, 0], seen(of, noise, int(start[place])), atol=1e-4)
    assert of.pictures(torch.zeros(0, of.length)).shape == (0, 1, 64, 32)


def test_pictures_are_made_in_full_precision_within_autocast() -> None:
    of, noise = pictures(), np.random.default_rng(6).normal(0, 0.1, 40_000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = seen(of, noise, 20_000)
    assert found.dtype == torch.float32 and torch.equal(found, seen(of, noise, 20_000))


def test_bands_end_where_a_low_rate_ends() -> None:
    found = HitPictures(CONFIG, 16_000).pictures(torch.randn(1, 2000)[:, : HitPictures(CONFIG, 16_000).length])
    assert torch.isfinite(found).all()
