"""The sound of all recordings in one memory-mapped array: each is decoded and resampled once, for all trials.

`samples.f16` is float16 of (samples,), all recordings behind one another. A float16 is within 66 dB of its own value,
so quiet passages keep their detail; that is beyond what any mixture with noise needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ml.config import Config
from ml.features.building import Run, build_store
from ml.features.extraction import Decode, KnownFile, NoRows
from ml.features.store import Places, StoreDamaged, StoreKind, open_store

LEVELS = "levels.json"
AT_ONCE = 1 << 22
"""Samples that are held while the energy of many is summed."""


class WaveformConfig(Config):
    """How sound is kept."""

    sample_rate: int = Field(default=44_100, ge=4000, le=192_000)
    """Hz; every recording is mixed to mono and resampled to it once. A model works at the rate it was trained at."""


WAVEFORMS = StoreKind("samples.f16", 1, np.dtype("<f2"), WaveformConfig, lambda config: ())
"""A row on disk is one sample, a little-endian float16."""


@dataclass(frozen=True)
class WaveformStore:
    """All samples (n,), mapped and not read; where each recording's are, and how loud it is as a whole."""

    samples: np.memmap[Any, np.dtype[np.float16]]
    places: Places
    config: WaveformConfig
    levels: Mapping[str, float]
    """Content hash to root mean square, full scale = 1."""


def open_waveforms(folder: Path) -> WaveformStore:
    """The store in `folder`; StoreDamaged when it is not whole."""
    store = open_store(folder, WAVEFORMS)
    try:
        levels = json.loads((folder / LEVELS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise StoreDamaged(f"{folder}: the levels of its recordings are missing ({problem}); build it again") from None
    if levels.keys() != store.places.keys():
        raise StoreDamaged(f"{folder / LEVELS}: not the levels of the recordings beside it; build it again")
    return WaveformStore(store.rows, store.places, store.config, levels)


def build_waveforms(
    folder: Path,
    files: Sequence[tuple[str, Path]],
    config: WaveformConfig,
    *,
    decode: Decode,
    run: Run,
    workers: int,
    reuse: Sequence[Path] = (),
    stamps: Mapping[str, tuple[int, int]] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Write a store of all `files` (content hash, path) into the empty `folder`; return an account of it.

    `stamps` are (bytes, modified_ns) by content hash. All else is as `build_store` says.
    """
    built = build_store(
        folder,
        [KnownFile(key, path, (stamps or {}).get(key)) for key, path in files],
        WAVEFORMS,
        config,
        rows_of=partial(samples_of, config=config, decode=decode),
        run=run,
        workers=workers,
        reuse=reuse,
        progress=progress,
    )
    store = open_store(folder, WAVEFORMS)
    levels = {
        key: float(np.sqrt(energy(store.rows[first : first + count]) / max(1, count)))
        for key, (first, count) in store.places.items()
    }
    (folder / LEVELS).write_text(json.dumps(levels), encoding="utf-8")
    return {
        "files": built.files,
        "decoded": built.decoded,
        "reused": built.reused,
        "samples": built.rows,
        "minutes": built.rows / config.sample_rate / 60,
        "bytes": built.rows * WAVEFORMS.row_bytes(config),
    }


def samples_of(file: KnownFile, *, config: WaveformConfig, decode: Decode) -> Iterator[np.ndarray]:
    """The samples of a recording, block by block."""
    heard = False
    for block in decode(file.path, config.sample_rate):
        heard = heard or len(block) > 0
        yield block.astype(WAVEFORMS.dtype)
    if not heard:
        raise NoRows("it is shorter than one sample")


def energy(samples: np.ndarray) -> float:
    """The sum of the squares of mapped samples (n,), few of them in memory at once."""
    return sum(
        float(np.square(samples[first : first + AT_ONCE].astype(np.float32)).sum(dtype=np.float64))
        for first in range(0, len(samples), AT_ONCE)
    )
