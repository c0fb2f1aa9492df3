"""What a person may say about the drum classifier's network. Imports no torch: the graph is shown without it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from ml.config import Config
from ml.models.hub import WEIGHTS, content

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

    @field_validator("checkpoint")
    @classmethod
    def _names_one_place(cls, said: str | None) -> str | None:
        if said is not None and not Path(said).expanduser().is_absolute():
            raise ValueError("not a whole path (from / or ~, or a drive's letter)")
        return said

    def identity(self) -> dict[str, Any]:
        """What changes numbers: a checkpoint stands by what is in it, not by its place.

        One that is not there stands for its path; training with it is refused.
        """
        said = self.model_dump(mode="json")
        if self.checkpoint is None:
            return said
        place = Path(self.checkpoint).expanduser()
        file = place / WEIGHTS if place.is_dir() else place
        return said | {"checkpoint": content(file) if file.is_file() else self.checkpoint}
