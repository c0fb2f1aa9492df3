"""Our frames are those that AST was trained on, however the sound arrives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ml.features.fbank import BLOCK_FRAMES, FLOOR, Fbank, FbankConfig


def heard(energies: np.ndarray) -> np.ndarray:
    """Where single precision keeps three digits: 2 above the floor, at most 14 (60 dB) below the frame's loudest."""
    return energies > np.maximum(np.log(FLOOR) + 2, energies.max(axis=1, keepdims=True) - 14)


def sounds() -> dict[str, np.ndarray]:
    """Seven seconds each, at 16 kHz."""
    rng = np.random.default_rng(7)
    time = np.arange(7 * 16000) / 16000
    noise = rng.standard_normal(len(time))
    chirp = np.sin(2 * np.pi * (50 + 500 * time) * time)
    return {
        "noise": 0.1 * noise,
        "loud noise": np.clip(noise, -1, 1),
        "quiet noise": 1e-4 * noise,
        "chirp with noise": 0.5 * chirp + 0.001 * noise,
        "noise on a constant": 0.3 + 0.1 * noise,
        "clicks": (np.arange(len(time)) % 4001 == 0).astype(float),
        "silence": np.zeros(len(time)),
    }


def of_torchaudio(samples: np.ndarray, **settings: float) -> np.ndarray:
    from torchaudio.compliance import kaldi

    asked = {"sample_frequency": 16000, "window_type": "hanning", "num_mel_bins": 128} | settings
    return kaldi.fbank(torch.from_numpy(samples)[None], **asked).numpy()


@pytest.mark.parametrize("name", sounds())
def test_equal_to_kaldi_of_torchaudio(name: str) -> None:
    samples = sounds()[name].astype(np.float32)
    ours, theirs = Fbank(FbankConfig())(samples), of_torchaudio(samples)
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    where = heard(theirs)
    np.testing.assert_allclose(ours[where], theirs[where], atol=1e-3, rtol=0)
    np.testing.assert_allclose(ours, theirs, atol=2e-2, rtol=0)


@pytest.mark.parametrize("name", sounds())
def test_as_close_to_the_truth_as_torchaudio(name: str) -> None:
    """Against the same in double precision, near the floor too."""
    samples = sounds()[name].astype(np.float32)
    truth = of_torchaudio(samples.astype(np.float64))
    ours, theirs = (
        np.sqrt(np.mean((found - truth) ** 2)) for found in (Fbank(FbankConfig())(samples), of_torchaudio(samples))
    )
    assert ours < 2 * theirs + 1e-5


def test_equal_to_the_extractor_of_transformers() -> None:
    from transformers import ASTFeatureExtractor

    samples = sounds()["noise"].astype(np.float32)[:47520]
    extractor = ASTFeatureExtractor(do_normalize=False, max_length=1024)
    theirs = extractor([samples], sampling_rate=16000, return_tensors="np")["input_values"][0]
    ours = Fbank(FbankConfig())(samples)
    assert not theirs[len(ours) :].any(), "the extractor pads with zeros from where our frames end"
    theirs = theirs[: len(ours)]
    where = heard(theirs)
    assert where.mean() > 0.9
    np.testing.assert_allclose(ours[where], theirs[where], atol=1e-3, rtol=0)


def test_equal_with_other_settings() -> None:
    samples = sounds()["noise"].astype(np.float32)
    config = FbankConfig(sample_rate=22050, mels=40, window_ms=32.0, hop_ms=12.5, low_hz=60.0, high_hz=7600.0)
    theirs = of_torchaudio(
        samples,
        sample_frequency=22050,
        num_mel_bins=40,
        frame_length=32.0,
        frame_shift=12.5,
        low_freq=60.0,
        high_freq=7600.0,
    )
    np.testing.assert_allclose(Fbank(config)(samples), theirs, atol=1e-3, rtol=0)


def test_blocks_of_any_sizes_give_bit_equal_frames() -> None:
    samples = np.random.default_rng(1).standard_normal(3 * BLOCK_FRAMES * 160 + 1234).astype(np.float32)
    fbank = Fbank(FbankConfig())
    whole = fbank(samples)
    rng = np.random.default_rng(2)
    for largest in (100, 5_000, 400_000):
        cuts = np.cumsum(rng.integers(1, largest, 2 * len(samples) // largest + 1))
        blocks = np.split(samples, cuts[cuts < len(samples)])
        assert len(blocks) > 1 or largest > len(samples)
        assert np.array_equal(np.concatenate(list(fbank.stream(blocks))), whole)


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 559, 560, 47520, 512 * 160, 512 * 160 + 240])
def test_frames_of_says_what_comes_out(samples: int) -> None:
    fbank = Fbank(FbankConfig())
    assert fbank(np.zeros(samples, np.float32)).shape == (fbank.frames_of(samples), 128)


def test_a_window_of_the_document_has_295_frames() -> None:
    assert Fbank(FbankConfig()).frames_of(round(2.97 * 16000)) == 295
    assert FbankConfig().frames_per_second == 100


def test_silence_reads_the_floor_and_fits_float16() -> None:
    silence = Fbank(FbankConfig())(np.zeros(16000, np.float32))
    assert np.allclose(silence, np.log(FLOOR))
    assert np.isfinite(silence.astype(np.float16)).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"high_hz": 9000.0},
        {"low_hz": -1.0},
        {"low_hz": 5000.0, "high_hz": 4000.0},
        {"mels": 2},
        {"hop_ms": 0.0},
        {"window_ms": 0.1},
        {"mel": 64},
        {"sample_rate": "16k"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FbankConfig(**wrong)
