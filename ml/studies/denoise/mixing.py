"""Clean sound and noise into what a network learns from: windows drawn and mixed anew in every epoch.

Where a window begins, which noise is in it and how loud are pure functions of (seed, epoch, item): an epoch is the
same in every trial with that seed, whatever the batch. Validation and whole files depend on the mix's own seed only.

The noise is set against the level of the whole recording, as in a room where it goes on: a pause is as noisy as the
words around it, and a silent window is no special case. A whole file is as noisy as was said: what is heard of both
counts, and its noise does not begin in a lull.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ml.config import Config
from ml.data.windows import shuffled
from ml.features.waveforms import WaveformStore
from ml.studies.denoise.chances import chances
from ml.studies.denoise.lulls import start_of_noise
from ml.studies.denoise.material import Material, Stretches, material_of
from ml.studies.denoise.radio import Decibels, Radio, RadioConfig

if TYPE_CHECKING:
    import pandas as pd
    import torch

SILENT = 1e-3
"""Level (root mean square, full scale = 1) below which a clean recording is silent: its noise is set against this."""

JUDGED_SECONDS = 600.0
"""Of a recording that are judged as a whole: the first ten minutes, because hours would not fit into memory."""


class MixConfig(Config):
    """What noisy sound is made of; one for all trials of a lab, for they are compared on it."""

    segment_seconds: float = Field(default=1.0, gt=0, le=60)
    """Length of the windows that are trained on; shorter recordings end in silence."""
    snr_db: tuple[Decibels, ...] = Field(default=(0.0, 5.0, 10.0, 15.0), min_length=1)
    """How far the noise lies below the clean recording, in dB; each equally often. No effect on given pairs."""
    level_db: float = Field(default=0.0, ge=0, le=40)
    """Clean and noisy sound of training are made up to this many dB louder or softer together, so that the network
    does not learn by heart how loud sound is; 0 leaves it as it is."""
    windows_per_epoch: int | None = Field(default=None, ge=1)
    """Windows of one epoch, spread evenly over all training recordings; null: as many as fit into them."""
    validation_windows: int | None = Field(default=None, ge=1)
    """At most so many windows, spread evenly, are validated on after each epoch; null: all."""
    seed: int = Field(default=0, ge=0)
    """Of the mixtures of validation and test; what is trained on is drawn from the trial's seed too."""
    radio: RadioConfig | None = None
    """Spoils the noisy sound as a weak FM station would; null does not."""

    def samples(self, rate: int) -> int:
        """Of a window, at `rate` Hz."""
        return max(1, round(self.segment_seconds * rate))


@dataclass(frozen=True)
class WholeFile:
    """A recording as it is judged: clean and noisy are float32 (n,), full scale = 1."""

    path: str
    group: str
    clean: np.ndarray
    noisy: np.ndarray
    snr_db: float
    """Of the mixture as it is; nan where clean or noise are silent."""


@dataclass(frozen=True)
class _Drawn:
    """What a batch is made of, one array entry per item."""

    recording: np.ndarray
    start: np.ndarray
    """int64: where the window begins in its recording."""
    noise: np.ndarray
    noise_start: np.ndarray
    snr_db: np.ndarray
    gain_db: np.ndarray
    name: str
    """Of the draw, with `items` the key of everything that is drawn further."""
    items: np.ndarray


