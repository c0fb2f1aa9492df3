"""The kinds of files that can be data: which endings they have, what they are called, and who looks at them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from ml.data.audio import SUFFIXES
from ml.data.examination import AudioLimits, examine
from ml.data.pictures import PICTURE_SUFFIXES, PictureLimits, examine_picture
from ml.data.verdict import FileFacts

Medium = Literal["audio", "picture"]

ENDINGS: dict[Medium, frozenset[str]] = {"audio": SUFFIXES, "picture": PICTURE_SUFFIXES}


def endings(media: Iterable[Medium]) -> frozenset[str]:
    """The endings, in small letters, that the files of these kinds have."""
    return frozenset().union(*(ENDINGS[medium] for medium in media))


def called(media: Collection[Medium]) -> str:
    """What one file of these kinds is called in a sentence: "audio file", "picture", "picture or audio file"."""
    names: dict[Medium, str] = {"picture": "picture", "audio": "audio file"}
    return " or ".join(name for medium, name in names.items() if medium in media)


def examine_file(path: Path, sound: AudioLimits, picture: PictureLimits) -> FileFacts:
    """The verdict on one file, as a picture or as sound by its ending: what else it may be is part of the verdict."""
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return examine_picture(path, picture)
    return examine(path, sound)
