"""Which files were cut from one recording, told from their names."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ml.config import ConfigError

PART_NUMBER = re.compile(
    r"""(?: [\s_.\-]+ (?:(?:part|pt|cut|cz|część|no|nr)[\s_.\-]*)? \d{1,3}   # x_part2, x-003, x 07, x cz. 2
        | [\s_.\-]* \(\d{1,3}\) )$                                           # x (4)""",
    re.VERBOSE | re.IGNORECASE,
)
DATE = re.compile(r"\d{4}([\s_.\-])\d{2}\1\d{2}$")
"""A name that ends in a date ends in no part number."""
COMMON = frozenset(
    {"track", "file", "audio", "rec", "recording", "take", "sample", "clip", "sound", "nagranie", "plik"}
)
"""Words that name no recording: what follows them is all that tells two recordings apart."""


def compiled(pattern: str | None) -> re.Pattern[str] | None:
    """The configured pattern, ready to use, or a sentence about what is wrong with it."""
    if pattern is None:
        return None
    try:
        found = re.compile(pattern)
    except re.error as problem:
        raise ConfigError(f"`group_pattern` is no regular expression: {problem}: {pattern!r}") from None
    if "group" not in found.groupindex:
        raise ConfigError(f"`group_pattern` lacks (?P<group>…) around what names the recording: {pattern!r}")
    return found


def group_of(
    path: PurePosixPath, pattern: re.Pattern[str] | None, *, part_numbers: bool = True, given_parts: bool = False
) -> str:
    """The recording that `path` (CLASS/…/file, or PART/CLASS/…/file with `given_parts`) was cut from.

    With a pattern: what it finds in the path below the class folder. Else the file's stem without its part number, so
    that a recording cut into several classes stays one group. A stem that is nothing but a number, a common word or the
    class's own name and a number says no more than itself: such a file is a recording of its own, and so is every file
    without `part_numbers`. Names alike in two given parts say nothing: who divided them has said they differ.
    """
    depth = 2 if given_parts else 1
    label, below = path.parts[depth - 1], PurePosixPath(*path.parts[depth:])
    if pattern is not None:
        match = pattern.search(below.as_posix())
        if match and match["group"]:
            return match["group"]
        return path.with_suffix("").as_posix()
    stem = below.stem.strip()
    bare = stem if DATE.search(stem) else PART_NUMBER.sub("", stem).strip()
    word = bare.strip(" _.-").casefold()
    if not part_numbers or not word or word.isdigit() or word in COMMON or word == label.casefold():
        return path.with_suffix("").as_posix()
    return f"{path.parts[0]}/{bare}" if given_parts else bare
