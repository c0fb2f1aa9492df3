"""A lab small enough for tests: real sound, real studies, tiny networks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ml.config import merge
from ml.studies.concert.demo import write_corpus
from orchestration.resources import Bench
from storage.lab import Lab

ROOT = Path(__file__).resolve().parents[1]

TINY: dict[str, Any] = {
    "retry_delay_seconds": 0.2,
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "trial": {
        "model": {"pretrained": None, "hidden": 16, "layers": 1, "heads": 1, "intermediate": 32},
        "training": {"epochs": 2, "batch": 16, "learning_rate": 1e-3},
    },
}

TINY_OF_PICTURES: dict[str, Any] = {
    "retry_delay_seconds": 0.2,
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "trial": {
        "model": {"pretrained": False, "widths": [16, 16, 16, 16]},
        "training": {"epochs": 2, "batch_size": 16, "lr": 1e-3},
        "data": {"img_size": 32},
    },
}


TINY_OF_NOISE: dict[str, Any] = {
    "retry_delay_seconds": 0.2,
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "features": {"sample_rate": 8000},
    "trial": {
        "model": {"channels": [8, 8], "kernel": 3},
        "training": {"epochs": 2},
        "mix": {"segment_seconds": 0.1, "windows_per_epoch": 16, "validation_windows": 8},
    },
}

TINY_OF_HITS: dict[str, Any] = {
    "retry_delay_seconds": 0.2,
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "trial": {
        "model": {"channels": [8, 8, 8, 8]},
        "training": {"epochs": 2, "batch_size": 32},
        "picture": {"mels": 16, "columns": 16, "fft": 512},
    },
}
TINIES = {"concert": TINY, "emotion": TINY_OF_PICTURES, "denoise": TINY_OF_NOISE, "drums": TINY_OF_HITS}


def small_lab(folder: Path, corpus: Path, study: str = "concert", **settings: Any) -> Bench:
    """A lab at `folder` whose study reads `corpus`; `settings` are laid over the tiny ones. Where they
    say nothing of a night, nights are off: the hour at which the tests run decides nothing."""
    bench = Bench(Lab.open(folder))
    write_yaml(bench.lab.sources_file, {study: str(corpus)})
    write_yaml(bench.lab.studies_file, {study: merge(TINIES[study], {"night": {"on": False}} | settings)})
    write_yaml(bench.lab.machine_file, {"device": "cpu", "precision": "fp32", "threads": 1})
    return bench


def write_yaml(path: Path, said: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")


def small_corpus(folder: Path, *, seed: int = 0, scale: float = 0.3) -> Path:
    """A few recordings of each class."""
    folder.mkdir(parents=True, exist_ok=True)
    write_corpus(folder, seed=seed, scale=scale)
    return folder


def environment(bench: Bench, **more: str) -> dict[str, str]:
    """Of a process that works in this lab."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOCTURNE_")}
    return kept | {"NOCTURNE_LAB": str(bench.lab.root), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **more}


def nocturne(bench: Bench, *arguments: str, seconds: float = 240, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a person calls it."""
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *arguments],
        env=environment(bench, **more),
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=seconds,
    )
