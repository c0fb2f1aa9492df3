"""The frames of all recordings in one memory-mapped array: every file is decoded once, for all trials of a study.

`frames.f16` is float16 of (rows, mels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ml.features.building import Run, build_store
from ml.features.extraction import Decode, KnownFile, NoRows
from ml.features.fbank import Fbank, FbankConfig
from ml.features.store import Places, StoreKind, open_store

FRAMES = StoreKind("frames.f16", 1, np.dtype("<f2"), FbankConfig, lambda config: (config.mels,))
"""A frame on disk is so many little-endian float16: 0.008 apart at the -16 of silence, where nothing is heard."""


@dataclass(frozen=True)
class FrameStore:
    """All frames (rows, mels), mapped and not read; where each recording's are: content hash to (first row, frames)."""

    frames: np.memmap[Any, np.dtype[np.float16]]
    rows: Places
    config: FbankConfig


def open_frames(folder: Path) -> FrameStore:
    """The store in `folder`; StoreDamaged when it is not whole."""
    store = open_store(folder, FRAMES)
    return FrameStore(store.rows, store.places, store.config)


def build_frames(
    folder: Path,
    files: Sequence[tuple[str, Path]],
    config: FbankConfig,
    *,
    decode: Decode,
    run: Run,
    workers: int,
    min_tail_rows: int,
    reuse: Sequence[Path] = (),
    stamps: Mapping[str, tuple[int, int]] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Write a frame store of all `files` (content hash, path) into the empty `folder`; return an account of it.

    `min_tail_rows` rows of zeros follow the last recording, so that a window of that many frames may begin at any row
    of any recording. `stamps` are (bytes, modified_ns) by content hash. All else is as `build_store` says.
    """
    built = build_store(
        folder,
        [KnownFile(key, path, (stamps or {}).get(key)) for key, path in files],
        FRAMES,
        config,
        rows_of=partial(frames_of, config=config, decode=decode),
        run=run,
        workers=workers,
        spare_rows=min_tail_rows,
        reuse=reuse,
        progress=progress,
    )
    return {
        "files": built.files,
        "decoded": built.decoded,
        "reused": built.reused,
        "frames": built.rows,
        "minutes": built.rows / config.frames_per_second / 60,
        "bytes": (built.rows + min_tail_rows) * FRAMES.row_bytes(config),
    }


def frames_of(file: KnownFile, *, config: FbankConfig, decode: Decode) -> Iterator[np.ndarray]:
    """The frames of a recording, block by block."""
    heard = False
    for block in Fbank(config).stream(decode(file.path, config.sample_rate)):
        heard = True
        yield block.astype(FRAMES.dtype)
    if not heard:
        raise NoRows(f"it is shorter than one frame of {config.window_ms:g} ms")
