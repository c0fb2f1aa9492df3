"""A batch is what scaling and normalising one picture after the other gives, in the memory order that is fastest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ml.features.pictures import IMAGENET_MEAN, IMAGENET_STD, PictureBatches

SIDE = 32


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path: Path = tmp_path_factory.mktemp("store") / "pictures"
    np.random.default_rng(3).integers(0, 256, (40, SIDE, SIDE, 3), dtype=np.uint8).tofile(path)
    return np.memmap(path, dtype=np.uint8, mode="r", shape=(40, SIDE, SIDE, 3))


ROWS = np.array([39, 0, 7, 7, 21, 3], np.int64)


def plainly(pictures: np.ndarray, rows: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    batch = [(pictures[row].astype(np.float64) / 255 - np.array(mean)) / np.array(std) for row in rows]
    return np.stack(batch).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("resident_share", [0.5, 0.0])
def test_equal_to_the_plain_way(
    pictures: np.ndarray, device: str, resident_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    monkeypatch.setattr("ml.features.batches.RESIDENT_SHARE", resident_share)
    monkeypatch.setattr("ml.features.batches.BUFFER_BYTES", 5 * SIDE * SIDE * 3)
    for mean, std in ((IMAGENET_MEAN, IMAGENET_STD), ((0.1, 0.2, 0.3), (1.0, 2.0, 0.5))):
        batches = PictureBatches(pictures, device, mean, std)
        for rows in (ROWS, ROWS[:1], ROWS[:0]):
            batch = batches.batch(rows)
            assert batch.dtype == torch.float32 and batch.device.type == device
            assert batch.shape == (len(rows), 3, SIDE, SIDE)
            assert batch.is_contiguous(memory_format=torch.channels_last)
            if len(rows):
                np.testing.assert_allclose(batch.cpu().numpy(), plainly(pictures, rows, mean, std), rtol=0, atol=2e-6)


def test_equal_to_what_transformers_gives_its_networks(pictures: np.ndarray) -> None:
    from transformers.image_transforms import normalize, rescale

    theirs = [normalize(rescale(pictures[row], 1 / 255), IMAGENET_MEAN, IMAGENET_STD) for row in ROWS]
    ours = PictureBatches(pictures).batch(ROWS).permute(0, 2, 3, 1)
    np.testing.assert_allclose(ours.numpy(), np.stack(theirs), rtol=0, atol=2e-6)


def test_a_convolution_takes_it_as_it_is(pictures: np.ndarray) -> None:
    """Channels-last comes out of a convolution again: nothing was copied into another order on the way."""
    convolution = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    answer = convolution(PictureBatches(pictures).batch(ROWS))
    assert answer.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_does_not_change_the_store_or_another_batch(pictures: np.ndarray) -> None:
    batches = PictureBatches(pictures)
    first = batches.batch(ROWS)
    kept = first.clone()
    first.zero_()
    assert torch.equal(batches.batch(ROWS), kept)


def test_a_picture_beyond_the_store_is_refused(pictures: np.ndarray) -> None:
    with pytest.raises(IndexError):
        PictureBatches(pictures).batch(np.array([40]))
