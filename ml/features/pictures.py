"""All pictures of a study in one memory-mapped array, clips as pictures among them: every file is decoded once.

`pictures.u8` is uint8 of (rows, side, side, 3): red, green, blue, as a network in channels-last memory reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import Field, model_validator

from ml.config import Config
from ml.features.batches import resident
from ml.features.building import Run, build_store
from ml.features.clips import ClipConfig, ClipPictures
from ml.features.extraction import Decode, KnownFile, NoRows
from ml.features.store import Places, StoreKind, open_store

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue between 0 and 1 in ImageNet's training pictures: networks trained on them expect it."""


class PictureConfig(Config):
    """How pictures and clips become squares of one size."""

    side: int = Field(default=224, ge=16, le=1024)
    """Height and width in pixels."""
    clip: ClipConfig = ClipConfig()
    """How a clip becomes pictures."""

    @model_validator(mode="after")
    def _possible(self) -> PictureConfig:
        self.clip.fbank(self.side)
        return self


PICTURES = StoreKind("pictures.u8", 1, np.dtype("u1"), PictureConfig, lambda config: (config.side, config.side, 3))

MOST_CHILDREN = 10
"""Each takes 55 MB, 80 with clips: so many stay below 1 GiB. More would soon wait for the one process that gathers."""


@dataclass(frozen=True)
class PictureStore:
    """All pictures (rows, side, side, 3), mapped and not read; where each file's are: hash to (first row, rows)."""

    pictures: np.memmap[Any, np.dtype[np.uint8]]
    rows: Places
    config: PictureConfig


class ReadPicture(Protocol):
    """A top-level function (children import it): the picture in a file as uint8 (side, side, 3)."""

    def __call__(self, path: Path, side: int, /) -> np.ndarray: ...


def open_pictures(folder: Path) -> PictureStore:
    """The store in `folder`; StoreDamaged when it is not whole."""
    store = open_store(folder, PICTURES)
    return PictureStore(store.rows, store.places, store.config)


def build_pictures(
    folder: Path,
    files: Sequence[tuple[str, Path, float]],
    config: PictureConfig,
    *,
    read_picture: ReadPicture,
    read_sound: Decode,
    run: Run,
    workers: int,
    reuse: Sequence[Path] = (),
    stamps: Mapping[str, tuple[int, int]] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Write a store of all `files` (content hash, path, seconds) into the empty `folder`; return an account of it.

    A file of 0 seconds is a picture and becomes one row; any other is a clip and becomes one row per
    `config.clip.seconds`. Of `workers`, at most MOST_CHILDREN are taken. `stamps` are (bytes, modified_ns) by content
    hash. All else is as `build_store` says.
    """
    built = build_store(
        folder,
        [KnownFile(key, path, (stamps or {}).get(key), seconds) for key, path, seconds in files],
        PICTURES,
        config,
        rows_of=partial(_rows_of, config=config, read_picture=read_picture, read_sound=read_sound),
        run=run,
        workers=min(workers, MOST_CHILDREN),
        reuse=reuse,
        progress=progress,
    )
    return {
        "files": built.files,
        "decoded": built.decoded,
        "reused": built.reused,
        "pictures": built.rows,
        "bytes": built.rows * PICTURES.row_bytes(config),
    }


def _rows_of(
    file: KnownFile, *, config: PictureConfig, read_picture: ReadPicture, read_sound: Decode
) -> Iterator[np.ndarray]:
    """The one picture of a picture, or the pictures of a clip."""
    if file.seconds == 0:
        picture = read_picture(file.path, config.side)
        if picture.dtype != PICTURES.dtype or picture.shape != PICTURES.row_shape(config):
            raise NoRows(f"it was read as {picture.dtype} {picture.shape}, which is no picture of {config.side} pixels")
        yield picture[None]
        return
    seen = False
    for rows in _clip_pictures(config)(partial(read_sound, file.path, config.clip.sample_rate)):
        seen = True
        yield rows
    if not seen:
        raise NoRows("it has no sound at all")


def pictures_of(seconds: float, clip: ClipConfig) -> int:
    """How many pictures a file of so many seconds becomes; 0 seconds are a picture."""
    return max(1, int(seconds / clip.seconds + 0.5))


@cache
def _clip_pictures(config: PictureConfig) -> ClipPictures:
    return ClipPictures(config.clip, config.side)


class PictureBatches:
    """Pictures of a store as normalised tensors (batch, 3, side, side) in channels-last memory on a device.

    On a GPU the whole array moves there once where it fits; otherwise each batch travels as uint8 from pinned memory.
    """

    def __init__(
        self,
        pictures: NDArray[np.uint8],
        device: torch.device | str = "cpu",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        import torch

        self.device = torch.device(device)
        self._pictures = pictures
        self._resident = resident(pictures, self.device)
        # One value per byte of a line of pixels: long lines are computed many values at a time, triples are not.
        deviation, middle = torch.tensor(std, device=self.device), torch.tensor(mean, device=self.device)
        self._scale = (1 / (255 * deviation)).repeat(pictures.shape[2])
        self._shift = (-middle / deviation).repeat(pictures.shape[2])

    def batch(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """The pictures in `rows` (b,), as float32 (b, 3, side, side): (x / 255 - mean) / std for each colour."""
        import torch

        if self._resident is not None:
            taken = self._resident[torch.from_numpy(rows).to(self.device)]
        else:
            taken = torch.from_numpy(self._pictures[rows])
            if self.device.type == "cuda":
                taken = taken.pin_memory().to(self.device, non_blocking=True)
        shape = (len(rows), self._pictures.shape[1], len(self._scale))
        if self.device.type == "cpu":
            # numpy asks the system for large pages: filling a fresh tensor of torch's takes twice as long.
            batch = torch.from_numpy(np.empty(shape, np.float32)).copy_(taken.view(shape))
        else:
            batch = taken.view(shape).to(torch.float32)
        torch.addcmul(self._shift, batch, self._scale, out=batch)
        return batch.view(taken.shape).permute(0, 3, 1, 2)
