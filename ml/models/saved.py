"""Networks in folders: weights as safetensors, and config.json with what transformers and Nocturne say of them.

Nothing is pickled. transformers can load such a folder too, and it can be the `pretrained` of a later trial.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from ml.models.hub import ModelUnavailable

EXTRA = "nocturne"
"""Where config.json holds what Nocturne says beside what transformers says."""

ROOMS = {"audio-spectrogram-transformer": "ml.models.ast", "resnet": "ml.models.resnet"}
"""The module of each kind of network, by the name that transformers gives the kind; its `restore` loads a folder."""

Network = TypeVar("Network", bound=PreTrainedModel)

disable_progress_bar()  # a bar per model, for a second's work, hides what matters in a night's log


def save_model(model: nn.Module, folder: Path, extra: dict[str, Any]) -> None:
    """Writes model.safetensors and config.json into the existing `folder`; `extra` (JSON values) is in the latter."""
    assert isinstance(model, PreTrainedModel)
    setattr(model.config, EXTRA, extra)
    model.save_pretrained(folder, max_shard_size="100GB")


def load_model(folder: Path) -> nn.Module:
    """The model that `save_model` wrote, in eval mode on the CPU."""
    kind = _said(folder).get("model_type")
    if kind not in ROOMS:
        raise ModelUnavailable(f"{folder} holds a network of the kind {kind!r}; known are {', '.join(ROOMS)}")
    model: nn.Module = import_module(ROOMS[kind]).restore(folder)
    return model.eval()


def saved_extra(folder: Path) -> dict[str, Any]:
    """The `extra` that `save_model` wrote."""
    return dict(_said(folder).get(EXTRA, {}))


def load_whole(
    kind: type[Network], folder: Path, what: str, *, ours: Mapping[str, Any] | None = None, **changes: Any
) -> Network:
    """The `kind` in `folder`, in fp32, with `changes` of its configuration; `what` names the network to a person.

    `ours` are settings that transformers does not know; it would take them for arguments of the network.
    Raises `ModelUnavailable` where it is another network or a part of one.
    """
    try:
        if ours is not None:
            changes["config"] = kind.config_class.from_pretrained(folder, local_files_only=True)
            for name, value in ours.items():
                setattr(changes["config"], name, value)
        model, told = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **changes,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as problem:
        reason = re.sub(r"\s+", " ", str(problem))[:300]
        raise ModelUnavailable(f"{folder} holds no {what} that can be loaded: {reason}") from problem
    missing = sorted(name for name in told["missing_keys"] if not name.endswith("num_batches_tracked"))
    if missing:
        # transformers would fill them with random numbers and say so in passing.
        raise ModelUnavailable(f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}")
    return model


def names_of(labels: Any) -> dict[str, Any]:
    """`labels` as transformers' configurations say them."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)}}


def _said(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
