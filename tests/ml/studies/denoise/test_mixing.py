"""What is mixed: as loud as was said, from the right part, the same whatever the batch, another in every epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ml.config import ConfigError, read_config
from ml.studies.denoise.chances import chances
from ml.studies.denoise.mixing import MixConfig, Mixtures
from ml.studies.denoise.radio import RadioConfig
from tests.ml.studies.denoise.heard import PLAIN, RATE, folders, heard, mixtures, pairs, snr_db, sound

WINDOW = RATE // 2
CHANGED: dict[str, Any] = {**PLAIN, "level_db": 6.0, "radio": RadioConfig(high_hz=3000.0, clicks_per_second=20.0)}


def place_in(window: np.ndarray, recording: np.ndarray) -> int | None:
    """Where `window` begins in `recording`, whatever it was multiplied by."""
    beginning = window[:48]
    rows = np.lib.stride_tricks.sliding_window_view(recording.astype(np.float64), len(beginning))
    likeness = rows @ beginning / np.sqrt(np.square(rows).sum(1) * (beginning**2).sum())
    return int(likeness.argmax()) if likeness.max() > 0.999 else None


@pytest.mark.parametrize("said", [PLAIN, CHANGED], ids=["plain", "changed"])
def test_an_item_is_the_same_in_whatever_batch(said: dict[str, Any]) -> None:
    mixed = mixtures(**said)
    ids = mixed.order(3)[:7]
    noisy, clean = mixed.batch(ids)
    assert noisy.shape == clean.shape == (7, WINDOW) and noisy.dtype == clean.dtype == torch.float32
    again, other = mixtures(**said).batch(ids[[5, 2]])
    assert torch.equal(noisy[[5, 2]], again) and torch.equal(clean[[5, 2]], other)


def test_an_epoch_holds_every_item_once_and_another_epoch_sounds_different() -> None:
    mixed = mixtures()
    first, second = mixed.order(1), mixed.order(2)
    assert first.dtype == np.int64 and sorted(first) == list(range(mixed.items, 2 * mixed.items))
    assert sorted(second - mixed.items) == sorted(first) and not np.array_equal(second - mixed.items, first)
    assert np.array_equal(first, mixtures().order(1)) and not np.array_equal(first, mixtures(seed=2).order(1))
    for item in (0, 3):
        of_epochs = [mixed.batch(np.array([epoch * mixed.items + item]))[0] for epoch in (1, 2)]
        assert not torch.equal(*of_epochs)
    assert not torch.equal(mixed.batch(first)[0], mixtures(seed=2).batch(first)[0])


def test_as_many_items_as_windows_fit_or_as_was_said() -> None:
    seconds = [1 + 0.4 * number for number in range(5)]
    assert mixtures().items == round(sum(seconds) / 0.5)
    assert mixtures(windows_per_epoch=7).items == len(mixtures(windows_per_epoch=7).order(5)) == 7


def test_an_epoch_goes_through_all_recordings_evenly() -> None:
    recordings = folders()
    mixed = mixtures(recordings)
    _, clean = mixed.batch(mixed.order(1))
    counts = dict.fromkeys((path for path in recordings if path.startswith("train/clean")), 0)
    starts = []
    for window in clean.numpy().astype(np.float64):
        found = [(path, at) for path in counts if (at := place_in(window, recordings[path])) is not None]
        assert len(found) == 1, "every window is a piece of one recording of the training part"
        counts[found[0][0]] += 1
        starts.append(found[0][1])
    for path, count in counts.items():
        assert count == pytest.approx(len(recordings[path]) / WINDOW, abs=2)
    assert len(set(starts)) > 0.9 * len(starts), "windows begin anywhere"


def test_noise_is_of_the_same_part_and_as_far_below_the_recording_as_said() -> None:
    recordings = folders()
    store, split = heard(recordings)
    mixed = Mixtures(store, split, MixConfig(**PLAIN, snr_db=(3.0, 12.0)), seed=1, device="cpu")
    noisy, clean = mixed.batch(mixed.order(4))
    asked, heard_noises = [], set()
    for number in range(len(noisy)):
        noise = (noisy[number] - clean[number]).double().numpy()
        own = [
            path
            for path in recordings
            if "train/clean" in path and place_in(clean[number].double().numpy(), recordings[path]) is not None
        ]
        rolled = {
            path: np.concatenate([recordings[path]] * 3)
            for path in recordings
            if "noise" in path and place_in(noise, np.concatenate([recordings[path]] * 3)) is not None
        }
        (path,) = rolled
        assert path.startswith("train/noise")
        heard_noises.add(path)
        scale = np.sqrt((noise**2).mean()) / np.sqrt(
            (rolled[path].astype(float)[place_in(noise, rolled[path]) :][:WINDOW] ** 2).mean()
        )
        asked.append(-20 * np.log10(scale * store.levels[path] / store.levels[own[0]]))
    nearest = np.array([3.0, 12.0])[np.abs(np.subtract.outer(asked, [3.0, 12.0])).argmin(1)]
    np.testing.assert_allclose(asked, nearest, atol=0.02)
    assert set(nearest) == {3.0, 12.0} and len(heard_noises) == 3


def test_a_pause_is_as_noisy_as_the_words_around_it() -> None:
    recordings = folders(clean=1)
    words = sound(1.0, 1)
    recordings["train/clean/0"] = np.concatenate([words, np.zeros(RATE, np.float16)])
    mixed = mixtures(recordings, snr_db=(10.0,), windows_per_epoch=40)
    noisy, clean = mixed.batch(mixed.order(1))
    silent = clean.abs().amax(1) == 0
    assert 5 < silent.sum() < 30
    noise = (noisy - clean).square().mean(1).sqrt()
    expected = 0.1 / np.sqrt(2) * 10 ** (-10 / 20)
    np.testing.assert_allclose(noise, expected, rtol=0.1)


def test_a_silent_recording_gets_noise_at_a_fixed_level_and_silent_noise_gives_none() -> None:
    recordings = folders(clean=1, noise=1)
    recordings["train/clean/0"] = np.zeros(RATE, np.float16)
    mixed = mixtures(recordings, snr_db=(0.0,))
    noisy, clean = mixed.batch(mixed.order(1))
    assert not clean.any()
    np.testing.assert_allclose(noisy.square().mean(1).sqrt(), 1e-3, rtol=0.2)
    recordings["train/noise/0"] = np.zeros(RATE, np.float16)
    assert not mixtures(recordings, snr_db=(0.0,)).batch(mixed.order(1))[0].any()


def test_short_recordings_end_in_silence_and_short_noise_is_repeated() -> None:
    recordings = folders(clean=2, noise=1)
    recordings["train/clean/0"], recordings["train/noise/0"] = sound(0.1, 5), sound(0.03, 6)
    mixed = mixtures(recordings, windows_per_epoch=60)
    noisy, clean = mixed.batch(mixed.order(1))
    short = np.flatnonzero((clean[:, RATE // 10 :] == 0).all(1).numpy())
    assert len(short) > 5
    period = round(0.03 * RATE)
    for number in short:
        assert np.array_equal(clean[number, : RATE // 10] == 0, recordings["train/clean/0"] == 0)
        noise = noisy[number] - clean[number]
        np.testing.assert_allclose(noise[:-period], noise[period:], atol=1e-6)
        assert noise.abs().max() > 0


def test_what_would_exceed_full_scale_is_made_softer_with_its_clean() -> None:
    recordings = folders(clean=1, noise=1)
    recordings["train/clean/0"] = sound(2.0, 5, level=0.3)
    mixed = mixtures(recordings, snr_db=(0.0,))
    noisy, clean = mixed.batch(mixed.order(1))
    assert noisy.abs().amax(1).max() == pytest.approx(1.0) and clean.abs().max() <= 1
    np.testing.assert_allclose(snr_db(noisy, clean), 0.0, atol=1.0)


def test_louder_and_softer_together() -> None:
    same = mixtures(level_db=0.0, snr_db=(5.0,))
    ids = same.order(1)
    noisy, clean = same.batch(ids)
    other_noisy, other_clean = mixtures(level_db=6.0, snr_db=(5.0,)).batch(ids)
    gain = 20 * torch.log10(other_clean.square().sum(1) / clean.square().sum(1)) / 2
    assert gain.min() < -3 and gain.max() > 3 and gain.abs().max() <= 6.001
    scale = (other_clean.norm(dim=1) / clean.norm(dim=1))[:, None]
    np.testing.assert_allclose(other_noisy, noisy * scale, atol=1e-5)


def test_validation_is_fixed_whatever_the_trial_and_another_with_another_mix() -> None:
    one, other = mixtures(seed=1), mixtures(seed=2)
    every = np.arange(one.validation)
    assert one.validation == other.validation == sum(round((1 + 0.4 * number) / 0.5 + 1e-9) for number in range(5))
    assert all(torch.equal(*both) for both in zip(one.fixed(every), other.fixed(every), strict=True))
    assert torch.equal(one.fixed(every[3:5])[0], one.fixed(every)[0][3:5])
    assert not torch.equal(
        one.fixed(every)[0], mixtures(**{"seed": 1} | {"radio": RadioConfig(high_hz=3000.0)}).fixed(every)[0]
    )
    store, split = heard(folders())
    moved = Mixtures(store, split, MixConfig(**PLAIN, seed=9), seed=1, device="cpu").fixed(every)
    assert torch.equal(moved[1], one.fixed(every)[1]) and not torch.equal(moved[0], one.fixed(every)[0])


def test_fewer_validation_windows_are_spread_evenly() -> None:
    few = mixtures(validation_windows=6)
    assert few.validation == 6
    _, clean = few.fixed(np.arange(6))
    recordings = folders()
    found = {
        path
        for window in clean.numpy().astype(np.float64)
        for path in recordings
        if "validation/clean" in path and place_in(window, recordings[path]) is not None
    }
    assert len(found) == 5
    assert mixtures(validation_windows=10**6).validation == mixtures().validation


def test_nothing_depends_on_names_or_on_the_order_of_the_split() -> None:
    store, split = heard(folders())
    renamed = split.assign(path=[f"elsewhere/{row}/x.wav" for row in reversed(range(len(split)))]).iloc[::-1]
    first, second = (Mixtures(store, one, MixConfig(**PLAIN), seed=1, device="cpu") for one in (split, renamed))
    assert torch.equal(first.batch(first.order(1))[0], second.batch(second.order(1))[0])
    assert torch.equal(first.fixed(np.arange(9))[0], second.fixed(np.arange(9))[0])


def test_sound_stays_float32_where_products_are_computed_in_bf16() -> None:
    mixed = mixtures(**CHANGED)
    plain = mixed.batch(mixed.order(1))
    with torch.autocast("cpu", torch.bfloat16):
        found = mixed.batch(mixed.order(1))
    assert all(torch.equal(*both) and both[0].dtype == torch.float32 for both in zip(plain, found, strict=True))


def test_without_a_test_part_there_are_no_files_of_it() -> None:
    assert list(mixtures(folders(parts=("train", "validation"))).files("test")) == []


def test_given_pairs_are_taken_as_they_are() -> None:
    recordings = pairs()
    mixed = mixtures(recordings, windows_per_epoch=30)
    noisy, clean = mixed.batch(mixed.order(1))
    for number in range(30):
        (own,) = [
            (path, at)
            for path in recordings
            if "train/clean" in path and (at := place_in(clean[number].double().numpy(), recordings[path])) is not None
        ]
        partner = recordings[own[0].replace("clean", "noisy")][own[1] : own[1] + WINDOW]
        np.testing.assert_allclose(noisy[number], partner, atol=1e-6)
    for file in mixed.files("validation"):
        np.testing.assert_allclose(file.noisy, recordings[file.path.replace("clean", "noisy")], atol=1e-6)
        assert 8 < file.snr_db < 12
    assert mixed.validation > 4 and torch.isfinite(mixed.fixed(np.arange(4))[0]).all()


def test_the_longer_of_a_pair_is_cut_and_whoever_is_alone_is_left_out() -> None:
    recordings = pairs()
    recordings["train/noisy/0"] = np.concatenate([recordings["train/noisy/0"], sound(0.04, 9)])
    recordings["validation/noisy/1"] = recordings["validation/noisy/1"][:-7]
    recordings["validation/clean/alone"] = sound(1.0, 10)
    mixed = mixtures(recordings)
    lengths = {
        file.path: (len(file.clean), len(file.noisy)) for part in ("train", "validation") for file in mixed.files(part)
    }
    assert "validation/clean/alone" not in lengths
    assert lengths["train/clean/0"] == (len(recordings["train/clean/0"]),) * 2
    assert lengths["validation/clean/1"] == (len(recordings["validation/noisy/1"]),) * 2
    assert all(one == other for one, other in lengths.values())


def test_the_radio_cuts_the_band_and_adds_hiss_and_clicks_to_what_is_heard_alone() -> None:
    ids = mixtures().order(1)
    noisy, clean = mixtures(snr_db=(60.0,)).batch(ids)
    for_radio = RadioConfig(low_hz=200.0, high_hz=1500.0, hiss_snr_db=(60.0, 60.0), clicks_per_second=0.0)
    received, untouched = mixtures(snr_db=(60.0,), radio=for_radio).batch(ids)
    assert torch.equal(untouched, clean)
    spectra = [torch.fft.rfft(one * torch.hann_window(WINDOW)).abs().square().mean(0) for one in (noisy, received)]
    hz = np.fft.rfftfreq(WINDOW, 1 / RATE)
    change = 10 * np.log10((spectra[1] / spectra[0]).numpy())
    assert abs(change[(hz > 300) & (hz < 1200)].mean()) < 0.3
    assert change[hz > 3000].max() < -30 and change[hz < 80].max() < -30

    hissing = RadioConfig(low_hz=0.0, high_hz=4000.0, hiss_snr_db=(10.0, 10.0), clicks_per_second=0.0)
    received, clean = mixtures(snr_db=(60.0,), radio=hissing).batch(ids)
    power = torch.fft.rfft(received - clean).abs().square().mean(0).numpy()
    rise = power[(hz > 1500) & (hz < 2000)].mean() / power[(hz > 150) & (hz < 200)].mean()
    assert rise == pytest.approx(100, rel=0.4), "ten times the frequency, a hundred times the power"

    clicking = RadioConfig(
        low_hz=0.0, high_hz=4000.0, hiss_snr_db=(90.0, 90.0), clicks_per_second=50.0, click_level=0.9
    )
    received, _ = mixtures(snr_db=(60.0,), radio=clicking).batch(ids)
    without, _ = mixtures(snr_db=(60.0,), radio=clicking.model_copy(update={"clicks_per_second": 0.0})).batch(ids)
    clicks = ((received - without).abs() > 0.1).sum(1).double()
    assert 10 < clicks.mean() < 60


def test_a_radio_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="15000, but sound of 8000 Hz ends at 4000 Hz"):
        mixtures(radio=RadioConfig())
    with pytest.raises(ConfigError, match="must be below"):
        read_config(RadioConfig, {"low_hz": 3000, "high_hz": 300}, "here")
    with pytest.raises(ConfigError, match="above"):
        read_config(RadioConfig, {"hiss_snr_db": [30, 20]}, "here")


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_without_anything_clean_is_refused(part: str) -> None:
    recordings = {path: samples for path, samples in folders().items() if not path.startswith(f"{part}/clean")}
    with pytest.raises(ValueError, match=f"no clean recording in {part}"):
        mixtures(recordings)


def test_clean_sound_with_nothing_beside_it_is_refused() -> None:
    recordings = {path: samples for path, samples in folders().items() if not path.startswith("test/noise")}
    with pytest.raises(ValueError, match="test holds clean files and neither noise"):
        mixtures(recordings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"snr_db": []},
        {"snr_db": [float("inf")]},
        {"snr_db": [-100.0]},
        {"segment_seconds": 0.0},
        {"windows_per_epoch": 0},
        {"snr": [1]},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MixConfig.model_validate(wrong)


def test_chances_are_even_and_belong_to_name_and_item() -> None:
    drawn = chances("name", np.arange(20_000), 3)
    assert drawn.shape == (3, 20_000) and drawn.min() >= 0 and drawn.max() < 1
    counts = [np.histogram(row, bins=20, range=(0, 1))[0] for row in drawn]
    assert np.abs(np.array(counts) - 1000).max() < 150
    assert np.abs(np.corrcoef([*drawn, np.roll(drawn[0], 1)]) - np.eye(4)).max() < 0.03
    assert np.array_equal(chances("name", np.array([77]), 3)[:, 0], drawn[:, 77])
    assert not np.isin(chances("other", np.arange(100), 3), drawn).any()


@pytest.mark.parametrize("share", [0.5, 0.0], ids=["resident", "travelling"])
def test_on_a_gpu_it_is_the_same(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    monkeypatch.setattr("ml.features.batches.RESIDENT_SHARE", share)
    store, split = heard(folders())
    for said in (PLAIN, CHANGED):
        here, there = (Mixtures(store, split, MixConfig(**said), seed=1, device=device) for device in ("cpu", "cuda"))
        for one, other in ((here.batch(here.order(1)), there.batch(there.order(1))),):
            assert other[0].device.type == "cuda"
            for expected, found in zip(one, other, strict=True):
                np.testing.assert_allclose(found.cpu(), expected, atol=2e-5)
