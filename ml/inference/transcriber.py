"""A transcriber hears a song and says which component of a drum kit is hit when, and how hard.

It finds the onsets, sees each as a picture as in training, and asks a network which components sound in it; several may
at once. Without a network, heuristics tell. What is heard and what is decided are two steps: thresholds are chosen by
what was heard in songs whose beatmaps are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.config import ConfigError, read_config
from ml.data.components import COMPONENTS
from ml.features.hit_config import HitPictureConfig
from ml.inference.heuristics import Bands, bands_of, levels_of, told_by_bands
from ml.inference.onsets import find_onsets
from ml.models.hub import ModelUnavailable

if TYPE_CHECKING:
    from ml.models.drumcnn import DrumCNN
    from ml.training.machine import Machine

RATE = 44_100
"""Hz at which heuristics hear, and a network whose file says nothing else."""
LOSSES = ("binary", "cross_entropy")
"""What a network may have learned by."""
THRESHOLD = 0.5
"""From which probability a component is heard, where nothing else was found to be better."""
SAME_SECONDS = 0.03
"""Nobody hits one component twice within so little; two onsets that are so near are one hit."""
LONGEST_SETTINGS = 2**20
"""Bytes of a file that says what a network sees, at most."""
SOFTEST = 0.05
"""Velocity of the softest hit: 0 would be none."""
VELOCITY_POWER = 0.6
"""Velocity is heard as loudness is: less than in proportion to the amplitude."""


class Hit(NamedTuple):
    """One hit."""

    seconds: float
    component: str
    velocity: float
    """0 to 1; 1 is as hard as the component is usually hit at its hardest in this song."""
    probability: float


@dataclass(frozen=True)
class Heard:
    """What was heard of a song, before anything is decided; one row for each onset, one column for each component."""

    onsets: NDArray[np.float64]
    """Seconds, ascending."""
    probabilities: NDArray[np.float32]
    levels: NDArray[np.float32]
    """Amplitude with which each component would have been hit."""


@dataclass(frozen=True)
class Transcriber:
    """A network that is ready on its machine, or heuristics (`network` None)."""

    network: DrumCNN | None
    machine: Machine | None
    picture: HitPictureConfig = field(default_factory=HitPictureConfig)
    rate: int = RATE
    """Hz: songs are heard at this rate."""
    loss: Literal["binary", "cross_entropy"] = "binary"
    """How the network learned: whether its answers speak of each component alone, or of one of them."""
    thresholds: tuple[float, ...] = (THRESHOLD,) * len(COMPONENTS)

    def hear(self, samples: NDArray[np.floating], rate: int) -> Heard:
        """Everything in mono `samples` (n,), floats of any width, mapped or in memory; `rate` Hz."""
        if rate != self.rate:
            import soxr

            samples = soxr.resample(np.asarray(samples, dtype=np.float32), rate, self.rate, quality="HQ")
        onsets = find_onsets(samples, self.rate)
        bands = bands_of(samples, self.rate, onsets)
        return Heard(onsets, self._probabilities(samples, onsets, bands), levels_of(bands).astype(np.float32))

    def decide(self, heard: Heard) -> list[Hit]:
        """The hits in what was heard, by time: a component sounds where its probability reaches its threshold."""
        found = [hit for place in range(len(COMPONENTS)) for hit in self._hits_of(heard, place)]
        return sorted(found, key=lambda hit: (hit.seconds, COMPONENTS.index(hit.component)))

    def with_thresholds(self, thresholds: NDArray[np.floating]) -> Transcriber:
        """The same, which hears each component from its own probability on."""
        return replace(self, thresholds=tuple(float(value) for value in thresholds))

    def _hits_of(self, heard: Heard, place: int) -> list[Hit]:
        rows = chosen(heard.onsets, heard.probabilities[:, place], self.thresholds[place])
        if not len(rows):
            return []
        levels = heard.levels[rows, place]
        hardest = max(float(np.quantile(levels, 0.95)), 1e-9)
        velocities = np.clip((levels / hardest) ** VELOCITY_POWER, SOFTEST, 1.0)
        return [
            Hit(float(heard.onsets[row]), COMPONENTS[place], float(velocity), float(heard.probabilities[row, place]))
            for row, velocity in zip(rows, velocities, strict=True)
        ]

    def _probabilities(
        self, samples: NDArray[np.floating], onsets: NDArray[np.float64], bands: Bands
    ) -> NDArray[np.float32]:
        if self.network is None or self.machine is None:
            return told_by_bands(bands)
        import torch

        from ml.features.hits import HitPictures
        from ml.inference.folded import AT_ONCE, FoldedDrumCNN

        network, at_once = FoldedDrumCNN(self.network), AT_ONCE[self.machine.device_type]
        pictures = HitPictures(self.picture, self.rate, self.machine.device)
        clips = pictures.clips(samples)
        start = np.rint(onsets * self.rate).astype(np.int64)
        none, all_of_it = np.zeros_like(start), np.full_like(start, len(samples))
        said = np.zeros((len(start), len(COMPONENTS)), dtype=np.float32)
        with torch.inference_mode():
            for first in range(0, len(start), at_once):
                part = slice(first, first + at_once)
                seen = pictures.pictures(clips.batch(start[part], none[part], all_of_it[part]))
                logits = network(seen)
                sounds = logits.sigmoid() if self.loss == "binary" else logits.softmax(dim=1)
                said[part] = sounds.cpu().numpy()
        return said


def times_of(hits: Sequence[Hit]) -> dict[str, NDArray[np.float64]]:
    """Seconds at which each component is hit, in the order of `hits`; every component is in it."""
    found: dict[str, list[float]] = {name: [] for name in COMPONENTS}
    for hit in hits:
        found[hit.component].append(hit.seconds)
    return {name: np.array(seconds, dtype=np.float64) for name, seconds in found.items()}


def chosen(onsets: NDArray[np.float64], probabilities: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """The onsets (as rows) at which a component is heard; of two within `SAME_SECONDS` the likelier."""
    rows = np.flatnonzero(probabilities >= threshold)
    if len(rows) < 2 or np.diff(onsets[rows]).min() >= SAME_SECONDS:
        return rows
    kept: list[int] = []
    for row in rows.tolist():
        if not kept or onsets[row] - onsets[kept[-1]] >= SAME_SECONDS:
            kept.append(row)
        elif probabilities[row] > probabilities[kept[-1]]:
            kept[-1] = row
    return np.array(kept, dtype=np.int64)


def open_transcriber(model: Path | None, machine: Machine | None) -> Transcriber:
    """The transcriber with the model in a folder or file (.safetensors, or a state dict in .pth), or heuristics.

    What a file of weights was trained to see is said by the `.json` of its name, as an export has it; without one, it
    is used with the usual picture. Raises `ModelUnavailable`.
    """
    if model is None or machine is None:
        return Transcriber(None, None)
    from ml.models.checkpoint import load_checkpoint
    from ml.models.drumcnn import DrumCNN, from_state

    about: Mapping[str, Any] = {}
    if model.is_dir():
        from ml.models.saved import load_model, saved_extra

        network, about = load_model(model), saved_extra(model)
        if not isinstance(network, DrumCNN):
            raise ModelUnavailable(f"{model} holds a {type(network).__name__}, which knows no drums")
    else:
        network, about = from_state(load_checkpoint(model), str(model)), _beside(model)
    said = _said(about, str(model))
    return Transcriber(network.to(machine.device).eval(), machine, **said)


def _beside(file: Path) -> Mapping[str, Any]:
    """What is said beside a file of weights: in the `.json` of its name, or in the folder that is its model's."""
    from ml.models.saved import EXTRA

    for name in (f"{file.stem}.json", "config.json"):
        place = file.with_name(name)
        if not place.is_file() or place.stat().st_size > LONGEST_SETTINGS:
            continue
        try:
            said = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as problem:
            raise ModelUnavailable(f"{place}: cannot be read, and it says how {file.name} hears ({problem})") from None
        if isinstance(said, dict) and said.get("model_type") == "drumcnn" and isinstance(said.get(EXTRA), dict):
            return dict(said[EXTRA])
    return {}


