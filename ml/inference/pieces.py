"""Sound of any length, denoised piece by piece with what lies around each piece: memory stays at one piece.

A network hears so many samples on either side of each that it says (`reach`). Where a piece is given that much of its
surroundings, it comes out as from the whole sound at once. Where a live stream cannot wait for that much of what
follows, neighbouring pieces differ a little; they overlap and are faded into each other, so that no seam is heard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ml.models.unet1d import UNet1D
from ml.models.unet1d_config import UNet1DConfig
from ml.training.machine import Machine

PIECE_SAMPLES = 2**17
"""Of sound that need not be answered at once: 3 s at 44.1 kHz. Longer ones leave the processor's cache."""


@dataclass(frozen=True)
class Layout:
    """How sound is cut into pieces, in samples."""

    hop: int
    """Samples that each piece brings."""
    overlap: int
    """Samples at the end of each piece that the next one says again; they are faded into each other."""
    ahead: int
    """Samples after a piece that the network hears with it."""
    behind: int
    """Samples before a piece that the network hears with it."""

    @property
    def latency(self) -> int:
        """Samples that have to come in, from a sample on, before it goes out."""
        return self.hop + self.overlap + self.ahead


def whole_layout(config: UNet1DConfig, piece: int = PIECE_SAMPLES) -> Layout:
    """Pieces of `piece` samples that come out as from the whole sound at once."""
    return Layout(hop=piece, overlap=0, ahead=config.reach, behind=config.reach)


def denoise_signal(model: UNet1D, samples: np.ndarray, machine: Machine, *, piece: int = PIECE_SAMPLES) -> np.ndarray:
    """`samples` (float32 `(n,)` or `(channels, n)`, at the rate that the network learned) without their noise.

    The shape stays. Equal to one pass over all of them, whatever their number, in the machine's precision. The network
    is in eval mode and on the machine's device.
    """
    rows = np.atleast_2d(samples)
    stream = Stream(model, machine, whole_layout(model.config, piece), channels=len(rows))
    return np.concatenate([stream.push(rows), stream.finish()], axis=1).reshape(samples.shape)


class Stream:
    """Sound that comes in as it likes and goes out denoised: all that can be said by now, in order, none left out."""

    def __init__(self, model: UNet1D, machine: Machine, layout: Layout, *, channels: int = 1) -> None:
        assert not model.training, "batch norm would follow what it hears"
        self._model, self._machine, self.layout = model, machine, layout
        self._heard = np.zeros((channels, 0), np.float32)
        self._first = 0
        """Place of `_heard[:, 0]` in the stream."""
        self._said = 0
        """Samples that went out."""
        self._faded = np.zeros((channels, 0), np.float32)
        """What the piece before says of the first samples of the next one."""
        rising = np.sin(np.pi / 2 * (np.arange(layout.overlap, dtype=np.float32) + 0.5) / max(1, layout.overlap)) ** 2
        self._rising = rising.astype(np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Takes float32 `(channels, n)`, any n; gives `(channels, m)`, the samples that are ready after it."""
        self._heard = np.concatenate([self._heard, samples.astype(np.float32, copy=False)], axis=1)
        ready: list[np.ndarray] = []
        while self._first + self._heard.shape[1] - self._said >= self.layout.latency:
            piece = self._piece(self._said + self.layout.latency)
            ready.append(piece[:, : self.layout.hop])
            self._faded = piece[:, self.layout.hop : self.layout.hop + self.layout.overlap]
            self._said += self.layout.hop
        unneeded = self._begin() - self._first
        if unneeded > 0:
            self._heard, self._first = self._heard[:, unneeded:].copy(), self._first + unneeded
        return np.concatenate([self._heard[:, :0], *ready], axis=1)

    def finish(self) -> np.ndarray:
        """The samples that are left when nothing more comes in: as many went out then as came in."""
        end = self._first + self._heard.shape[1]
        if self._said == end:
            return self._heard[:, :0].copy()
        rest = self._piece(end)
        self._said = end
        return rest

    def _begin(self) -> int:
        """Where the next piece is heard from: the network folds samples into frames, always the same ones."""
        stride = self._model.config.stride
        return max(0, self._said - self.layout.behind) // stride * stride

    def _piece(self, end: int) -> np.ndarray:
        """What the network says from `_said` on, having heard up to `end`; faded in after the piece before."""
        begin = self._begin()
        heard = np.ascontiguousarray(self._heard[:, begin - self._first : end - self._first])
        with torch.inference_mode(), self._machine.autocast():
            told = self._model(torch.from_numpy(heard).to(self._machine.device))
        piece: np.ndarray = told.float().cpu().numpy()[:, self._said - begin :]
        fading = min(self._faded.shape[1], piece.shape[1])
        if fading:
            rising = self._rising[:fading]
            piece[:, :fading] = rising * piece[:, :fading] + (1 - rising) * self._faded[:, :fading]
        return piece
