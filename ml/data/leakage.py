"""What must never be on two sides of a split, found by looking at the finished split itself."""

from __future__ import annotations

import pandas as pd

from ml.config import fingerprint

KINDS = {"group": "group", "content": "content_hash", "sound": "sound_hash"}
"""What may leak, and the column of the inventory that shows it."""


def leaks(files: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Every group, identical file and identical sound that lies in more than one part; empty when the split is clean.

    Columns: kind ("group", "content" or "sound"), value, parts and paths (lists).
    """
    known = files.drop_duplicates("path").set_index("path")
    found = []
    for kind, column in KINDS.items():
        values = split["group"] if kind == "group" else split["path"].map(known[column])
        seen = split.assign(value=values)
        seen = seen[seen["value"].fillna("") != ""]
        sides = seen.drop_duplicates(["value", "part"])
        spread = sides.loc[sides["value"].duplicated(), "value"]
        for value, rows in seen[seen["value"].isin(spread)].groupby("value"):
            found.append((kind, value, sorted(set(rows["part"])), sorted(rows["path"])))
    return pd.DataFrame(found, columns=["kind", "value", "parts", "paths"])


def data_fingerprint(split: pd.DataFrame, files: pd.DataFrame) -> str:
    """Stands for what is trained, validated and tested on: contents, labels and parts, wherever the files lie."""
    known = files.drop_duplicates("path").set_index("path")["content_hash"]
    hashes = split["path"].map(known)
    return fingerprint(sorted(zip(hashes, split["label"], split["part"], strict=True)))
