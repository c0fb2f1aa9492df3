"""A batch is what slicing, normalising and padding one window after the other gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ml.features.batches import AUDIOSET_MEAN, AUDIOSET_STD, Gather

LENGTH, MELS = 30, 16


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path: Path = tmp_path_factory.mktemp("store") / "frames"
    np.random.default_rng(3).normal(-4, 4, (500, MELS)).astype(np.float16).tofile(path)
    return np.memmap(path, dtype=np.float16, mode="r", shape=(500, MELS))


def plainly(frames: np.ndarray, starts: np.ndarray, valid: np.ndarray, mean: float, std: float) -> np.ndarray:
    batch = np.zeros((len(starts), LENGTH, MELS), np.float32)
    for place, (start, own) in enumerate(zip(starts, valid, strict=True)):
        batch[place, :own] = (frames[start : start + own].astype(np.float32) - mean) / (2 * std)
    return batch


def asked(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows in any order, the first and the last there are, one twice; some that end early."""
    rng = np.random.default_rng(4)
    starts = np.array([0, len(frames) - LENGTH, 7, 7, *rng.integers(0, len(frames) - LENGTH, 12)], np.int64)
    valid = np.full(len(starts), LENGTH, np.int32)
    valid[[1, 3, 9]] = [1, LENGTH - 1, 12]
    return starts, valid


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("resident_share", [0.5, 0.0])
def test_equal_to_the_plain_way(
    frames: np.ndarray, device: str, resident_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    torch.set_num_threads(1)
    monkeypatch.setattr("ml.features.batches.RESIDENT_SHARE", resident_share)
    gather = Gather(frames, LENGTH, device, AUDIOSET_MEAN, AUDIOSET_STD)
    starts, valid = asked(frames)
    for own in (valid, np.full_like(valid, LENGTH)):
        batch = gather.batch(starts, own)
        expected = plainly(frames, starts, own, AUDIOSET_MEAN, AUDIOSET_STD)
        assert batch.dtype == torch.float32 and batch.device.type == device
        np.testing.assert_allclose(batch.cpu().numpy(), expected, rtol=0, atol=0 if device == "cpu" else 1e-6)


def test_equal_to_the_extractor_of_transformers() -> None:
    """From samples to the model's input: only the float16 of the store lies between."""
    from transformers import ASTFeatureExtractor

    from ml.features.fbank import Fbank, FbankConfig

    samples = np.random.default_rng(5).standard_normal(40_000).astype(np.float32) * 0.1
    found = Fbank(FbankConfig())(samples)
    store = np.concatenate([found, np.ones((295, 128))]).astype(np.float16)
    batch = Gather(store, 295).batch(np.array([0]), np.array([len(found)], np.int32))
    extractor = ASTFeatureExtractor(max_length=len(found))
    theirs = extractor([samples], sampling_rate=16000, return_tensors="np")["input_values"]
    np.testing.assert_allclose(batch[:, : len(found)].numpy(), theirs, atol=2e-3, rtol=0)
    assert not batch[:, len(found) :].any()


def test_a_batch_does_not_change_the_store_or_another_batch(frames: np.ndarray) -> None:
    gather = Gather(frames, LENGTH)
    starts, valid = asked(frames)
    first = gather.batch(starts, valid)
    kept = first.clone()
    first.zero_()
    assert torch.equal(gather.batch(starts, valid), kept)


def test_a_window_beyond_the_store_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(IndexError):
        Gather(frames, LENGTH).batch(np.array([len(frames) - LENGTH + 1]), np.array([LENGTH], np.int32))
    with pytest.raises(ValueError, match="501 frames"):
        Gather(frames, 501)
