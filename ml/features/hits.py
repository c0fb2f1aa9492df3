"""Hits as pictures of their spectra, made in batches on the device from the sound itself.

Nothing is stored but sound: a picture takes less time to make than to train on. Pictures can be made as if the sound
were stretched or tuned differently, at no further cost: a hit that is r times as fast has its columns r times as far
apart, and one that is tuned higher has its mel bands lower by as much. Training, evaluation and use all see hits
through this one module.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.features.batches import resident

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from ml.features.hit_config import HitPictureConfig

RANGE_DB = 80.0
"""What is quieter than the loudest point of a picture by more than this is black."""
QUIET = 1e-6
"""Power of a band that counts as loudest where nothing is louder: 108 dB below a full sine, so silence is black."""
NOTHING = 1e-20
"""Power that stands for none."""
BYTES_AT_ONCE = {"cpu": 4 * 1024**2, "cuda": 256 * 1024**2}
"""Of spectra that are held at once; few fit a processor's cache."""


class HitClips:
    """The sound around hits, cut out of many recordings that lie behind one another, as a batch on a device.

    On a GPU the whole array moves there once where it fits; otherwise each batch travels as it is kept.
    """

    def __init__(self, samples: NDArray[Any], lead: int, length: int, device: torch.device | str = "cpu") -> None:
        """`samples` (n,) are floats of any width, mapped or in memory; the hit is sample `lead` of `length`."""
        import torch

        self.device = torch.device(device)
        self._samples = samples
        self._offsets = np.arange(length, dtype=np.int64) - lead
        self._resident = resident(samples, self.device)
        self._there = torch.from_numpy(self._offsets).to(self.device)

    def batch(self, start: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]) -> Tensor:
        """float32 (b, length) around the samples `start` (b,); zeros before `first` and from `last` on."""
        import torch

        start, first, last = (np.asarray(values, dtype=np.int64)[:, None] for values in (start, first, last))
        if self._resident is not None:
            at, low, high = (torch.from_numpy(values).to(self.device) for values in (start, first, last))
            where = at + self._there
            outside = (where < low) | (where >= high)
            found = self._resident[where.clamp_(0, len(self._resident) - 1)].float()
            return found.masked_fill_(outside, 0.0)
        places = start + self._offsets
        outside_here = (places < first) | (places >= last)
        clips = np.take(self._samples, places, mode="clip")
        clips[outside_here] = 0
        halves = torch.from_numpy(np.ascontiguousarray(clips))
        if self.device.type == "cuda":
            halves = halves.pin_memory()
        return halves.to(self.device, non_blocking=True).float()


