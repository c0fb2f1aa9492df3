"""Drawn faces for the demo: a person's own features, and what an emotion does to brows, eyes, nose and mouth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

FINER = 3
"""Drawn this many times larger and then made smaller: edges come out smooth."""

EXPRESSIONS = {
    #             brow slant, brow height, eyes, smile, mouth open, mouth width, nose wrinkled
    "angry": np.array([1.0, -0.6, -0.3, -0.5, 0.15, -0.1, 0.2]),
    "disgusted": np.array([0.5, -0.4, -0.5, -0.5, 0.1, -0.1, 1.0]),
    "fearful": np.array([-0.7, 0.6, 0.4, -0.2, 0.45, 0.1, 0.0]),
    "happy": np.array([0.0, 0.1, -0.2, 1.0, 0.3, 0.3, 0.0]),
    "sad": np.array([-0.8, 0.1, -0.3, -0.8, 0.0, -0.1, 0.0]),
    "surprised": np.array([0.0, 0.9, 0.5, 0.0, 1.0, -0.3, 0.0]),
    "neutral": np.zeros(7),
}
"""What each emotion does to a face at its fullest; a face at rest is all zeros."""

FAINTEST = 0.5
"""Share of the full expression that a picture shows at least."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Person:
    """What stays the same in all pictures of a person; lengths are shares of the head's half height."""

    skin: Colour
    hair: Colour
    shirt: Colour
    width: float
    eyes_apart: float
    eyes_up: float
    eye_size: float
    mouth_down: float
    fringe: float
    glasses: bool
    at_rest: np.ndarray
    """Added to every expression: some people look sad when they are not."""
    pitch: float
    """Hz, of the voice."""

    @classmethod
    def born(cls, seed: int, number: int) -> Person:
        """The person of that number; the same one for the same seed."""
        rng = np.random.default_rng([seed, 10_000 + number])
        tone = rng.uniform(0.65, 1.0)
        return cls(
            skin=_colour(np.array([238, 195, 165]) * tone + rng.normal(0, 6, 3)),
            hair=_colour(np.array([190, 140, 90]) * rng.uniform(0.1, 1.0) + rng.normal(0, 8, 3)),
            shirt=_colour(rng.uniform(20, 235, 3)),
            width=rng.uniform(0.78, 0.95),
            eyes_apart=rng.uniform(0.32, 0.4),
            eyes_up=rng.uniform(0.08, 0.2),
            eye_size=rng.uniform(0.11, 0.15),
            mouth_down=rng.uniform(0.42, 0.5),
            fringe=rng.uniform(0.3, 0.6),
            glasses=bool(rng.random() < 0.2),
            at_rest=rng.normal(0, 0.12, 7),
            pitch=rng.uniform(100, 230),
        )


def draw_face(person: Person, emotion: str, rng: np.random.Generator) -> Image:
    """A picture of 64 to 96 pixels a side of this person in that emotion, more or less plainly."""
    from PIL import Image, ImageDraw

    side = int(rng.integers(64, 97))
    behind = rng.uniform(60, 200) + rng.normal(0, 12, 3)
    canvas = Image.new("RGB", (side * FINER, side * FINER), _colour(behind))
    pen = ImageDraw.Draw(canvas)
    head = side * FINER * rng.uniform(0.49, 0.54)
    middle = np.array(canvas.size) * rng.uniform(0.475, 0.525, 2)
    expression = EXPRESSIONS[emotion] * rng.uniform(FAINTEST, 1.0) + person.at_rest + rng.normal(0, 0.1, 7)
    _draw_head(pen, person, middle, head)
    _draw_features(pen, person, expression, middle, head, turned=rng.normal(0, 0.06))
    tilted = canvas.rotate(rng.normal(0, 3), resample=Image.Resampling.BILINEAR, fillcolor=_colour(behind))
    small = np.asarray(tilted.resize((side, side), Image.Resampling.BOX), dtype=np.float32)
    return Image.fromarray(_lit(small, rng))


