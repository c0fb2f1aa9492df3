"""What the samples of a recording say about its quality, gathered block by block."""

from __future__ import annotations

import math

import numpy as np

FULL = 0.99
"""Share of full scale from which a sample counts as at the limit (8 bits reach no more than 0.992)."""
CLIPPED_SHARE = 0.001
"""Share of samples at the limit from which a recording is called clipped; a peak normalised to 0 dB stays far below."""
OFFSET = 0.05
"""Mean of a channel (full scale = 1) from which the sound is not centred: a fault of the recording chain."""
SILENT_SPAN = 2.5 / 32768
"""Highest less lowest sample below which nothing is there but the last bit of 16."""
QUIET_PEAK = 0.001
"""-60 dB: the level at which a recording is probably a wrong input."""
LOUD_PEAK = 2.0
"""+6 dB over full scale: more than a decoder's overshoot; the file has been scaled wrongly."""

FOLD = 64
"""Frames that are reduced side by side."""


class Levels:
    """Running extremes, offset and clipping of blocks `(frames, channels)`, full scale = 1."""

    def __init__(self, channels: int) -> None:
        self.frames = 0
        self.lowest = np.full(channels, np.inf)
        self.highest = np.full(channels, -np.inf)
        self._sums = np.zeros(channels)
        self._at_limit = 0

    def add(self, block: np.ndarray) -> None:
        self.frames += len(block)
        even = len(block) - len(block) % FOLD
        for piece in (block[:even], block[even:]):
            if len(piece):
                self._add(piece)

    def _add(self, piece: np.ndarray) -> None:
        """Reduce in rows of many frames: along two narrow columns numpy is fifty times slower."""
        channels = piece.shape[1]
        wide = piece.reshape(-1, FOLD * channels) if len(piece) % FOLD == 0 else piece
        self.lowest = np.minimum(self.lowest, wide.min(axis=0).reshape(-1, channels).min(axis=0))
        self.highest = np.maximum(self.highest, wide.max(axis=0).reshape(-1, channels).max(axis=0))
        self._sums += wide.sum(axis=0, dtype=np.float64).reshape(-1, channels).sum(axis=0)
        if self.peak >= FULL:
            self._at_limit += int(np.count_nonzero(np.abs(piece) >= FULL))

    @property
    def finite(self) -> bool:
        """False as soon as one sample was NaN or infinite."""
        return bool(np.isfinite(self.lowest).all() and np.isfinite(self.highest).all())

    @property
    def peak(self) -> float:
        """Largest distance from zero, full scale = 1."""
        return float(max(-self.lowest.min(), self.highest.max(), 0.0))

    @property
    def silent(self) -> bool:
        return bool((self.highest - self.lowest).max() <= SILENT_SPAN)

    def warnings(self) -> list[str]:
        found = []
        clipped = self._at_limit / (self.frames * len(self._sums))
        offset = float(np.abs(self._sums / self.frames).max())
        if self.peak > LOUD_PEAK:
            found.append(f"its peak is {self.peak:.3g} times full scale")
        elif clipped >= CLIPPED_SHARE:
            found.append(f"clipped: {100 * clipped:.2g} % of its samples are at full scale")
        if offset > OFFSET:
            found.append(f"not centred: its mean is {offset:.2g} of full scale (DC offset)")
        if self.peak < QUIET_PEAK:
            found.append(
                f"very quiet: its peak is {20 * math.log10(self.peak):.0f} dB below full scale".replace("-", "")
            )
        return found
