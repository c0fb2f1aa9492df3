"""Pretrained weights: a local folder, what was downloaded before, or the Hugging Face hub, in this order.

Only safetensors are taken: a pickled file can run code when it is read.
"""

from __future__ import annotations

import re
from pathlib import Path

FILES = ("config.json", "model.safetensors")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
SECONDS_TO_ANSWER = 5.0


class ModelUnavailable(RuntimeError):
    """Pretrained weights that cannot be had; says what a person can do."""


def weights_folder(pretrained: str) -> Path:
    """A folder with config.json and model.safetensors of `pretrained`, a local folder or a name on the hub."""
    local = Path(pretrained).expanduser()
    if local.is_dir():
        _check(local)
        return local
    if not HUB_NAME.fullmatch(pretrained):
        raise ModelUnavailable(
            f"pretrained is {pretrained!r}: no such folder, and no name on the hub (owner/model); "
            f"give a folder with {' and '.join(FILES)}, or null for random weights"
        )
    return _downloaded(pretrained) or _download(pretrained)


def _check(folder: Path) -> None:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if not missing:
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt"})
    said = f"; {', '.join(pickled)} is pickled, can run code when read, and is not loaded" if pickled else ""
    raise ModelUnavailable(
        f"pretrained is the folder {folder}, which has no {' and no '.join(missing)}{said}; "
        f"download the model's {' and '.join(FILES)} into it, or set pretrained to null for random weights"
    )


def _downloaded(name: str) -> Path | None:
    """From an earlier download, without asking the network: a night needs no hub, and gets the same weights."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = [Path(hf_hub_download(name, file, local_files_only=True)) for file in FILES]
    except (LocalEntryNotFoundError, OSError):
        return None
    return found[0].parent


def _download(name: str) -> Path:
    from huggingface_hub import get_session, hf_hub_download, hf_hub_url

    try:
        # Asked once, here, because the client itself asks six times over more than twenty seconds.
        answer = (
            get_session()
            .head(hf_hub_url(name, FILES[1]), timeout=SECONDS_TO_ANSWER, follow_redirects=False)
            .status_code
        )
    except Exception as problem:  # the client's own, the transport's, or offline mode's: it says no in many ways
        raise _unreachable(name, str(problem)) from problem
    if answer >= 400:
        raise ModelUnavailable(
            f"the hub answers {answer} for {FILES[1]} of pretrained {name!r}: is the name right, and does the model "
            f"have safetensors (pickled weights are not loaded)? Or give a local folder, or null for random weights"
        )
    try:
        found = [Path(hf_hub_download(name, file)) for file in FILES]
    except Exception as problem:
        raise _unreachable(name, str(problem)) from problem
    return found[0].parent


def _unreachable(name: str, reason: str) -> ModelUnavailable:
    short = re.sub(r"\s+", " ", reason)[:200]
    return ModelUnavailable(
        f"the pretrained weights {name!r} are not on this machine, and the Hugging Face hub cannot be reached "
        f"({short}). Either connect this machine to the internet once, they are then kept; or download "
        f"{' and '.join(FILES)} elsewhere into a folder and set model.pretrained to it. "
        f"(null trains from random weights.)"
    )
