"""Networks in folders: weights as safetensors, and config.json with what the network and Nocturne say of them.

Nothing is pickled. transformers can load the folder of a network of its kinds too, and it can be the `pretrained` of a
later trial. transformers is imported for such networks only: a stream that is denoised does not wait for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ml.models.hub import WEIGHTS, ModelUnavailable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EXTRA = "nocturne"
"""Where config.json holds what Nocturne says beside what transformers says."""

ROOMS = {
    "audio-spectrogram-transformer": "ml.models.ast",
    "resnet": "ml.models.resnet",
    "drumcnn": "ml.models.drumcnn",
    "unet1d": "ml.models.unet1d",
}
"""The module of each kind of network, by the `model_type` of its configuration; its `restore` loads a folder."""

Network = TypeVar("Network", bound="PreTrainedModel")


def save_model(model: nn.Module, folder: Path, extra: dict[str, Any]) -> None:
    """Writes model.safetensors and config.json into the existing `folder`; `extra` (JSON values) is in the latter."""
    of_transformers: Any = model if hasattr(model, "save_pretrained") else None
    if of_transformers is not None:
        _silence_transformers()
        setattr(of_transformers.config, EXTRA, extra)
        of_transformers.save_pretrained(folder, max_shard_size="100GB")
        return
    said: Any = model.config
    text = json.dumps({"model_type": said.model_type, **said.identity(), EXTRA: extra}, indent=2, sort_keys=True)
    save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def load_model(folder: Path) -> nn.Module:
    """The model that `save_model` wrote, in eval mode on the CPU. Raises `ModelUnavailable` where there is none."""
    kind = _said(folder).get("model_type")
    if kind not in ROOMS:
        raise ModelUnavailable(f"{folder} holds a network of the kind {kind!r}; known are {', '.join(ROOMS)}")
    model: nn.Module = import_module(ROOMS[kind]).restore(folder)
    return model.eval()


def saved_extra(folder: Path) -> dict[str, Any]:
    """The `extra` that `save_model` wrote."""
    return dict(_said(folder).get(EXTRA, {}))


def said_settings(folder: Path) -> dict[str, Any]:
    """What config.json says of a network of our own: its settings alone."""
    return {name: value for name, value in _said(folder).items() if name not in ("model_type", EXTRA)}


def load_own_weights(model: nn.Module, folder: Path, what: str) -> None:
    """Puts the weights in `folder` into `model`, a network of our own that `what` names to a person.

    Raises `ModelUnavailable` where they are damaged, or are not the weights of this network.
    """
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as problem:
        raise _unloadable(folder, what, problem) from problem


def load_whole(
    kind: type[Network], folder: Path, what: str, *, ours: Mapping[str, Any] | None = None, **changes: Any
) -> Network:
    """The `kind` in `folder`, in fp32, with `changes` of its configuration; `what` names the network to a person.

    `ours` are settings that transformers does not know; it would take them for arguments of the network.
    Raises `ModelUnavailable` where it is another network or a part of one.
    """
    _silence_transformers()
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
        raise _unloadable(folder, what, problem) from problem
    missing = sorted(name for name in told["missing_keys"] if not name.endswith("num_batches_tracked"))
    if missing:
        # transformers would fill them with random numbers and say so in passing.
        raise ModelUnavailable(f"{folder}: {len(missing)} weights are missing, the first is {missing[0]}")
    return model


def names_of(labels: Any) -> dict[str, Any]:
    """`labels` as transformers' configurations say them."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: number for number, label in enumerate(labels)}}


def _said(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:  # the last: brackets in brackets, thousands of them
        raise _unloadable(folder, "network", problem) from problem
    if not isinstance(said, dict):
        raise ModelUnavailable(f"{folder} holds no network that can be loaded: its config.json is no list of settings")
    return said


def _unloadable(folder: Path, what: str, problem: Exception) -> ModelUnavailable:
    reason = re.sub(r"\s+", " ", str(problem))[:300]
    return ModelUnavailable(f"{folder} holds no {what} that can be loaded: {reason}")


def _silence_transformers() -> None:
    """A bar per model, for a second's work, hides what matters in a night's log."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
