"""Audio Spectrogram Transformer, with a time axis as long as the windows and weights that are never unpickled.

Gong, Chung, Glass: AST: Audio Spectrogram Transformer, Interspeech 2021. A spectrogram `(batch, frames, mels)` is cut
into overlapping squares; 1024 frames of 128 mels give 12 x 101 of them, and with the class and the distillation token
1,214 tokens. A window of 2.97 s has 297 frames, one per 10 ms, and 350 tokens: padding it to 1024 frames would make a
model see silence for most of its work. So the position embedding is interpolated to the windows' own length instead.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional
from transformers import ASTConfig, ASTForAudioClassification
from transformers.utils.logging import disable_progress_bar

from ml.models.ast_config import AstConfig
from ml.models.hub import ModelUnavailable, weights_folder

__all__ = ["AstConfig", "ModelUnavailable", "build_ast", "load_model", "save_model", "saved_extra"]

EXTRA = "nocturne"
"""Where config.json holds what Nocturne says beside what transformers says."""

SIZES = ("hidden", "layers", "heads", "intermediate", "patch", "stride")
"""Settings that a pretrained model decides by itself."""

log = logging.getLogger(__name__)
disable_progress_bar()  # a bar per model, for a second's work, hides what matters in a night's log


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


def save_model(model: nn.Module, folder: Path, extra: dict[str, Any]) -> None:
    """Writes model.safetensors and config.json into the existing `folder`; `extra` (JSON values) goes into the latter.

    transformers can load the folder too, and it can be the `pretrained` of a later trial.
    """
    assert isinstance(model, ASTForAudioClassification)
    setattr(model.config, EXTRA, extra)
    model.save_pretrained(folder, max_shard_size="100GB")


def load_model(folder: Path) -> nn.Module:
    """The model that `save_model` wrote, in eval mode on the CPU."""
    return _load(folder, dropout=None).eval()


def saved_extra(folder: Path) -> dict[str, Any]:
    """The `extra` that `save_model` wrote."""
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return dict(said.get(EXTRA, {}))


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
            **_named(labels),
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
    known.update({"max_length": frames, "num_mel_bins": mels, **_named(labels)})
    model.num_labels = len(labels)
    return model


def _load(folder: Path, dropout: float | None) -> ASTForAudioClassification:
    changes = {} if dropout is None else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    try:
        model, told = ASTForAudioClassification.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation="sdpa",
            dtype=torch.float32,
            output_loading_info=True,
            **changes,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as problem:
        reason = re.sub(r"\s+", " ", str(problem))[:300]
        raise ModelUnavailable(
            f"{folder} holds no Audio Spectrogram Transformer that can be loaded: {reason}"
        ) from problem
    missing = sorted(told["missing_keys"])
    if missing:
        # transformers would fill them with random numbers and say so in passing.
        raise ModelUnavailable(f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}")
    return model


def _named(labels: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)}}
