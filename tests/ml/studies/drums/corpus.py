"""Songs with their beatmaps and one-shots, small, as files."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.ml.data.maps import RATE, said
from tests.ml.data.sounds import noise, write


def sound(path: Path, seconds: float = 1.0, *, like: str = "") -> Path:
    """A sound of its own, or the one that another name has."""
    return write(path, noise(seconds, RATE, seed=zlib.crc32((like or str(path)).encode())), RATE)


def beatmap(path: Path, audio: str, hits: Sequence[tuple[int, str]], **changed: Any) -> Path:
    """A map of an audio in its folder; `changed` replaces what it says of the audio (hash, duration, …)."""
    there = path.parent / audio
    facts = {"filename": audio}
    if there.is_file():
        facts["hash"] = f"sha256:{hashlib.sha256(there.read_bytes()).hexdigest()}"
    told = said(hits, **(facts | changed)) | {"drumKit": {"components": sorted({name for _, name in hits}) or ["kick"]}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


BEAT = ((100, "kick"), (100, "hihat_closed"), (400, "snare"), (700, "kick"))


def song(folder: Path, name: str, hits: Sequence[tuple[int, str]] = BEAT, seconds: float = 1.0, **changed: Any) -> Path:
    """`folder`/`name`.wav with its map; the sound."""
    audio = sound(folder / f"{name}.wav", seconds)
    beatmap(audio.with_suffix(".bsm"), audio.name, hits, **changed)
    return audio


def songs(folder: Path, count: int, hits: Sequence[tuple[int, str]] = BEAT) -> None:
    """Several songs, each in its own folder."""
    for number in range(count):
        song(folder / f"song{number}", "audio", hits)


def one_shots(pack: Path, *components: str, count: int = 2) -> None:
    """A sample pack."""
    for component in components:
        for number in range(count):
            hit = noise(0.2, RATE, seed=zlib.crc32(f"{pack} {component} {number}".encode()))
            write(pack / component / f"{number}.wav", hit * np.exp(-np.arange(len(hit)) / 300)[:, None], RATE)
