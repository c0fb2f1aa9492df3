"""Stores of samples and their splits, made in memory: what is mixed can be written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from ml.features.waveforms import WaveformConfig, WaveformStore
from ml.studies.denoise.mixing import MixConfig, Mixtures

RATE = 8000
"""Hz."""
PLAIN: dict[str, Any] = {"segment_seconds": 0.5}


def heard(recordings: dict[str, np.ndarray], rate: int = RATE) -> tuple[WaveformStore, pd.DataFrame]:
    """A store of `recordings` (PART/LABEL/NAME to samples) and the split that their names say."""
    places, levels, rows, end = {}, {}, [], 0
    for path, samples in recordings.items():
        part, label, name = path.split("/")
        places[path] = (end, len(samples))
        levels[path] = float(np.sqrt(np.mean(samples.astype(np.float16).astype(np.float64) ** 2)))
        rows.append((path, label, f"{part}/{name}", path, part))
        end += len(samples)
    everything: Any = np.concatenate(list(recordings.values())).astype(np.float16)
    split = pd.DataFrame(rows, columns=["path", "label", "group", "content_hash", "part"])
    return WaveformStore(everything, places, WaveformConfig(sample_rate=rate), levels), split


def sound(seconds: float, seed: int, level: float = 0.1) -> np.ndarray:
    """Different for each seed."""
    return (np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level).astype(np.float16)


def folders(parts: tuple[str, ...] = ("train", "validation", "test"), clean: int = 5, noise: int = 3) -> dict[str, Any]:
    """Clean recordings of one to three seconds and noise, in every part."""
    return {
        f"{part}/{label}/{number}": sound(
            1 + 0.4 * number, seed=100 * index + 10 * kind + number, level=0.05 + 0.02 * kind
        )
        for index, part in enumerate(parts)
        for kind, (label, count) in enumerate((("clean", clean), ("noise", noise)))
        for number in range(count)
    }


def pairs(parts: tuple[str, ...] = ("train", "validation"), count: int = 4) -> dict[str, Any]:
    """Each noisy file is its clean one and something else."""
    found = {}
    for index, part in enumerate(parts):
        for number in range(count):
            clean = sound(1 + 0.4 * number, seed=100 * index + number)
            found[f"{part}/clean/{number}"] = clean
            other = sound(len(clean) / RATE, seed=1000 + 100 * index + number, level=0.03)
            found[f"{part}/noisy/{number}"] = (clean + other).astype(np.float16)
    return found


def mixtures(recordings: dict[str, np.ndarray] | None = None, seed: int = 1, **said: Any) -> Mixtures:
    """Mixtures of `recordings`; `said` are settings of the mix."""
    store, split = heard(folders() if recordings is None else recordings)
    return Mixtures(store, split, MixConfig(**(PLAIN | said)), seed=seed, device="cpu")


def snr_db(noisy: torch.Tensor, clean: torch.Tensor) -> np.ndarray:
    """Of each row."""
    noise = (noisy.double() - clean.double()).square().sum(1)
    return (10 * torch.log10(clean.double().square().sum(1) / noise)).numpy()