def _draw_head(pen: ImageDraw, person: Person, middle: np.ndarray, head: float) -> None:
    """Shirt, hair, face and fringe."""
    x, y = middle
    wide = person.width * head
    pen.ellipse((x - 1.5 * wide, y + 0.95 * head, x + 1.5 * wide, y + 3 * head), fill=person.shirt)
    pen.ellipse((x - 1.15 * wide, y - 1.15 * head, x + 1.15 * wide, y + 0.55 * head), fill=person.hair)
    pen.ellipse((x - wide, y - head, x + wide, y + head), fill=person.skin)
    arc = np.linspace(-person.fringe, person.fringe, 15) * np.pi / 2
    pen.polygon([(x + wide * np.sin(angle), y - head * np.cos(angle)) for angle in arc], fill=person.hair)


def _draw_features(
    pen: ImageDraw, person: Person, expression: np.ndarray, middle: np.ndarray, head: float, turned: float
) -> None:
    """Brows, eyes, nose and mouth as the expression has them; `turned` moves them all to one side."""
    slant, height, eyes, smile, opened, broad, wrinkled = expression
    dark = _colour(np.array(person.skin) * 0.45)
    line = max(2, round(0.06 * head))

    def at(across: float, up: float) -> tuple[float, float]:
        return middle[0] + (across + turned) * head, middle[1] - up * head

    for side in (-1, 1):
        across, up = side * person.eyes_apart, person.eyes_up
        wide, tall = person.eye_size * 1.3, person.eye_size * float(np.clip(1 + eyes, 0.2, 1.8))
        pen.ellipse((*at(across - wide, up + tall), *at(across + wide, up - tall)), fill=(245, 245, 240))
        pupil = min(tall, 0.6 * person.eye_size)
        pen.ellipse((*at(across - pupil, up + pupil), *at(across + pupil, up - pupil)), fill=(25, 20, 20))
        brow = up + 0.26 + 0.12 * height
        inner, outer = at(across - side * 0.19, brow - 0.12 * slant), at(across + side * 0.19, brow + 0.08 * slant)
        pen.line((inner, outer), fill=person.hair, width=round(1.5 * line))
        if person.glasses:
            frame = 1.9 * person.eye_size
            pen.ellipse(
                (*at(across - frame, up + frame), *at(across + frame, up - frame)), outline=(40, 40, 45), width=2
            )
        if wrinkled > 0.25:
            pen.line((at(side * 0.07, 0.06), at(side * 0.16, -0.06 * wrinkled)), fill=dark, width=round(0.6 * line))
    pen.line((at(0, 0.05), at(0.06, -0.16 + 0.06 * wrinkled), at(-0.02, -0.17 + 0.06 * wrinkled)), fill=dark, width=2)
    along = np.linspace(-1, 1, 13)
    half, lift = 0.34 * (1 + broad), 0.24 * smile
    corner = np.stack((half * along, -person.mouth_down + lift * along**2 - lift / 2), axis=1)
    gap = (0.3 * max(0.0, opened) * (1 - along**2))[:, None] * np.array([0, 1])
    lips = [at(*point) for point in np.concatenate((corner + gap * 0.5, (corner - gap)[::-1]))]
    if opened > 0.08:
        pen.polygon(lips, fill=_colour(np.array(person.skin) * 0.3))
    pen.line(lips, fill=_colour(np.array(person.skin) * [0.6, 0.25, 0.25]), width=line)


def _lit(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from one side, more or less of it, and the noise of a small camera."""
    side = len(picture)
    slope = np.add.outer(*(rng.normal(0, 0.12) * np.linspace(-1, 1, side) for _ in range(2)))
    noise = rng.normal(0, rng.uniform(2, 9), picture.shape)
    lit = (picture * rng.uniform(0.75, 1.15)) * (1 + slope)[..., None] + noise
    return np.clip(lit, 0, 255).astype(np.uint8)


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue
