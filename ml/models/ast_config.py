"""What a person may say about the Audio Spectrogram Transformer. Imports no torch: the graph is shown without it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from ml.config import Config
from ml.models.hub import identity, local_folder


class AstConfig(Config):
    """Audio Spectrogram Transformer (Gong, Chung, Glass: AST, 2021): pretrained, or sized by the fields below."""

    pretrained: str | None = "MIT/ast-finetuned-audioset-10-10-0.4593"
    """A name on the Hugging Face hub, a local folder (its whole path), or null: random weights, sized as below."""
    hidden: int = Field(default=768, ge=2)
    """Numbers per token; only where pretrained is null."""
    layers: int = Field(default=12, ge=1)
    """Transformer layers; only where pretrained is null."""
    heads: int = Field(default=12, ge=1)
    """Attention heads, a divisor of hidden; only where pretrained is null."""
    intermediate: int = Field(default=3072, ge=1)
    """Numbers inside a layer's two-step network; only where pretrained is null."""
    patch: int = Field(default=16, ge=1)
    """Side of the square that becomes a token, in frames and in mel bands; only where pretrained is null."""
    stride: int = Field(default=10, ge=1)
    """Step from patch to patch in both directions; only where pretrained is null."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of numbers set to zero in training, after each layer and in the attention."""

    @field_validator("pretrained")
    @classmethod
    def _names_one_place(cls, said: str | None) -> str | None:
        if said is not None:
            local_folder(said)
        return said

    def identity(self) -> dict[str, Any]:
        """What changes numbers: pretrained weights in a local folder stand by their content, not by their place."""
        said = self.model_dump(mode="json")
        return said | {"pretrained": identity(self.pretrained) if self.pretrained else None}
