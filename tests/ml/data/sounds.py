"""Small sounds and folders that the tests of this room share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def noise(seconds: float = 0.5, rate: int = 16_000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Quiet noise `(frames, channels)`, different for each seed."""
    return np.random.default_rng(seed).normal(0, 0.1, (round(seconds * rate), channels)).clip(-0.9, 0.9)


def write(path: Path, samples: np.ndarray | None = None, rate: int = 16_000, **how: Any) -> Path:
    """A sound file (noise that depends on the path when nothing is given), its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = noise(seed=sum(path.as_posix().encode("utf-8", "replace")))
    # By file object: the format comes from `how` or the real ending, never from a misleading name.
    with path.open("wb") as file:
        soundfile.write(file, samples, rate, **({"format": path.suffix[1:].upper()} | how))
    return path


def halve(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions hold here: as the superuser, who may read everything, give that up for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def growing(path: Path) -> Iterator[None]:
    """Somebody is still copying the file: bytes are added to it all the time."""
    stop = threading.Event()

    def copy_on() -> None:
        while not stop.is_set():
            with path.open("ab") as file:
                file.write(bytes(100))
            time.sleep(0.002)

    thread = threading.Thread(target=copy_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
