"""Live sound without its noise: at any sample rate, late by no more than is said."""

from __future__ import annotations

from ml.inference.denoiser import Denoiser
from ml.inference.passage import Passage
from ml.inference.pieces import Layout, Stream
from ml.inference.resampling import Resampler
from ml.models.unet1d_config import UNet1DConfig

LATENCY_SECONDS = 0.1
"""What a listener is made to wait at most, where no longer block is asked for."""
BLOCK, SHORTEST_BLOCK = 2048, 512
"""Samples at the network's rate. Shorter blocks are answered sooner and cost more: each is heard with what is around
it."""
OVERLAP = 256
"""Samples over which a piece is faded into the next one."""


def live_layout(config: UNet1DConfig, latency: int, block: int | None = None) -> Layout:
    """Pieces that are answered within `latency` samples; a `block` that somebody asks for may take longer.

    Where that is too short for all that the network hears ahead, it hears less: what comes out is then an estimate that
    differs from that of the whole sound.
    """
    spare = latency - OVERLAP - config.reach
    hop = block or min(BLOCK, max(SHORTEST_BLOCK, spare))
    ahead = config.reach if hop <= spare else max(0, min(config.reach, latency - OVERLAP - min(hop, BLOCK)))
    return Layout(hop=hop, overlap=min(OVERLAP, hop), ahead=ahead, behind=config.reach)


class Live(Passage):
    """A passage for a stream at `rate` Hz that is answered soon, and says how soon."""

    def __init__(self, denoiser: Denoiser, rate: int, *, channels: int = 1, block: int | None = None) -> None:
        """`block`: samples at `rate` that are answered at a time; None: as many as fit into the usual latency."""
        around, self._resampling = None, 0.0
        if rate != denoiser.rate:
            around = (
                Resampler(rate, denoiser.rate, channels=channels),
                Resampler(denoiser.rate, rate, channels=channels),
            )
            self._resampling = sum(each.delay_seconds for each in around)
        config, latency = denoiser.model.config, int((LATENCY_SECONDS - self._resampling) * denoiser.rate)
        hop = None if block is None else max(1, round(block * denoiser.rate / rate))
        self._layout = live_layout(config, latency, hop)
        self._learned, self._reach = denoiser.rate, config.reach
        super().__init__(Stream(denoiser.model, denoiser.machine, self._layout, channels=channels), rate, around)

    @property
    def latency_seconds(self) -> float:
        """From the moment a sample comes in until it goes out, at most, and without the time of computing."""
        return self._layout.latency / self._learned + self._resampling

    def describe(self) -> str:
        """The latency and what it is made of, in a line."""
        layout, ms = self._layout, 1000 / self._learned
        parts = [
            f"{layout.hop * ms:.0f} ms of a block",
            f"{layout.overlap * ms:.0f} ms of fading",
            f"{layout.ahead * ms:.0f} ms of hearing ahead",
        ]
        if self._resampling:
            parts.append(f"{self._resampling * 1000:.0f} ms of resampling to {self._learned:,} Hz and back")
        cut = ""
        if layout.ahead < self._reach:
            cut = f" (the network would hear {self._reach * ms:.0f} ms ahead; files are denoised with all of it)"
        return f"latency {self.latency_seconds * 1000:.0f} ms: {', '.join(parts)}{cut}"
