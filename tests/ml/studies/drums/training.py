"""A few small songs of made-up hits, and the job of training on them: real files, a real store of states."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.config import fingerprint
from ml.features.store import write_index
from ml.features.waveforms import LEVELS, WAVEFORMS, WaveformConfig
from ml.studies.drums.config import DrumsSettings, DrumsTrial
from ml.studies.drums.hits import hit_path
from ml.studies.study import Trial, TrialJob
from ml.training.engine import EpochNote
from ml.training.machine import Machine
from tests.ml.training.shelf import FolderShelf

RATE = 16_000
SMALL: dict[str, Any] = {
    "model": {"channels": [8, 8, 8, 8]},
    "picture": {"mels": 32, "columns": 16, "fft": 512, "high_hz": 8000},
    "training": {"epochs": 5, "batch_size": 16, "lr": 0.01, "early_stop": None},
}
PLAYED = {"kick": 80.0, "snare": 900.0, "hihat_closed": 5000.0}
"""Each component is a decaying tone."""
SONGS = {"one": "train", "two": "train", "three": "validation", "four": "test"}


def machine(threads: int = 1) -> Machine:
    return Machine(device="cpu", precision="fp32", threads=threads, name="any", bf16=False)


def song(seed: int, seconds: float = 4.0) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Samples and what is played in them; kick and hi-hat sound at once on every fourth beat."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.001, round(seconds * RATE))
    played: list[tuple[int, str]] = []
    for number, ms in enumerate(range(100, round(seconds * 1000) - 150, 150)):
        names = ["kick", "hihat_closed"] if number % 4 == 0 else [list(PLAYED)[number % 3]]
        for name in names:
            start = round(ms * RATE / 1000)
            moments = np.arange(min(RATE // 10, len(samples) - start)) / RATE
            tone = np.sin(2 * np.pi * PLAYED[name] * rng.uniform(0.95, 1.05) * moments)
            samples[start : start + len(moments)] += 0.4 * tone * np.exp(-moments * 40)
            played.append((ms, name))
    return samples, played


def written(folder: Path) -> pd.DataFrame:
    """A store of all songs in `folder`, and their split."""
    rows: list[tuple[str, str, str, str, str]] = []
    parts, places, first = [], {}, 0
    for seed, (name, part) in enumerate(SONGS.items()):
        samples, played = song(seed)
        parts.append(samples.astype("<f2"))
        places[name] = (first, len(samples))
        first += len(samples)
        rows += [(hit_path(f"{name}.wav", ms, said), said, name, name, part) for ms, said in played]
    folder.mkdir(parents=True)
    (folder / WAVEFORMS.rows_file).write_bytes(np.concatenate(parts).tobytes())
    (folder / LEVELS).write_text(json.dumps(dict.fromkeys(places, 0.1)), encoding="utf-8")
    write_index(folder, WAVEFORMS, WaveformConfig(sample_rate=RATE), first, places)
    return pd.DataFrame(rows, columns=["path", "label", "group", "content_hash", "part"])


def trial(name: str = "any", seed: int = 42, **said: Any) -> Trial:
    """The small trial, with `said` over it."""
    whole: dict[str, Any] = {"seed": seed}
    whole |= {key: {**SMALL.get(key, {}), **said.get(key, {})} for key in {**SMALL, **said}}
    return Trial(name, DrumsTrial.model_validate_json(json.dumps(whole)), {}, "")


def job(
    place: Path,
    of: Trial,
    *,
    siblings: Sequence[Trial] = (),
    report: Callable[[EpochNote], None] = lambda note: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrialJob:
    """The job of `of` in a lab at `place`, whose songs are written where there are none."""
    features = place / "features"
    split = place / "split.json"
    if not features.is_dir():
        written(features).to_json(split, orient="records")
    return TrialJob(
        trial=of,
        settings=DrumsSettings(features=WaveformConfig(sample_rate=RATE)),
        split=pd.read_json(split, orient="records"),
        features=features,
        states=FolderShelf(place / "states"),
        evaluations=FolderShelf(place / "evaluations"),
        machine=machine(),
        origin=fingerprint("songs"),
        report=report,
        stop=stop,
        siblings=siblings or [of],
    )
