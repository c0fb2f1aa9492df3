"""Random damage to real files: whatever the decoder does with them, the parent lives and every file has a verdict."""

from __future__ import annotations

import functools
import time
from collections import Counter
from pathlib import Path

import numpy as np

from ml.data.children import ChildFailure, map_in_children
from ml.data.examination import AudioLimits, examine
from ml.data.media import examine_file
from ml.data.pictures import PictureLimits, read_picture
from ml.data.verdict import FileFacts
from tests.ml.data.drawn import draw, tiles
from tests.ml.data.sounds import noise, write

SEED = 20261121
ROUNDS = 100
PICTURES = {
    "a.png": {},
    "c.jpg": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
    "d.jpg": {"progressive": True},
    "e.bmp": {},
    "f.webp": {},
    "g.webp": {"lossless": True},
    "h.webp": {"save_all": True, "append_images": [tiles(160, 120, 1)]},
}
SEEDS = {
    "a.wav": {"subtype": "PCM_16"},
    "b.wav": {"subtype": "IMA_ADPCM"},
    "c.wav": {"format": "RF64"},
    "d.aiff": {},
    "e.flac": {},
    "f.ogg": {},
    "g.ogg": {"format": "OGG", "subtype": "OPUS"},
    "h.mp3": {},
}


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Flip, overwrite, cut, drop, repeat; half of the time near the beginning, where the header is."""
    damaged = bytearray(content)
    for _ in range(random.integers(1, 6)):
        reach = min(len(damaged), 200) if random.random() < 0.5 else len(damaged)
        if reach < 2:
            break
        place = int(random.integers(0, reach))
        length = int(random.integers(1, 64))
        kind = random.integers(0, 6)
        if kind == 0:
            damaged[place] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            damaged[place : place + length] = random.bytes(length)
        elif kind == 2:
            del damaged[place:]
        elif kind == 3:
            del damaged[place : place + length]
        elif kind == 4:
            damaged[place:place] = damaged[place : place + length] * int(random.integers(1, 20))
        else:
            damaged[place : place + 4] = random.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
    return bytes(damaged)


def test_no_damage_reaches_the_parent(tmp_path: Path) -> None:
    random = np.random.default_rng(SEED)
    paths = []
    for name, how in SEEDS.items():
        content = write(tmp_path / "whole" / name, noise(0.5, 48_000, 2), 48_000, **how).read_bytes()
        for number in range(ROUNDS):
            paths.append(tmp_path / f"{number}{name}")
            paths[-1].write_bytes(mutate(content, random))
    began = time.monotonic()
    verdicts: Counter[str] = Counter()
    answered = set()
    look = functools.partial(examine, limits=AudioLimits())
    for path, found in map_in_children(look, paths, workers=2, seconds_allowed=lambda _: 10.0):
        answered.add(path)
        if isinstance(found, ChildFailure):
            verdicts[f"child {found.kind}: {found.reason}"] += 1
        else:
            verdicts[found.state] += 1
            assert bool(found.problem) == (found.state != "ok")
            assert found.state == "rejected" or (found.seconds > 0 and np.isfinite(found.peak))
    print(f"seed={SEED}: {len(paths)} damaged files in {time.monotonic() - began:.1f} s: {dict(verdicts)}")
    assert answered == set(paths), "every file has its answer, and the parent is here to count them"
    assert verdicts["rejected"] > len(paths) / 3
    assert not any("raised" in kind for kind in verdicts), verdicts


def test_no_damaged_picture_reaches_the_parent(tmp_path: Path) -> None:
    """A damaged picture that is let in has pixels: the features can be made of it."""
    random = np.random.default_rng(SEED)
    paths = []
    for name, how in PICTURES.items():
        for kind, mode in (("rgb", "RGB"), ("p", "P"), ("rgba", "RGBA")):
            if mode != "RGB" and not name.endswith("png"):
                continue
            content = draw(tmp_path / "whole" / name, tiles(160, 120).convert(mode), **how).read_bytes()
            for number in range(ROUNDS):
                paths.append(tmp_path / f"{number}{kind}{name}")
                paths[-1].write_bytes(mutate(content, random))
    began = time.monotonic()
    verdicts: Counter[str] = Counter()
    answered, let_in = set(), []
    look = functools.partial(examine_file, sound=AudioLimits(), picture=PictureLimits(max_pixels=1_000_000))
    for path, found in map_in_children(look, paths, workers=2, seconds_allowed=lambda _: 10.0):
        answered.add(path)
        if isinstance(found, ChildFailure):
            verdicts[f"child {found.kind}: {found.reason}"] += 1
            continue
        assert isinstance(found, FileFacts) and bool(found.problem) == (found.state != "ok")
        verdicts[found.state] += 1
        if found.state != "rejected":
            assert found.sound_hash and found.seconds == 0.0
            let_in.append(path)
    print(f"seed={SEED}: {len(paths)} damaged pictures in {time.monotonic() - began:.1f} s: {dict(verdicts)}")
    assert answered == set(paths), "every file has its answer, and the parent is here to count them"
    assert verdicts["rejected"] > len(paths) / 3 and let_in
    assert not any("child" in kind for kind in verdicts), verdicts
    read = functools.partial(read_picture, side=16)
    for path, pixels in map_in_children(read, let_in, workers=2, seconds_allowed=lambda _: 10.0):
        assert isinstance(pixels, np.ndarray) and pixels.shape == (16, 16, 3), (path, pixels)
