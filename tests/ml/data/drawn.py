"""Small pictures that the tests of this room share."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def tiles(width: int = 48, height: int = 36, seed: int = 0) -> Image.Image:
    """Coloured squares of a few pixels, different for each seed: no two edges alike, so that turning shows."""
    colours = np.random.default_rng(seed).integers(0, 256, (-(-height // 6), -(-width // 6), 3), dtype=np.uint8)
    return Image.fromarray(colours.repeat(6, 0).repeat(6, 1)[:height, :width])


def draw(path: Path, picture: Image.Image | None = None, **how: Any) -> Path:
    """A picture file (tiles that depend on the path when nothing is given), its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture is None:
        picture = tiles(seed=zlib.crc32(path.as_posix().encode("utf-8", "replace")))
    picture.save(path, **how)
    return path
