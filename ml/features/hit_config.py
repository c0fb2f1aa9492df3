"""What a network sees of a hit. Imports no torch: the graph is shown without it."""

from __future__ import annotations

from pydantic import Field

from ml.config import Config


class HitPictureConfig(Config):
    """The sound around a hit as a picture of its spectrum: rows are mel bands, columns are moments."""

    before_ms: float = Field(default=25.0, ge=0, le=500)
    """How much is seen before the hit, in milliseconds."""
    after_ms: float = Field(default=100.0, gt=0, le=2000)
    """How much is seen from the hit on, in milliseconds."""
    mels: int = Field(default=128, ge=16, le=256)
    """Rows of the picture: mel bands."""
    columns: int = Field(default=128, ge=16, le=512)
    """Columns of the picture: moments, evenly spread over what is seen."""
    fft: int = Field(default=1024, ge=256, le=8192)
    """Samples of one spectrum."""
    low_hz: float = Field(default=20.0, ge=0)
    """Lower end of the lowest band."""
    high_hz: float = Field(default=16_000.0, gt=100)
    """Upper end of the highest band; never above half the sample rate. What lies higher, many MP3s have cut off, and a
    network that has learned to look there hears no drums in them."""
