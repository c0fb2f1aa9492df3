"""How exported files come to be: beside their place first, then there at once. Nobody ever opens half a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path


def written(path: Path, write: Callable[[Path], object]) -> Path:
    """`path`, when `write` has filled a file beside it that then took its place."""
    beside = path.with_name(f".{path.name}.part")
    write(beside)
    beside.replace(path)
    return path


def write_text(path: Path, text: str) -> Path:
    """`path`, holding `text` in UTF-8."""
    return written(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def copy_model(folder: Path, name: str, to: Path) -> list[Path]:
    """`NAME.safetensors` and `NAME.json` in `to`: the weights and the configuration of the model in `folder`."""
    return [
        written(to / f"{name}{suffix}", lambda beside, source=source: shutil.copyfile(folder / source, beside))  # type: ignore[misc]
        for source, suffix in (("model.safetensors", ".safetensors"), ("config.json", ".json"))
    ]


def write_state_dict(folder: Path, path: Path) -> Path:
    """`path`, holding the weights of the model in `folder` as a state dict, for programs that load nothing else."""
    import torch
    from safetensors.torch import load_file

    return written(path, lambda beside: torch.save(load_file(folder / "model.safetensors"), beside))
