"""What lies in the folder of a trial: its attempts as names of files, and what a killed writer left there."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from storage import durable
from storage.names import BadName, check_name
from storage.record import NEW

_BEGUN = ".begun.json"


def begun_file(place: Path, number: int) -> Path:
    """The file that says that attempt `number` began."""
    return place / f"{number:06d}{_BEGUN}"


def attempts(place: Path) -> dict[int, bool]:
    """Every attempt that began, in order, and whether it left a record."""
    found: dict[int, bool] = {}
    for name in names(place):
        if name.isdigit():
            found[int(name)] = True
        elif name.endswith(_BEGUN):
            found.setdefault(int(name.removesuffix(_BEGUN)), False)
    return dict(sorted(found.items()))


def numbers(place: Path) -> list[int]:
    """The records in `place`, healthy or not, oldest first."""
    return sorted(int(name) for name in names(place) if name.isdigit())


def begun_numbers(place: Path) -> list[int]:
    """The attempts that said so when they began, oldest first."""
    return sorted(int(name.removesuffix(_BEGUN)) for name in names(place) if name.endswith(_BEGUN))


def last_begun(place: Path) -> int:
    """Number of the newest attempt, 0 where there is none."""
    return max(attempts(place), default=0)


def names(place: Path) -> list[str]:
    """What lies in `place`; nothing where there is no such folder."""
    try:
        return os.listdir(place)  # noqa: PTH208 - a publishing asks this of a thousand trials
    except FileNotFoundError:
        return []


def folders(place: Path) -> list[str]:
    """The names in `place` that can be a study, a trial or a kind of account, sorted."""
    found = []
    for name in names(place):
        with contextlib.suppress(BadName):
            found.append(check_name(name, "name"))
    return sorted(found)


def sweep(place: Path) -> None:
    """Removes what a killed writer left; the caller holds the lock under which such things are written."""
    for left in place.glob(f"{NEW}*"):
        shutil.rmtree(left, ignore_errors=True)
    durable.sweep(place)


def refuse_twin(place: Path) -> None:
    """Two names that differ in case only are one folder on Windows and macOS; a lab may travel."""
    for name in names(place.parent):
        if name != place.name and name.casefold() == place.name.casefold():
            raise BadName(f"{place.name!r} cannot be used: there is {name!r} already, and they differ in case only")
