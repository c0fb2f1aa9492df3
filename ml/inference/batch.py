"""Many sound files and folders of them, denoised into one folder: one that is broken does not stop the others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.data.audio import SUFFIXES
from ml.inference.denoiser import Denoiser
from ml.inference.files import BEGINNING, WRITTEN, CannotWrite, Unreadable, denoise_file

INSTEAD = ".flac"
"""The ending of files whose own format loses sound each time it is written."""
PACE_SECONDS = 10.0
"""A file that takes longer says this often how far it is."""

Tell = Callable[[str], None]


@dataclass
class Plan:
    """What is to be written where, and what is not, in sentences."""

    files: list[tuple[Path, Path]] = field(default_factory=list)
    """Source and target."""
    there: list[Path] = field(default_factory=list)
    """Targets that exist and stay."""
    failed: list[str] = field(default_factory=list)


def plan_files(inputs: Sequence[Path], out: Path, *, overwrite: bool) -> Plan:
    """Every sound file that `inputs` are or hold, below `out` under the name that it has below its input."""
    plan, taken = Plan(), dict[Path, Path]()
    found = list(_found(inputs, out, plan))
    sources = {source.resolve() for source, _ in found}
    for source, name in found:
        target = out / name.with_suffix(name.suffix if name.suffix.lower() in WRITTEN else INSTEAD)
        if target.resolve() in sources:
            plan.failed.append(
                f"{shown(source)}: {shown(target)} is a source, and no source is written over; use another -o"
            )
        elif target in taken:
            plan.failed.append(
                f"{shown(source)}: would be written to {shown(target)}, as {shown(taken[target])} is; denoise it apart"
            )
        elif target.is_dir():
            plan.failed.append(f"{shown(source)}: {shown(target)} is a folder; use another -o")
        elif target.exists() and not overwrite:
            plan.there.append(target)
        else:
            plan.files.append((source, target))
        taken.setdefault(target, source)
    return plan


def denoise_files(denoiser: Denoiser, plan: Plan, tell: Tell) -> list[str]:
    """Denoises what is planned; the sentences of the files that failed. Every file is told of when it is done."""
    failed = []
    for number, (source, target) in enumerate(plan.files, 1):
        began = time.monotonic()
        try:
            _make(target.parent)
            notes = denoise_file(denoiser, source, target, _pacing(source, tell))
        except (Unreadable, OSError) as problem:
            reason = problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)
            failed.append(f"{shown(source)}: {reason}")
            tell(f"{number} of {len(plan.files)}: {shown(source)} FAILED: {reason}")
            continue
        except CannotWrite as problem:
            left = len(plan.files) - number
            failed.append(f"{shown(source)}: {problem}" + (f"; {left} more not begun" if left else ""))
            break
        said = "".join(f"; {note}" for note in notes)
        tell(f"{number} of {len(plan.files)}: {shown(target)} in {time.monotonic() - began:.1f} s{said}")
    return failed


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise CannotWrite(f"{shown(folder)}: cannot be made: {problem.strerror}; use another -o") from None


def shown(path: Path) -> str:
    """A path that can be printed, whatever bytes are in it."""
    return os.fsencode(path).decode("utf-8", "replace")


def _found(inputs: Sequence[Path], out: Path, plan: Plan) -> Iterator[tuple[Path, Path]]:
    """Sound files and their names below `out`, each file once."""
    seen: set[Path] = set()
    for given in inputs:
        if given.is_dir():
            pairs = [(path, path.relative_to(given)) for path in _below(given, out)]
            if not pairs:
                plan.failed.append(f"{shown(given)}: no sound files in it ({', '.join(sorted(SUFFIXES))})")
        elif not given.exists():
            pairs = []
            plan.failed.append(f"{shown(given)}: no such file or folder")
        else:
            pairs = [(given, Path(given.name))]
        for path, name in pairs:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path, name


def _below(folder: Path, out: Path) -> Iterator[Path]:
    """Sound files in `folder`, in order; not what was written to `out`, where that lies in it."""
    avoided = out.resolve()
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(name for name in folders if (here / name).resolve() != avoided)
        for name in sorted(names):
            path = here / name
            if path.suffix.lower() in SUFFIXES and not name.startswith((BEGINNING, "._")) and path.is_file():
                yield path


def _pacing(source: Path, tell: Tell) -> Callable[[float], None]:
    """Hears the share that is done and tells of it now and then."""
    began = said = time.monotonic()

    def progress(share: float) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= PACE_SECONDS and 0 < share < 1:
            said = now
            left = (now - began) * (1 - share) / share
            tell(f"   {shown(source)}: {100 * share:.0f} %, about {left:.0f} s left")

    return progress