def _said(about: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What was saved beside the weights, as arguments of `Transcriber`; what is not said is as usual."""
    if about.get("components", list(COMPONENTS)) != list(COMPONENTS):
        raise ModelUnavailable(f"{where} tells other components apart than these: {', '.join(COMPONENTS)}")
    said: dict[str, Any] = {}
    try:
        said["picture"] = read_config(HitPictureConfig, about.get("picture", {}), f"{where}: picture")
    except ConfigError as problem:
        raise ModelUnavailable(str(problem)) from None
    said["rate"], said["loss"] = about.get("sample_rate", RATE), about.get("loss", "binary")
    thresholds = about.get("thresholds", [THRESHOLD] * len(COMPONENTS))
    said["thresholds"] = tuple(thresholds) if isinstance(thresholds, list) else ()
    whole = isinstance(said["rate"], int) and 4000 <= said["rate"] <= 192_000 and said["loss"] in LOSSES
    numbers = len(said["thresholds"]) == len(COMPONENTS) and all(
        isinstance(value, int | float) and 0 <= value <= 1 for value in said["thresholds"]
    )
    if not (whole and numbers):
        raise ModelUnavailable(
            f"{where}: what is said beside its weights of how it hears is wrong: sample_rate, loss or thresholds"
        )
    return said
