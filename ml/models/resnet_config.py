"""What a person may say about the ResNet. Imports no torch: the graph is shown without it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ml.config import Config
from ml.models.hub import identity, local_folder

PUBLISHED = "microsoft/resnet-18"
"""ResNet18 trained on ImageNet, as safetensors on the hub: what `pretrained: true` means."""

CHANNELS_IN = 16
"""Steps in which a stage may have channels. With fewer than 16, torch 2.11's convolutions of 1 x 1 with stride 2 write
beyond their memory on processors with AVX-512, in channels-last order: the process dies."""

Channels = Annotated[int, Field(ge=CHANNELS_IN, multiple_of=CHANNELS_IN)]


class ResNetConfig(Config):
    """Residual network (He et al.: Deep residual learning, 2015): pretrained, or sized by `widths`."""

    arch: Literal["resnet18"] = "resnet18"
    """The network; resnet18 has two blocks of two convolutions in each of its four stages."""
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Share of the pooled features that is set to zero in training, before the last layer."""
    pretrained: bool | str | None = True
    """true: ImageNet's weights (microsoft/resnet-18 on the Hugging Face hub); a name on the hub; a local folder (its
    whole path); false or null: random weights."""
    widths: tuple[Channels, Channels, Channels, Channels] = (64, 128, 256, 512)
    """Channels of the four stages, in sixteens; only where the weights are random. Smaller ones train faster."""

    @field_validator("pretrained")
    @classmethod
    def _names_one_place(cls, said: bool | str | None) -> bool | str | None:
        if isinstance(said, str):
            local_folder(said)
        return said

    @property
    def weights(self) -> str | None:
        """The name on the hub or the folder of the pretrained weights; None for random ones."""
        if isinstance(self.pretrained, str):
            return self.pretrained
        return PUBLISHED if self.pretrained else None

    def identity(self) -> dict[str, Any]:
        """What changes numbers: pretrained weights in a local folder stand by their content, not by their place."""
        said = self.model_dump(mode="json")
        return said | {"pretrained": identity(self.weights) if self.weights else None}
