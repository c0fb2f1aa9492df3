"""What a person may say about the denoiser's network. Imports no torch: the graph is shown without it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from ml.config import Config

CHANNELS_IN = 8
"""Steps in which a level may have channels: in such steps a processor's vectors are full."""

HALVING = 2
"""Each level has half as many frames as the one above it."""

CONVOLUTIONS = 2
"""Of each level on the way down, and of each on the way up; the lowest has them once."""

FILTERED = 2
"""Times that the sound goes through filters: once taken apart, once put together."""

Channels = Annotated[int, Field(ge=CHANNELS_IN, le=1024, multiple_of=CHANNELS_IN)]


class UNet1DConfig(Config):
    """U-Net on waveforms (after Stoller et al.: Wave-U-Net, 2018, and Luo, Mesgarani: Conv-TasNet, 2019)."""

    model_type: ClassVar[str] = "unet1d"
    """The kind of network, as saved folders name it."""

    channels: tuple[Channels, ...] = Field(default=(32, 64, 128, 256), min_length=1, max_length=8)
    """Channels of the levels, from the finest to the coarsest, in eights; each level has half the frames of the one
    before it. Fewer channels train faster."""
    kernel: int = Field(default=9, ge=1, le=65)
    """Frames that a convolution sees, an odd number."""
    fold: int = Field(default=8, ge=1, le=64)
    """Samples that make a frame of the finest level. Smaller ones see finer and train slower."""
    filters: Channels = 64
    """Filters that the sound is taken apart with, in eights; several times `fold`, or sound is lost in them."""

    @field_validator("kernel")
    @classmethod
    def _has_a_middle(cls, said: int) -> int:
        if said % 2 == 0:
            raise ValueError(f"a kernel of {said} has no middle; write an odd number, such as {said + 1}")
        return said

    @property
    def stride(self) -> int:
        """Samples of a frame of the coarsest level; the network pads its input to a multiple of them."""
        return self.fold * HALVING ** (len(self.channels) - 1)

    @property
    def reach(self) -> int:
        """How many samples on either side of an output sample can change it."""
        ways = [2] * (len(self.channels) - 1) + [1]
        beside = self.kernel // 2 * CONVOLUTIONS
        convolved = sum(way * beside * self.fold * HALVING**level for level, way in enumerate(ways))
        convolved += FILTERED * (self.kernel // 2) * self.fold
        # And the rest of the coarsest frame that the farthest of these samples lies in.
        return convolved + self.stride - 1

    def identity(self) -> dict[str, Any]:
        """What changes numbers."""
        return self.model_dump(mode="json")
