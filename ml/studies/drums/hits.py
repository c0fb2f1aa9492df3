"""How a hit is named: by the file it is in, its time there and its component. A one-shot is named by its file."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ml.data.components import component_named

if TYPE_CHECKING:
    import pandas as pd

_BEHIND = re.compile(r"(?P<seconds>\d+\.\d{3}) [a-z0-9_]+\Z")


class Place(NamedTuple):
    """Where a hit lies."""

    audio: str
    """Path of the sound inside the source, POSIX."""
    seconds: float | None
    """When it begins; None: the file is a one-shot, which begins where it becomes loud."""


def hit_path(audio: str, milliseconds: int, component: str) -> str:
    """The name of a hit of a song, such as `songs/rock.flac#1.250 kick`: unique, and readable in any table."""
    return f"{audio}#{milliseconds / 1000:.3f} {component}"


def place_of(path: str) -> Place:
    """Where the hit with this name lies."""
    audio, _, behind = path.rpartition("#")
    found = _BEHIND.match(behind) if audio else None
    return Place(path, None) if found is None else Place(audio, float(found["seconds"]))


def places_of(paths: pd.Series) -> pd.DataFrame:
    """Columns audio and seconds (NaN for a one-shot): `place_of` of each, with the index of `paths`."""
    import pandas as pd

    audio, seconds = zip(*map(place_of, paths.tolist()), strict=True) if len(paths) else ((), ())
    return pd.DataFrame({"audio": audio, "seconds": seconds}, index=paths.index).astype({"seconds": "float64"})


def is_single(audio: str, component: str) -> bool:
    """Whether a sound with one hit, of this component, is nothing but that hit, cut out of a song: by its folder."""
    return component_named(PurePosixPath(audio).parent.name) == component
