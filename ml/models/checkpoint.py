"""Weights that somebody else trained: read without running anything, and laid over a network as far as they fit."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ml.models.hub import WEIGHTS, ModelUnavailable

PICKLED = (".pth", ".pt")
WRAPPED = ("state_dict", "model_state_dict", "model")
"""Names under which training programs put the weights in a file with other things."""
PARALLEL = "module."
"""What torch puts before every name when it trains on several GPUs."""
NAMED = 3
"""Weights of each kind that a note lists."""


def load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights in `path` by name: a model's folder, a .safetensors, or a .pth or .pt with a state dict.

    Nothing in it is run: pickled files are read for tensors only. Raises `ModelUnavailable`.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ModelUnavailable(f"{file} is no file that is there; give the whole path of {_accepted()}")
    try:
        if file.suffix == ".safetensors":
            return _weights_in(load_file(file), file)
        if file.suffix in PICKLED:
            return _weights_in(_tensors_in(file), file)
    except pickle.UnpicklingError as problem:
        raise ModelUnavailable(
            f"{file} is pickled and holds more than weights{_asked_for(problem)}; reading it could run code, so it is "
            f"refused. Save the state dict alone: torch.save(model.state_dict(), …)"
        ) from None
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, SafetensorError) as problem:
        said = " ".join(str(problem).split())[:200] or "it ends too soon"
        raise ModelUnavailable(
            f"{file} holds no weights that can be read; it is damaged, or of another kind than its name says ({said})"
        ) from None
    raise ModelUnavailable(f"{file} ends in {file.suffix or 'nothing'}; what can be read is {_accepted()}")


def transfer(model: nn.Module, state: Mapping[str, Tensor], where: str) -> list[str]:
    """Lays over `model` what fits of the weights `state`; sentences about what did not.

    `where` names the weights to a person. Raises `ModelUnavailable` where nothing fits.
    """
    own = model.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
    weights = [name for name in own if not name.endswith("num_batches_tracked")]
    if not any(name in fitting for name in weights):
        raise ModelUnavailable(
            f"{where} holds {len(state)} weights, of which none has the name and shape of one of this network's: "
            f"it is another network, or model.channels differ"
        )
    model.load_state_dict(fitting, strict=False)
    others = [name for name in state if name in own and name not in fitting]
    return [
        f"{where}: {_listed(names)} {said}"
        for names, said in (
            ([name for name in weights if name not in state], "missing in it, left as drawn"),
            (others, "of another shape, left as drawn"),
            ([name for name in state if name not in own], "unknown to this network, not used"),
        )
        if names
    ]


def _tensors_in(file: Path) -> object:
    with warnings.catch_warnings():
        # Of an unusual protocol it says that it may not be understood; then the reading fails and is told.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(file, map_location="cpu", weights_only=True)


def _weights_in(found: object, file: Path) -> dict[str, Tensor]:
    if isinstance(found, Mapping):
        for name in WRAPPED:
            if isinstance(found.get(name), Mapping):
                found = found[name]
                break
    if (
        not isinstance(found, Mapping)
        or not found
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items())
    ):
        raise ModelUnavailable(f"{file} holds no state dict, which is weights by their names")
    for name, value in found.items():
        if value.device.type != "cpu" or value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise ModelUnavailable(f"{file}: {name} is no plain array of numbers, as a network's weights are")
        if not value.isfinite().all():
            raise ModelUnavailable(f"{file}: {name} holds infinite numbers or none (NaN); its training went astray")
    return {name.removeprefix(PARALLEL): value for name, value in found.items()}


def _accepted() -> str:
    return f"a folder with {WEIGHTS}, a .safetensors or a state dict in {' or '.join(PICKLED)}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def _asked_for(problem: Exception) -> str:
    """Out of torch's pages on how to switch the protection off."""
    found = re.search(r"GLOBAL (\S+)", str(problem))
    return f", it asks for {found[1]}" if found else ""
