"""Recordings that belong to one another by their names: `noisy/x/a.wav` is `clean/x/a.flac` with noise."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from ml.data.naming import given_part

MARK = "as a pair: "
"""How a sentence on a pair begins, always the last of a problem: it is taken back when the other file has changed."""

CUT_SECONDS, CUT_SHARE = 0.05, 0.001
"""How much longer one of a pair may be, in seconds or as a share of it, to be cut at its end; an encoder adds as much.
With more they are two different recordings, or begin at different moments."""


def pair_name(path: str) -> str:
    """What the two files of a pair have in common: `path` (CLASS/…/file or PART/CLASS/…/file) without class and ending.

    Whatever the class folders are called; the part stays, because a pair lies in one.
    """
    part = given_part(path)
    parts = PurePosixPath(path).parts
    below = PurePosixPath(*parts[2 if part else 1 :]).with_suffix("")
    return f"{part or ''}/{below}"


def unmarked(files: pd.DataFrame) -> pd.DataFrame:
    """An inventory's rows as they were before `mark_pairs`: what each file is by itself."""
    marked = files["problem"].str.contains(MARK, regex=False)
    if not marked.any():
        return files
    own = files.loc[marked, "problem"].map(lambda problem: problem.partition(MARK)[0].removesuffix("; "))
    after = files.copy()
    after.loc[marked, "problem"] = own
    after.loc[marked, "state"] = own.map(lambda problem: "warned" if problem else "ok")
    return after


def mark_pairs(files: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The usable files of the classes `first` and `second` with a verdict on each as one of a pair.

    Rejected are files without a partner, and pairs of which one is much longer; a little is cut off, and rates may
    differ. The two of a pair become one group.
    """
    rows = files.to_dict("list")
    named: dict[str, dict[str, list[int]]] = {first: defaultdict(list), second: defaultdict(list)}
    for place, (path, label) in enumerate(zip(rows["path"], rows["label"], strict=True)):
        if label in named:
            named[label][pair_name(path)].append(place)
    for name in sorted(named[first].keys() | named[second].keys()):
        both = named[first][name] + named[second][name]
        usable = {label: [row for row in named[label][name] if rows["state"][row] != "rejected"] for label in named}
        one, other = usable[first], usable[second]
        if len(one) == len(other) == 1:
            rows["group"][other[0]] = rows["group"][one[0]]
            _judge_together(rows, one[0], other[0])
            continue
        for label, lacking in ((first, second), (second, first)):
            for row in usable[label]:
                _mark(rows, row, "rejected", _why_alone(rows, row, label, lacking, usable, both))
    return files.assign(group=rows["group"], state=rows["state"], problem=rows["problem"])


def _why_alone(
    rows: dict[str, list[Any]], row: int, label: str, lacking: str, usable: dict[str, list[int]], both: list[int]
) -> str:
    for name in (label, lacking):
        if len(usable[name]) > 1:
            alike = ", ".join(repr(rows["path"][other]) for other in usable[name])
            return f"{len(usable[name])} files of {name} have one name ({alike}); keep one of them"
    refused = next((other for other in both if rows["label"][other] == lacking), None)
    if refused is not None:
        return f"its partner {rows['path'][refused]!r} is rejected: {rows['problem'][refused]}"
    return f"there is no {PurePosixPath(rows['path'][row]).stem!r} in {lacking}; add it, or take this file away"


def _judge_together(rows: dict[str, list[Any]], one: int, other: int) -> None:
    """What the lengths and rates of the two say: the sentence stands beside the file that is changed."""
    short, long = sorted((one, other), key=lambda row: float(rows["seconds"][row]))
    lengths = [float(rows["seconds"][row]) for row in (short, long)]
    longer = lengths[1] - lengths[0]
    if longer > max(CUT_SECONDS, CUT_SHARE * lengths[1]):
        for row, partner in ((one, other), (other, one)):
            own, its = float(rows["seconds"][row]), float(rows["seconds"][partner])
            _mark(
                rows,
                row,
                "rejected",
                f"it has {own:.2f} s and {rows['path'][partner]!r} has {its:.2f} s: they do not lie upon one "
                "another; cut them alike",
            )
        return
    found = []
    if longer * max(rows["rate"][short], rows["rate"][long]) > 1:
        found.append(f"{1000 * longer:.1f} ms longer than {rows['path'][short]!r}, cut off at the end")
    if rows["rate"][long] != rows["rate"][short]:
        found.append(f"{rows['rate'][long]} Hz beside {rows['rate'][short]} Hz of {rows['path'][short]!r}, resampled")
    if found:
        _mark(rows, long, "warned", "; ".join(found))


def _mark(rows: dict[str, list[Any]], row: int, state: str, sentence: str) -> None:
    before = rows["problem"][row]
    rows["problem"][row] = f"{before}; {MARK}{sentence}" if before else f"{MARK}{sentence}"
    rows["state"][row] = state