class HitPictures:
    """Clips as log-mel pictures `(b, 1, mels, columns)` from -1 (80 dB below the loudest point, or less) to 1.

    What is seen is the configured span around the hit and nothing else: zeros stand outside. The columns are spread
    evenly over it.
    """

    def __init__(
        self,
        config: HitPictureConfig,
        rate: int,
        device: torch.device | str = "cpu",
        *,
        fastest: float = 1.0,
        shift: int = 0,
    ) -> None:
        """`fastest` and `shift` (samples) are the largest that `pictures` will be asked for."""
        import torch

        self.config, self.rate, self.device = config, rate, torch.device(device)
        self._before, self._after = (rate * span / 1000 for span in (config.before_ms, config.after_ms))
        fastest = max(1.0, fastest)
        self.lead = math.ceil(self._before * fastest) + shift
        """The hit's sample in a clip."""
        self.length = self.lead + math.ceil(self._after * fastest) + shift
        """Samples of a clip."""
        self._window = torch.hann_window(config.fft, device=self.device)
        self._columns = torch.from_numpy(_columns(config, rate)).to(self.device)
        self._borders = torch.from_numpy(_band_borders(config, rate)).to(self.device)
        self._edges = ((torch.arange(config.fft // 2 + 2, device=self.device) - 0.5) * (rate / config.fft)).clamp_min(0)
        self._samples = torch.arange(self.length, device=self.device)
        self._bands = self._filters(torch.ones(1, device=self.device))[0]

    def clips(self, samples: NDArray[Any]) -> HitClips:
        """Cuts clips for these pictures out of `samples` (n,)."""
        return HitClips(samples, self.lead, self.length, self.device)

    def pictures(
        self,
        clips: Tensor,
        stretch: Tensor | None = None,
        semitones: Tensor | None = None,
        shift: Tensor | None = None,
    ) -> Tensor:
        """Pictures of `clips` (b, length), as if each were `stretch` times as fast, tuned `semitones` higher, and its
        hit `shift` samples later (b,)."""
        import torch

        kind = self.device.type
        spectra = 4 * self.config.columns * self.config.fft
        at_once = max(1, BYTES_AT_ONCE.get(kind, BYTES_AT_ONCE["cuda"]) // spectra)
        made = []
        with torch.no_grad(), torch.autocast(kind, enabled=False):
            for first in range(0, len(clips), at_once):
                part = slice(first, first + at_once)
                said = (None if values is None else values[part] for values in (stretch, semitones, shift))
                made.append(self._few(clips[part].float(), *said))
            if not made:
                return clips.new_zeros((0, 1, self.config.mels, self.config.columns))
            return made[0] if len(made) == 1 else torch.cat(made)

    def _few(self, clips: Tensor, stretch: Tensor | None, semitones: Tensor | None, shift: Tensor | None) -> Tensor:
        import torch
        from torch.nn import functional

        fft = self.config.fft
        speed = torch.ones(1, 1, device=clips.device) if stretch is None else stretch.float()[:, None]
        hit = torch.full((1, 1), self.lead, device=clips.device)
        if shift is not None:
            hit = hit + shift.long()[:, None]
        from_hit = self._samples - hit
        seen = (from_hit >= -self._before * speed) & (from_hit < self._after * speed)
        padded = functional.pad(clips * seen, (fft // 2, fft // 2))
        # The frame around sample m begins at m of the padded clip.
        begins = ((self._columns * speed).round().long() + hit).clamp_(0, self.length)
        rows = torch.arange(len(clips), device=clips.device)[:, None]
        frames = padded.unfold(1, fft, 1)[rows, begins.expand(len(clips), -1)]
        spectrum = torch.fft.rfft(frames.mul_(self._window))
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        bands = self._bands if semitones is None else self._filters(torch.exp2(semitones.float() / 12))
        return _picture(power @ bands).transpose(1, 2)[:, None]

    def _filters(self, higher: Tensor) -> Tensor:
        """Mel filters `(b, bins, mels)` for sound that is to be heard `higher` (b,) times as high as it is.

        Each is the share of a triangle that lies in each bin, so that none is empty, however narrow.
        """
        low, centre, high = self._borders.unfold(0, 3, 1).unbind(dim=1)
        edges = (self._edges[None] * higher[:, None])[:, :, None]
        rising = ((edges - low) / (centre - low)).clamp_(0, 1).square_().mul_((centre - low) / 2)
        falling = ((high - edges) / (high - centre)).clamp_(0, 1).square_().mul_((centre - high) / 2)
        width = (self.rate / self.config.fft) * higher[:, None, None]
        return rising.add_(falling).diff(dim=1).div_(width)


def _picture(power: Tensor) -> Tensor:
    """Powers `(b, columns, mels)` in decibels below the largest of each, as numbers from -1 to 1."""
    loudest = power.amax(dim=(1, 2), keepdim=True).clamp_min(QUIET)
    decibels = power.clamp_min(NOTHING).div_(loudest).log10_().mul_(10)
    return decibels.clamp_min_(-RANGE_DB).mul_(2 / RANGE_DB).add_(1)


def _columns(config: HitPictureConfig, rate: int) -> NDArray[np.float32]:
    """Samples from the hit to the middle of each column."""
    span = rate * (config.before_ms + config.after_ms) / 1000
    middles = (np.arange(config.columns) + 0.5) * (span / config.columns) - rate * config.before_ms / 1000
    return middles.astype(np.float32)


def _band_borders(config: HitPictureConfig, rate: int) -> NDArray[np.float32]:
    """Hz at which the bands begin, are highest and end: evenly spread in mel (O'Shaughnessy's formula)."""
    highest = min(config.high_hz, rate / 2)
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (config.low_hz, highest))
    mels = np.linspace(low, high, config.mels + 2)
    return (700 * (10 ** (mels / 2595) - 1)).astype(np.float32)
