"""Recordings that belong to one another by their names: `noisy/x/a.wav` is `clean/x/a.flac` with noise."""

from __future__ import annotations

from pathlib import PurePosixPath

from ml.data.naming import given_part


def pair_name(path: str) -> str:
    """What the two files of a pair have in common: `path` (CLASS/…/file or PART/CLASS/…/file) without class and ending.

    Whatever the class folders are called; the part stays, because a pair lies in one.
    """
    part = given_part(path)
    parts = PurePosixPath(path).parts
    below = PurePosixPath(*parts[2 if part else 1 :]).with_suffix("")
    return f"{part or ''}/{below}"
