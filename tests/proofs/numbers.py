"""What a trial came to, told exactly: two of these are equal only when every bit of every number is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orchestration.resources import Bench
from storage.record import Record

TABLES = ("epochs", "metrics", "confusion", "predictions", "draws")

Told = dict[str, list[tuple[str, ...]]]
"""Table to its rows, in their order, without seconds; "model": the digests of the weights."""


def told(bench: Bench, record: Record) -> Told:
    """All numbers of a finished trial, and the digest of every tensor of its model."""
    found = {name: rows(record.table(name).drop(columns="seconds", errors="ignore")) for name in TABLES}
    assert all(found.values()), {name: len(each) for name, each in found.items()}
    folder = bench.shelf("models").find(record.account["model_key"])
    assert folder is not None, "the record names a model that is not on its shelf"
    return found | {"model": weights(folder)}


def rows(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """Every cell as a text that no other value has."""
    return [tuple(_exact(value) for value in row) for row in frame.itertuples(index=False)]


def weights(folder: Path) -> list[tuple[str, ...]]:
    """Name, type, shape and SHA-256 of every tensor of the safetensors files in `folder`."""
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    assert files, f"no weights in {folder}"
    return [
        (file.name, name, str(tensor.dtype), str(tuple(tensor.shape)), _digest(tensor.contiguous().numpy()))
        for file in files
        for name, tensor in sorted(load_file(file).items())
    ]


def _digest(numbers: np.ndarray) -> str:
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def _exact(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return float(value).hex()
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return " ".join(_exact(each) for each in value)
    return repr(value.item() if isinstance(value, np.generic) else value)
