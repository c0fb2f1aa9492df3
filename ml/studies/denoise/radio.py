"""What a weak FM station does to sound: a narrower band, a hiss that rises with frequency, clicks.

Demodulated FM noise has a power that grows with the square of the frequency, and below the threshold of reception the
phase slips now and then, which is heard as a click (Rice, Noise in FM Receivers, 1963).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, model_validator

from ml.config import Config
from ml.studies.denoise.chances import chances

if TYPE_CHECKING:
    import torch

BANK = 1 << 20
"""Samples of hiss that are made once; every item hears it from another place on."""
GUARD = 2048
"""Samples of silence behind a window, so that what the filter carries beyond its end does not return at its front."""
EVEN = 4096
"""Samples of which a transform has a multiple: numbers with large factors take many times longer."""
DRAWN = 2
"""Numbers per item that are drawn beside those of the clicks: how strong the hiss is, and where in the bank it is."""


Decibels = Annotated[float, Field(ge=-60, le=120)]


class RadioConfig(Config):
    """How the receiver spoils the noisy sound; the clean sound stays what was sent."""

    low_hz: float = Field(default=50.0, ge=0)
    """Lower edge of what is received, in Hz."""
    high_hz: float = Field(default=15_000.0, gt=0)
    """Upper edge of what is received, in Hz: 15,000 for broadcasting, 3,000 for speech radio."""
    hiss_snr_db: tuple[Decibels, Decibels] = (15.0, 35.0)
    """How far the hiss lies below the recording, in dB: drawn evenly between the two for each item."""
    clicks_per_second: float = Field(default=2.0, ge=0, le=200)
    """Clicks on average; 0 makes none."""
    click_level: float = Field(default=0.5, ge=0, le=1)
    """Height of the strongest clicks before the band is cut, full scale = 1; each is between nothing and this."""

    @model_validator(mode="after")
    def _is_a_band(self) -> RadioConfig:
        if self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz ({self.low_hz:g}) must be below high_hz ({self.high_hz:g})")
        if self.hiss_snr_db[0] > self.hiss_snr_db[1]:
            raise ValueError(f"hiss_snr_db is (from, to): {self.hiss_snr_db[0]:g} is above {self.hiss_snr_db[1]:g}")
        return self


class Radio:
    """Spoils batches; what an item gets is a pure function of its number and the name of the draw."""

    def __init__(self, config: RadioConfig, rate: int, device: torch.device) -> None:
        import torch

        if config.high_hz > rate / 2:
            raise ValueError(
                f"the radio's high_hz is {config.high_hz:g}, but sound of {rate} Hz ends at {rate / 2:g} Hz: lower it"
            )
        self._config, self._rate, self._device = config, rate, device
        white = np.random.Generator(np.random.Philox(key=20)).standard_normal(BANK + 1).astype(np.float32)
        rising = np.diff(white)  # power grows with the square of the frequency
        self._hiss = torch.from_numpy(rising / rising.std()).to(device)
        self._bands: dict[int, torch.Tensor] = {}

    def __call__(self, noisy: torch.Tensor, level: torch.Tensor, name: str, items: np.ndarray) -> torch.Tensor:
        """`noisy` (b, n) as it is received; `level` (b,) is the root mean square of each item's clean recording."""
        import torch

        said, length = self._config, noisy.shape[1]
        expected = said.clicks_per_second * length / self._rate
        clicks = min(length, math.ceil(3 * expected))
        drawn = chances(f"radio,{name}", items, DRAWN + 2 * clicks)
        low, high = said.hiss_snr_db
        below = torch.from_numpy(10 ** (-(low + (high - low) * drawn[0]) / 20)).to(noisy)
        start = torch.from_numpy((drawn[1] * BANK).astype(np.int64)).to(self._device)
        hiss = self._hiss[(start[:, None] + torch.arange(length, device=self._device)) % BANK]
        spoilt = noisy + hiss * (level * below)[:, None]
        if clicks:
            where, how = drawn[DRAWN : DRAWN + clicks], drawn[DRAWN + clicks :]
            spoilt = spoilt + self._clicks(where, how, expected / clicks, length).to(noisy)
        return self._received(spoilt)

    def _clicks(self, where: np.ndarray, how: np.ndarray, share: float, length: int) -> torch.Tensor:
        """Impulses (b, n), up or down, at a `share` of the places `where` (clicks, b)."""
        import torch

        height = np.where(how < share, 2 * how / share - 1, 0.0) * self._config.click_level
        impulses = torch.zeros(where.shape[1], length, dtype=torch.float64)
        places = torch.from_numpy((where.T * length).astype(np.int64))
        return impulses.scatter_add_(1, places, torch.from_numpy(np.ascontiguousarray(height.T)))

    def _received(self, sound: torch.Tensor) -> torch.Tensor:
        import torch

        length = sound.shape[1]
        size = -(-(length + GUARD) // EVEN) * EVEN
        band = self._bands.get(size)
        if band is None:
            band = self._bands[size] = self._band(size)
        return torch.fft.irfft(torch.fft.rfft(sound, size) * band, size)[:, :length]

    def _band(self, size: int) -> torch.Tensor:
        """Butterworth's response of sixth order, without a delay."""
        import torch

        hz = torch.fft.rfftfreq(size, 1 / self._rate, device=self._device)
        below = 1 / torch.sqrt(1 + (hz / self._config.high_hz) ** 12)
        return below / torch.sqrt(1 + (self._config.low_hz / hz.clamp(min=1e-3)) ** 12)