class Mixtures:
    """Noisy and clean windows of one store, for training, validation and evaluation."""

    def __init__(self, store: WaveformStore, split: pd.DataFrame, mix: MixConfig, *, seed: int, device: str) -> None:
        import torch

        self._mix, self._seed, self._device = mix, seed, torch.device(device)
        self._length = mix.samples(store.config.sample_rate)
        self._most = round(JUDGED_SECONDS * store.config.sample_rate)
        self._stored = store.samples
        self._samples = _Samples(store.samples, self._device)
        self._radio = Radio(mix.radio, store.config.sample_rate, self._device) if mix.radio else None
        self._parts = {part: material_of(part, split, store) for part in ("train", "validation", "test")}
        for part in ("train", "validation"):
            if not len(self._parts[part]):
                raise ValueError(f"there is no clean recording in {part}: nothing to learn from or to choose by")
        self._ends = np.cumsum(self._parts["train"].windows(self._length))
        self.items: int = mix.windows_per_epoch or int(np.ceil(self._ends[-1]))
        """Training items of one epoch."""
        self._fixed = self._drawn_once(self._parts["validation"])
        self.validation: int = len(self._fixed.items)
        """Fixed windows of the validation part."""

    def order(self, epoch: int) -> np.ndarray:
        """The items of `epoch` in the order in which they are trained: int64 ids, epoch * items + item."""
        return epoch * self.items + shuffled(self.items, self._seed, epoch)

    def batch(self, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The training items `ids`: noisy and clean, each float32 (b, n) on the device."""
        material = self._parts["train"]
        name = f"train,{self._mix.seed},{self._seed}"
        drawn = chances(name, ids, 6)
        place = (ids % self.items + drawn[0]) * (self._ends[-1] / self.items)
        recording = np.minimum(np.searchsorted(self._ends, place, side="right"), len(self._ends) - 1)
        room = np.maximum(0, material.clean.length[recording] - self._length)
        noise = _choice(drawn[2], len(material.other))
        return self._mixed(
            material,
            _Drawn(
                recording=recording,
                start=_choice(drawn[1], room + 1),
                noise=noise,
                noise_start=np.zeros_like(noise)
                if material.paired
                else _choice(drawn[3], material.other.length[noise]),
                snr_db=np.asarray(self._mix.snr_db)[_choice(drawn[4], len(self._mix.snr_db))],
                gain_db=(2 * drawn[5] - 1) * self._mix.level_db,
                name=name,
                items=ids,
            ),
        )

    def fixed(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The validation windows `indices` (0 to `validation` - 1): noisy and clean, as `batch` gives them."""
        whole = self._fixed
        chosen = {name: values[indices] for name, values in vars(whole).items() if name != "name"}
        return self._mixed(self._parts["validation"], _Drawn(name=whole.name, **chosen))

    def files(self, part: str) -> Iterator[WholeFile]:
        """The recordings of `part` as a whole (their first ten minutes), each mixed with one noise of the same part,
        repeated to its length."""
        material = self._parts[part]
        name = f"files,{self._mix.seed}"
        for number in range(len(material)):
            item = np.array([number])
            length = min(int(material.clean.length[number]), self._most)
            noise, start = self._noise_of(material, chances(name, item, 2))
            if not material.paired:
                start[0] = self._where_heard(material.other, int(noise[0]), int(start[0]), length)
            drawn = _Drawn(item, np.zeros(1, np.int64), noise, start, self._snr_of(item), np.zeros(1), name, item)
            noisy, clean = (one[0].cpu().numpy() for one in self._mixed(material, drawn, length))
            path, group = material.recordings.iloc[number][["path", "group"]]
            yield WholeFile(path, group, clean, noisy, _snr(clean, noisy))

    def judged(self, part: str) -> int:
        """How many `files` there are of `part`."""
        return len(self._parts[part])

    def _drawn_once(self, material: Material) -> _Drawn:
        """The windows of validation, one behind the other; a last piece counts where it is at least half a window."""
        count = np.maximum(1, np.floor(material.windows(self._length) + 0.5)).astype(np.int64)
        recording = np.repeat(np.arange(len(material)), count)
        number = np.arange(len(recording)) - np.repeat(np.cumsum(count) - count, count)
        items = np.arange(len(recording))
        most = self._mix.validation_windows
        if most is not None and len(items) > most:
            items = (np.arange(most) * len(items)) // most
        name = f"fixed,{self._mix.seed}"
        noise, start = self._noise_of(material, chances(name, items, 2))
        numbers = np.arange(len(items))
        return _Drawn(
            recording=recording[items],
            start=number[items] * self._length,
            noise=noise,
            noise_start=start,
            snr_db=self._snr_of(numbers),
            gain_db=np.zeros(len(items)),
            name=name,
            items=items,
        )

    def _noise_of(self, material: Material, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        noise = _choice(drawn[0], len(material.other))
        return noise, _choice(drawn[1], material.other.length[noise])

    def _where_heard(self, noises: Stretches, which: int, start: int, length: int) -> int:
        first, own = int(noises.first[which]), int(noises.length[which])
        return start_of_noise(self._stored[first : first + own], float(noises.level[which]), start, length)

    def _snr_of(self, numbers: np.ndarray) -> np.ndarray:
        """One after the other, so that each is there equally often."""
        return np.asarray(self._mix.snr_db)[numbers % len(self._mix.snr_db)]

    def _mixed(self, material: Material, drawn: _Drawn, whole: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy and clean (b, n); what would exceed full scale is made softer, both alike. `whole`: so many samples
        instead of a window."""
        import torch

        length = whole or self._length
        own = drawn.recording
        clean = self._samples.take(material.clean, own, drawn.start, length)
        _silence_beyond(clean, material.clean.length[own] - drawn.start)
        level = np.maximum(_level(clean) if whole else material.clean.level[own], SILENT)
        if material.paired:
            noisy = self._samples.take(material.other, own, drawn.start, length)
            _silence_beyond(noisy, material.clean.length[own] - drawn.start)
        else:
            noise = self._samples.take(material.other, drawn.noise, drawn.noise_start, length)
            loud = _level(noise) if whole else material.other.level[drawn.noise]
            wanted = level * 10 ** (-drawn.snr_db / 20)
            noisy = torch.addcmul(clean, noise, self._column(np.divide(wanted, loud, where=loud > 0, out=0 * loud)))
        if self._radio:
            levels = torch.from_numpy(level).to(self._device, torch.float32)
            noisy = self._radio(noisy, levels, drawn.name, drawn.items)
        gain = self._column(10 ** (drawn.gain_db / 20))
        peak = torch.maximum(noisy.abs().amax(1, keepdim=True), clean.abs().amax(1, keepdim=True)) * gain
        gain = gain / peak.clamp(min=1.0)
        return noisy * gain, clean * gain

    def _column(self, values: np.ndarray) -> torch.Tensor:
        import torch

        return torch.from_numpy(values).to(self._device, torch.float32)[:, None]


class _Samples:
    """Stretches of the store as tensors; on a GPU the store moves there once where it fits."""

    def __init__(self, samples: np.ndarray, device: torch.device) -> None:
        from ml.features.batches import resident

        self._samples, self._device = samples, device
        self._resident = resident(samples, device)

    def take(self, stretches: Stretches, which: np.ndarray, start: np.ndarray, length: int) -> torch.Tensor:
        """float32 (b, length) from `start` (b,) in each of the recordings `which`; behind its end it begins again."""
        import torch

        first, own = stretches.first[which], stretches.length[which]
        if self._resident is not None:
            at = torch.arange(length, device=self._device)
            on_device = [torch.from_numpy(values).to(self._device)[:, None] for values in (first, start, own)]
            return self._resident[on_device[0] + (on_device[1] + at) % on_device[2]].float()
        halves = np.empty((len(which), length), self._samples.dtype)
        within = start + length <= own
        if within.any():
            shape, step = (len(self._samples) - length + 1, length), self._samples.strides * 2
            every = np.lib.stride_tricks.as_strided(self._samples, shape, step, writeable=False)
            halves[within] = every[(first + start)[within]]
        round_and_round = ~within
        if round_and_round.any():
            at = (start[round_and_round, None] + np.arange(length)) % own[round_and_round, None]
            halves[round_and_round] = self._samples[first[round_and_round, None] + at]
        there = torch.from_numpy(halves)
        if self._device.type == "cuda":
            there = there.pin_memory().to(self._device, non_blocking=True)
        return there.float()


def _level(sound: torch.Tensor) -> np.ndarray:
    """Root mean square of each (b,)."""
    return sound.double().square().mean(1).sqrt().cpu().numpy()


def _silence_beyond(sound: torch.Tensor, own: np.ndarray) -> None:
    """Samples at and beyond `own` (b,) do not belong to the recording: 0."""
    import torch

    cut = np.flatnonzero(own < sound.shape[1])
    if len(cut):  # few are: only they pay for the mask
        which, ends = (torch.from_numpy(values).to(sound.device) for values in (cut, own[cut]))
        beyond = torch.arange(sound.shape[1], device=sound.device) >= ends[:, None]
        sound[which] = sound[which].masked_fill_(beyond, 0.0)


def _choice(chance: np.ndarray, count: Any) -> np.ndarray:
    """`chance` in [0, 1) as a whole number from 0 to `count` - 1."""
    return np.minimum((chance * count).astype(np.int64), count - 1)


def _snr(clean: np.ndarray, noisy: np.ndarray) -> float:
    sound = float(np.square(clean, dtype=np.float64).sum())
    noise = float(np.square(noisy.astype(np.float64) - clean).sum())
    return 10 * float(np.log10(sound / noise)) if sound > 0 and noise > 0 else float("nan")
