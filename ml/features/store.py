"""Rows of one shape in one memory-mapped file, and whose rows are whose: what every store of features is.

On disk a store is a folder with two files: the rows, little-endian without a header, and `index.json`. The index is
written last: a folder without it is no store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ml.config import Config, ConfigError, read_config

INDEX = "index.json"

ConfigT = TypeVar("ConfigT", bound=Config)

Places = dict[str, tuple[int, int]]
"""Content hash to (first row, rows)."""


class StoreDamaged(ValueError):
    """A folder that is no whole store."""


@dataclass(frozen=True)
class StoreKind(Generic[ConfigT]):
    """What the stores of one kind have in common."""

    rows_file: str
    format: int
    """Of the folder; a store of another one is built again."""
    dtype: np.dtype[Any]
    config: type[ConfigT]
    """Of the settings that the rows are made with."""
    row_shape: Callable[[ConfigT], tuple[int, ...]]

    def row_bytes(self, config: ConfigT) -> int:
        return math.prod(self.row_shape(config)) * self.dtype.itemsize


@dataclass(frozen=True)
class Store(Generic[ConfigT]):
    """All rows, mapped and not read; where each file's are; the settings they were made with."""

    rows: np.memmap[Any, Any]
    places: Places
    config: ConfigT


def open_store(folder: Path, kind: StoreKind[ConfigT]) -> Store[ConfigT]:
    """The store in `folder`; StoreDamaged when it is not whole."""
    where = folder / kind.rows_file
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        size = where.stat().st_size
    except (OSError, ValueError) as problem:
        raise StoreDamaged(f"{folder}: no complete store of features ({problem}); build it again") from problem
    if index["format"] != kind.format:
        raise StoreDamaged(f"{folder}: format {index['format']} instead of {kind.format}; build it again")
    try:
        config = read_config(kind.config, index["config"], str(folder / INDEX))
    except ConfigError as problem:
        raise StoreDamaged(f"{problem}; build it again") from problem
    if size != index["rows"] * kind.row_bytes(config):
        raise StoreDamaged(f"{where}: {size} bytes do not make {index['rows']} rows; build it again")
    rows = np.memmap(where, dtype=kind.dtype, mode="r", shape=(index["rows"], *kind.row_shape(config)))
    return Store(rows, {key: (first, count) for key, first, count in index["files"]}, config)


def write_index(folder: Path, kind: StoreKind[ConfigT], config: ConfigT, rows: int, places: Places) -> None:
    """The last step of building: with it the folder becomes a store."""
    index = {
        "format": kind.format,
        "config": config.model_dump(mode="json"),
        "rows": rows,
        "files": [[key, first, count] for key, (first, count) in places.items()],
    }
    beside = folder / f"{INDEX}.part"
    beside.write_text(json.dumps(index), encoding="utf-8")
    beside.replace(folder / INDEX)
