"""What a person may say about the drum classifier's network. Imports no torch: the graph is shown without it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from ml.config import Config

BLOCKS = 4
CHANNELS_IN = 8
"""Steps in which a block may have channels."""

Channels = Annotated[int, Field(ge=CHANNELS_IN, le=1024, multiple_of=CHANNELS_IN)]


class DrumCNNConfig(Config):
    """Four blocks of convolution, batch norm, ReLU and pooling, then dropout and one linear layer."""

    model_type: ClassVar[str] = "drumcnn"
    """The kind of network, as saved folders name it."""

    channels: tuple[Channels, Channels, Channels, Channels] = (32, 64, 128, 256)
    """Channels of the four blocks, in eights. With the usual ones the network has 391,884 parameters."""
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Share of the pooled features that is set to zero in training, before the last layer."""
    checkpoint: str | None = None
    """Where the first weights come from: the folder of a model, a .safetensors or a .pth state dict (whole path). What
    does not fit is left random, and said. null: all weights begin random."""

    def identity(self) -> dict[str, Any]:
        """What changes numbers."""
        return self.model_dump(mode="json")
