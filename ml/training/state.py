"""The state after an epoch, on disk: weights and optimizer as safetensors, plain numbers as JSON. Nothing is pickled.

`weights.safetensors` is the model's state dict. `optimizer.safetensors` holds the optimizer's tensors as
`<number of the parameter>.<name>`, `state.json` its plain numbers and its parameter groups.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS, OPTIMIZER, SCALARS = "weights.safetensors", "optimizer.safetensors", "state.json"


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Writes all three files into the existing `folder`. Making them durable is the shelf's task."""
    said = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for number, values in said["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = value
            else:
                scalars.setdefault(str(number), {})[name] = value
    save_file(_on_disk(model.state_dict()), folder / WEIGHTS)
    save_file(_on_disk(tensors), folder / OPTIMIZER)
    text = json.dumps({"scalars": scalars, "groups": said["param_groups"]}, sort_keys=True)
    (folder / SCALARS).write_text(text, encoding="utf-8")


def load_weights(folder: Path, model: nn.Module) -> None:
    """Puts the weights of the state in `folder` into `model`, on whichever device that is."""
    model.load_state_dict(load_file(folder / WEIGHTS))


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Puts weights and optimizer of the state in `folder` into a fresh `model` and its fresh `optimizer`."""
    load_weights(folder, model)
    said = json.loads((folder / SCALARS).read_text(encoding="utf-8"))
    state: dict[int, dict[str, Any]] = {int(number): dict(values) for number, values in said["scalars"].items()}
    for place, tensor in load_file(folder / OPTIMIZER).items():
        number, _, name = place.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    groups = [
        # JSON knows no tuples: what is one in the fresh optimizer (betas) becomes one again.
        {name: tuple(value) if isinstance(fresh.get(name), tuple) else value for name, value in group.items()}
        for group, fresh in zip(said["groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    _lay_out_like_parameters(optimizer)


def _on_disk(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As safetensors wants them: on the CPU, contiguous, each with memory of its own (tied weights are not)."""
    seen: set[int] = set()
    ready: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        ready[name] = own.clone() if own.data_ptr() in seen else own
        seen.add(own.data_ptr())
    return ready


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Gives restored tensors the strides of their parameters: a file knows no channels_last, and a fused step walks
    parameter and moments by the same addresses."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
