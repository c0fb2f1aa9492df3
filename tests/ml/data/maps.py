"""Beatmaps that tests write, and songs of clicks that they are of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.ml.data.sounds import write

RATE = 8000


def said(hits: Sequence[tuple[float, str]] = ((100, "kick"),), **audio: Any) -> dict[str, Any]:
    """A beatmap as its file has it."""
    return {
        "version": "1.0.0",
        "metadata": {"title": "Rock", "artist": "A", "creator": "B", "difficulty": 2.0, "beatmapId": "1"},
        "audio": {"filename": "rock.wav", "hash": "", "duration": 0, "sampleRate": RATE} | audio,
        "timing": {"bpm": 120.0, "offset": 0, "timeSignature": "4/4"},
        "drumKit": {"components": ["kick"]},
        "hitObjects": [{"time": time, "component": component} for time, component in hits],
    }


def clicks(seconds: float, times_ms: Sequence[float], rate: int = RATE) -> np.ndarray:
    """Faint noise with a click at each time."""
    samples = np.random.default_rng(7).normal(0, 0.001, (round(seconds * rate), 1))
    for ms in times_ms:
        place = round(ms * rate / 1000)
        samples[place : place + 8] = 0.8
    return samples


def song(
    folder: Path, hits: Sequence[tuple[float, str]], *, seconds: float = 2.0, name: str = "rock", **audio: Any
) -> Path:
    """A song of clicks in `folder` with its beatmap, whose path is returned."""
    sound = write(folder / f"{name}.wav", clicks(seconds, [ms for ms, _ in hits if ms < seconds * 1000]), RATE)
    told = {
        "filename": sound.name,
        "hash": f"sha256:{hashlib.sha256(sound.read_bytes()).hexdigest()}",
        "duration": round(seconds * 1000),
    }
    path = folder / f"{name}.bsm"
    path.write_text(json.dumps(said(hits, **(told | audio))), encoding="utf-8")
    return path
