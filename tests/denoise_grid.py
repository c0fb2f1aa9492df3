"""Real denoise trials on a second of synthesized sound: everything that decides an epoch, and nothing else."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from ml.config import merge, read_config
from ml.features.waveforms import WaveformConfig, WaveformStore
from ml.studies.denoise.config import DenoiseSettings, DenoiseTrial
from ml.studies.denoise.mixing import Mixtures
from ml.studies.denoise.study import DENOISE
from ml.studies.denoise.trial import DenoiseLesson, recipe_of
from ml.studies.experiments import load_trials
from ml.studies.study import Trial, TrialJob
from ml.training.engine import EpochNote, Machine, Shelf, Trained, train
from ml.training.state import load_weights

CPU = Machine(device="cpu", precision="fp32", threads=1, name="a processor", bf16=False)
RATE = 4000
SECONDS = {"train": (4, 1.0), "validation": (3, 0.6), "test": (1, 0.2)}
"""Of each part: how many clean recordings, and how long each is."""
LITTLE = SECONDS | {"train": (1, 0.1)}
"""So little to learn from that what is learnt is soon of no use elsewhere: trials stop early."""

SMALL: dict[str, Any] = {
    "model": {"channels": [8, 16], "kernel": 5, "filters": 16},
    "mix": {"segment_seconds": 0.064, "windows_per_epoch": 64, "validation_windows": 24, "snr_db": [0.0, 5.0]},
    "training": {"evaluation_batch": 64},
}
"""A network and windows so small that an epoch takes some milliseconds."""


@dataclass(frozen=True)
class Sound:
    """What trials of one grid hear."""

    store: WaveformStore
    split: pd.DataFrame


def sound(seconds: dict[str, tuple[int, float]] = SECONDS, seed: int = 1) -> Sound:
    """Tones with a changing pitch, and noise of several colours."""
    rng = np.random.default_rng(seed)
    pieces: list[np.ndarray] = []
    rows: list[tuple[str, str, str, str, str]] = []
    places, levels, first = {}, {}, 0
    for part, (count, each) in seconds.items():
        for label in ("clean", "noise"):
            for number in range(count):
                own = (_tone if label == "clean" else _noise)(rng, int(each * RATE)).astype(np.float16)
                key = hashlib.sha256(own.tobytes()).hexdigest()
                places[key], levels[key] = (first, len(own)), float(np.sqrt(np.mean(np.square(own, dtype=np.float64))))
                first += len(own)
                pieces.append(own)
                rows.append((f"{part}/{label}/{number}.wav", key, label, part, f"{part} {label} {number}"))
    split = pd.DataFrame(rows, columns=["path", "content_hash", "label", "part", "group"])
    samples: Any = np.concatenate(pieces)
    return Sound(WaveformStore(samples, places, WaveformConfig(sample_rate=RATE), levels), split)


def _tone(rng: np.random.Generator, samples: int) -> np.ndarray:
    time = np.arange(samples) / RATE
    pitch = rng.uniform(80, 300) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return 0.1 * sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 5))


def _noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    white = rng.normal(size=samples + 8)
    return 0.1 * np.convolve(white, rng.normal(size=9), mode="valid")


def trials(mode: str, changes: dict[str, Any]) -> list[Trial]:
    """The points of the study's own grid `mode`, with `changes` to what all of them begin with."""
    said = read_config(DenoiseSettings, {"trial": changes}, "the grid")
    return [trial for trial in load_trials(DENOISE, said, [DENOISE.experiments]).trials if trial.mode == mode]


def trial(name: str, changes: dict[str, Any], training: dict[str, Any]) -> Trial:
    """One trial with the settings `training`."""
    config = read_config(DenoiseTrial, merge(changes, {"training": training}), name)
    return Trial(name=name, config=config, changes={}, source="", mode="small")


def run(
    one: Trial,
    family: Sequence[Trial],
    states: Shelf,
    heard: Sound,
    *,
    machine: Machine = CPU,
    report: Callable[[EpochNote], None] = lambda note: None,
) -> Trained:
    """Trains `one` as the study does, beside the others of its `family`."""
    config: DenoiseTrial = one.config  # type: ignore[assignment]
    job = TrialJob(
        trial=one,
        settings=DenoiseSettings(),
        split=heard.split,
        features=Path(),
        states=states,
        evaluations=states,
        machine=machine,
        origin="the same sound for all",
        report=report,
        siblings=family,
    )
    return train(lesson_of(config, heard), recipe_of(job, config), states, machine, report=report)


def lesson_of(config: DenoiseTrial, heard: Sound) -> DenoiseLesson:
    mixtures = Mixtures(heard.store, heard.split, config.mix, seed=config.seed, device="cpu")
    return DenoiseLesson(config, mixtures)


@dataclass(frozen=True)
class Told:
    """What a trial came to, exactly; without the time it took and without whose epochs they were."""

    epochs: tuple[tuple[float, float, float], ...]
    """Learning rate, training loss and validation loss of each."""
    best: int
    weights: str
    """SHA-256 of the best weights."""


def told(one: Trial, trained: Trained) -> Told:
    assert trained.status == "finished" and trained.best is not None and trained.best_folder is not None
    model = lesson_model(one)
    load_weights(trained.best_folder, model)
    return Told(
        tuple((note.settings["lr"], note.train["loss"], note.validation["loss"]) for note in trained.history),
        trained.best.epoch,
        digest(model),
    )


def lesson_model(one: Trial) -> nn.Module:
    from ml.models.unet1d import build_unet1d

    config: DenoiseTrial = one.config  # type: ignore[assignment]
    return build_unet1d(config.model, seed=config.seed)


def digest(model: nn.Module) -> str:
    """Of every bit of the weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.detach().to(torch.float64).contiguous().numpy().tobytes())
    return found.hexdigest()


AXES: dict[str, tuple[Any, ...]] = {
    "batch_size": (8, 12, 24),
    "lr": (0.02, 0.1, 0.4),
    "optimizer": ("adam", "adamw"),
    "scheduler_patience": (0, 1, 2),
    "scheduler_factor": (0.5, 0.3, 0.1),
    "epochs": (5, 8, 12),
    "early_stop": (2, 3, 5),
}
TINY: dict[str, Any] = {
    "model": {"channels": [8, 16], "kernel": 5, "filters": 16},
    "mix": {"segment_seconds": 0.032, "windows_per_epoch": 24, "validation_windows": 4, "snr_db": [0.0, 5.0]},
}


def small_grid() -> list[Trial]:
    """Three values on each of the seven axes of the full grid (of optimizers there are two), scaled to few epochs."""
    found = []
    for values in itertools.product(*AXES.values()):
        said = dict(zip(AXES, values, strict=True))
        found.append(trial("_".join(map(str, values)), TINY, said))
    return found
