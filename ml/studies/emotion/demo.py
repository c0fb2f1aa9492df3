"""A small emotion corpus, made up: drawn faces and a few voices, seven emotions, two of them rare.

Every person has a face of their own and appears in several emotions, so what tells emotions apart is the expression
alone; it is faint in some pictures, as it is in life. A network that learns the persons by heart gains nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ml.studies.emotion.faces import Person, draw_face
from ml.studies.emotion.voices import RATE, speak

if TYPE_CHECKING:
    from PIL.Image import Image

PLAN = {
    "angry": ("Angry", 62, 6),
    "disgusted": ("disgust", 20, 3),
    "fearful": ("Fearful", 28, 3),
    "happy": ("happy", 96, 7),
    "sad": ("SAD", 70, 6),
    "surprised": ("Surprised", 54, 5),
    "neutral": ("neutral", 90, 5),
}
"""Emotion to the name of its folder, as people name them, and to how many pictures and clips there are of it."""

PERSONS = 40
FEWEST_PERSONS = 12
"""Fewer could not be divided into three parts that all have every emotion."""

SUFFIXES = ("png", "jpg", "jpg", "webp", "jpeg", "bmp")
BROKEN_PICTURE, NO_PICTURE = "przerwane zdjęcie.png", "lista zdjęć.jpg"


def write_corpus(folder: Path, *, seed: int = 0, scale: float = 1.0) -> None:
    """Write CLASS/file below `folder`; `scale` multiplies the number of files of each class, and of persons.

    A file's name begins with its person: `p07_angry_03.png`. One picture is cut off in its middle and one is a text:
    the inventory has something to refuse.
    """
    persons = [Person.born(seed, number) for number in range(max(FEWEST_PERSONS, round(PERSONS * scale)))]
    for kind, (emotion, (place, pictures, clips)) in enumerate(PLAN.items()):
        (folder / place).mkdir(parents=True, exist_ok=True)
        counts = (max(4, round(pictures * scale)), max(1, round(clips * scale)))
        for index in range(sum(counts)):
            rng = np.random.default_rng([seed, kind, index])
            # Strides that share no factor with the number of persons: a class goes round all of them.
            number = (index + kind * 5) % len(persons)
            path = folder / place / f"p{number + 1:02d}_{emotion}_{index + 1:02d}"
            if index < counts[0]:
                suffix = SUFFIXES[index % len(SUFFIXES)]
                _save(draw_face(persons[number], emotion, rng), path.with_suffix(f".{suffix}"), rng)
            else:
                _write_clip(path.with_suffix(".wav"), speak(persons[number].pitch, emotion, rng), rng)
    whole = next((folder / "happy").glob("*.png")).read_bytes()
    (folder / "happy" / BROKEN_PICTURE).write_bytes(whole[: len(whole) // 2])
    (folder / "neutral" / NO_PICTURE).write_text("p01 neutral\np02 neutral, z boku\n", encoding="utf-8")


def _save(picture: Image, path: Path, rng: np.random.Generator) -> None:
    """One in eight is grey, as old collections are."""
    quality = int(rng.integers(70, 95))  # of no effect on png and bmp
    (picture.convert("L") if rng.random() < 0.125 else picture).save(path, quality=quality)


def _write_clip(path: Path, samples: np.ndarray, rng: np.random.Generator) -> None:
    import soundfile

    level = rng.uniform(0.2, 0.7) / max(float(np.abs(samples).max()), 1e-9)
    noisy = samples * level + rng.uniform(0.001, 0.005) * rng.standard_normal(len(samples))
    soundfile.write(str(path), np.clip(noisy, -1, 1).astype(np.float32), RATE, subtype="PCM_16")
