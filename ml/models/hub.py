"""Pretrained weights: a local folder, what was downloaded before, or the Hugging Face hub, in this order.

Only safetensors are taken: a pickled file can run code when it is read.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

WEIGHTS = "model.safetensors"
FILES = ("config.json", WEIGHTS)
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
SECONDS_TO_ANSWER = 5.0


class ModelUnavailable(RuntimeError):
    """Pretrained weights that cannot be had; says what a person can do."""


def weights_folder(pretrained: str) -> Path:
    """A folder with config.json and model.safetensors of `pretrained`, a local folder or a name on the hub."""
    local = local_folder(pretrained)
    if local is not None:
        _check(local)
        return local
    return _downloaded(pretrained) or _download(pretrained)


def local_folder(pretrained: str) -> Path | None:
    """The folder that `pretrained` names by its whole path (or from ~); None for a name on the hub.

    A path that begins anywhere else would mean another folder for each folder a program is started in: `ValueError`.
    """
    local = Path(pretrained).expanduser()
    if local.is_absolute():
        return local
    if not HUB_NAME.fullmatch(pretrained):
        raise ValueError(
            f"neither the whole path of a folder with {' and '.join(FILES)} (from / or ~, or a drive's letter), "
            f"nor a name on the hub (owner/model), nor null for random weights"
        )
    return None


def identity(pretrained: str) -> str:
    """What `pretrained` stands for in a trial's identity: a name on the hub itself, a folder by what is in it.

    So other weights in the same folder make another trial, and the same weights elsewhere do not. A folder that is not
    whole stands for its path; training with it is refused.
    """
    local = local_folder(pretrained)
    if local is None or not all((local / name).is_file() for name in FILES):
        return pretrained
    return ", ".join(f"{name} {content(local / name)}" for name in FILES)


def content(file: Path) -> str:
    """SHA-256 of `file`; read again only when its size or its time of change is another."""
    stat = file.stat()
    return _sha256(file, stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(file: Path, size: int, modified_ns: int) -> str:
    """Of the file as it is while size and time of change stay: hundreds of megabytes, asked for at every look."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelUnavailable(
            f"pretrained is the folder {folder}, which is not there; correct the path, or give a name on the hub "
            f"(owner/model), or null for random weights"
        )
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
            f"have safetensors (pickled weights are not loaded)? Or give a local folder's whole path, or null "
            f"for random weights"
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
        f"{' and '.join(FILES)} elsewhere into a folder and set model.pretrained to its whole path. "
        f"(null trains from random weights.)"
    )
