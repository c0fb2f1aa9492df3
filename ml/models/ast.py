"""Audio Spectrogram Transformer, with a time axis as long as the windows and weights that are never unpickled.

Gong, Chung, Glass: AST: Audio Spectrogram Transformer, Interspeech 2021. A spectrogram `(batch, frames, mels)` is cut
into overlapping squares; 1024 frames of 128 mels give 12 x 101 of them, and with the class and the distillation token
1,214 tokens. A window of 2.97 s has 297 frames, one per 10 ms, and 350 tokens: padding it to 1024 frames would make a
model see silence for most of its work. So the position embedding is interpolated to the windows' own length instead.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import ASTConfig, ASTForAudioClassification

from ml.models.ast_config import AstConfig
from ml.models.hub import ModelUnavailable, weights_folder
from ml.models.saved import load_model, load_whole, names_of, save_model, saved_extra

__all__ = ["AstConfig", "ModelUnavailable", "build_ast", "load_model", "save_model", "saved_extra"]

SIZES = ("hidden", "layers", "heads", "intermediate", "patch", "stride")
"""Settings that a pretrained model decides by itself."""

log = logging.getLogger(__name__)


def build_ast(config: AstConfig, *, frames: int, mels: int, labels: Sequence[str], seed: int) -> nn.Module:
    """A classifier of `(batch, frames, mels)` into `labels`; its answer's `.logits` are `(batch, labels)`.

    The head is always new, drawn from `seed`; so is everything where `config.pretrained` is null. Attention is torch's
    scaled_dot_product_attention. Raises `ModelUnavailable` where pretrained weights cannot be had.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.pretrained is None:
            return _from_scratch(config, frames, mels, labels)
        return _from_pretrained(config, config.pretrained, frames, mels, labels)


def restore(folder: Path) -> nn.Module:
    """The Audio Spectrogram Transformer that `ml.models.saved.save_model` wrote."""
    return _load(folder, dropout=None)


def tokens(frames: int, mels: int, patch: int = 16, stride: int = 10) -> int:
    """Tokens of a spectrogram, the class and the distillation token included."""
    across, along = _grid(frames, mels, patch, stride)
    return across * along + 2


def interpolate_positions(positions: torch.Tensor, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """Position embeddings `(1, 2 + mel patches * time patches, hidden)` of the grid `old` for the grid `new`.

    Grids are (mel patches, time patches). The class and the distillation token have no place and stay as they are.
    """
    if old == new:
        return positions
    hidden = positions.shape[-1]
    grid = positions[:, 2:].transpose(1, 2).reshape(1, hidden, *old)
    grid = functional.interpolate(grid, size=new, mode="bilinear", align_corners=False)
    return torch.cat((positions[:, :2], grid.reshape(1, hidden, -1).transpose(1, 2)), dim=1)


def _grid(frames: int, mels: int, patch: int, stride: int) -> tuple[int, int]:
    """Patches along the mel bands and along time."""
    if frames < patch or mels < patch:
        raise ValueError(
            f"a window of {frames} frames and {mels} mels is smaller than one patch of {patch} x {patch}: "
            f"choose longer windows, more mel bands or a smaller patch"
        )
    return (mels - patch) // stride + 1, (frames - patch) // stride + 1


def _from_scratch(config: AstConfig, frames: int, mels: int, labels: Sequence[str]) -> nn.Module:
    if config.hidden % config.heads:
        raise ValueError(f"model.heads is {config.heads}, which does not divide model.hidden ({config.hidden})")
    _grid(frames, mels, config.patch, config.stride)
    model = ASTForAudioClassification._from_config(
        ASTConfig(
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            patch_size=config.patch,
            frequency_stride=config.stride,
            time_stride=config.stride,
            max_length=frames,
            num_mel_bins=mels,
            **names_of(labels),
        ),
        attn_implementation="sdpa",
        dtype=torch.float32,
    )
    # transformers leaves positions and tokens at zero for a checkpoint to fill; as in the paper, they start small.
    embeddings = model.audio_spectrogram_transformer.embeddings
    for parameter in (embeddings.position_embeddings, embeddings.cls_token, embeddings.distillation_token):
        nn.init.trunc_normal_(parameter, std=0.02)
    return model


def _from_pretrained(config: AstConfig, pretrained: str, frames: int, mels: int, labels: Sequence[str]) -> nn.Module:
    defaults = AstConfig()
    idle = [name for name in SIZES if getattr(config, name) != getattr(defaults, name)]
    if idle:
        log.warning("model.%s has no effect: %s decides its own sizes", ", model.".join(idle), pretrained)
    model = _load(weights_folder(pretrained), dropout=config.dropout)
    known = model.config
    old = _grid(known.max_length, known.num_mel_bins, known.patch_size, known.frequency_stride)
    new = _grid(frames, mels, known.patch_size, known.frequency_stride)
    embeddings = model.audio_spectrogram_transformer.embeddings
    embeddings.position_embeddings = nn.Parameter(interpolate_positions(embeddings.position_embeddings.data, old, new))
    head = model.classifier.dense
    model.classifier.dense = nn.Linear(head.in_features, len(labels))
    nn.init.trunc_normal_(model.classifier.dense.weight, std=0.02)
    nn.init.zeros_(model.classifier.dense.bias)
    known.update({"max_length": frames, "num_mel_bins": mels, **names_of(labels)})
    model.num_labels = len(labels)
    return model


def _load(folder: Path, dropout: float | None) -> ASTForAudioClassification:
    changes: dict[str, Any] = (
        {} if dropout is None else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    )
    return load_whole(
        ASTForAudioClassification, folder, "Audio Spectrogram Transformer", attn_implementation="sdpa", **changes
    )
