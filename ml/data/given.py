"""Data that somebody has divided already, into train, val and test: taken as given, and only looked at for leaks.

What is missing is not made up: without a val folder validation is cut from train, because epochs and trials must be
chosen on something; without a test folder there is no test part.
"""

from __future__ import annotations

import logging

import pandas as pd

from ml.data.leakage import KINDS
from ml.data.naming import given_part
from ml.data.split import COLUMNS, PARTS, SplitConfig, TooFewRecordings, accepted, place_recordings

log = logging.getLogger(__name__)

JUDGES_FIRST = ("test", "validation", "train")
"""Of two copies stays the one that judges."""


def has_given_parts(files: pd.DataFrame) -> bool:
    """Whether the accepted files of an inventory lie in folders of parts, all of them; a class may be called train."""
    used = files[files["state"] != "rejected"]
    return len(used) > 0 and all(
        given_part(path) is not None and not path.startswith(f"{label}/")
        for path, label in zip(used["path"], used["label"], strict=True)
    )


def given_split(
    files: pd.DataFrame, config: SplitConfig, frozen: pd.DataFrame | None, *, leave_out_leaks: bool
) -> pd.DataFrame:
    """The accepted `files` with the part whose folder they lie in: path, label, group, content_hash, part.

    Without a val folder, validation is cut from train as `split_recordings` cuts, in the proportion that `config` has;
    there `frozen` is an earlier result and none of its groups moves. What lies in two given parts is left for the check
    to find, or with `leave_out_leaks` left out where it would be trained on or chosen by.
    """
    kept = accepted(files)
    given = kept.assign(part=kept["path"].map(given_part))
    _require_usable_parts(files, given)
    leaking = leaking_rows(given)
    if len(leaking):
        counts = leaking["part"].value_counts()
        said = " and ".join(f"{counts[part]} files of {part}" for part in PARTS if part in counts)
        about = f"{said} are also in a part that judges them (same content, same picture or sound, or same group)"
        if leave_out_leaks:
            log.warning("%s: left out", about)
            given = given.drop(leaking.index)
        else:
            log.warning(
                "%s: results would look better than they are. Remove these copies, or set `leave_out_leaks: true` "
                "to leave them out",
                about,
            )
    if not (files["path"].map(given_part) == "validation").any():
        given = _with_validation(given, config, frozen)
    _require_train_and_validation(given, len(leaking) if leave_out_leaks else 0)
    return given.sort_values("path").reset_index(drop=True)[COLUMNS]


def leaking_rows(given: pd.DataFrame) -> pd.DataFrame:
    """Of accepted files with their part: what shares content, sound or group with a part that judges it."""
    judging = given[given["part"] == JUDGES_FIRST[0]]
    found = [given.iloc[:0]]
    for part in JUDGES_FIRST[1:]:
        rows = given[given["part"] == part]
        shared = pd.Series(False, index=rows.index)
        for column in KINDS.values():
            shared |= rows[column].isin(set(judging[column]) - {""})
        found.append(rows[shared])
        judging = pd.concat([judging, rows[~shared]])
    return pd.concat(found)


def _with_validation(given: pd.DataFrame, config: SplitConfig, frozen: pd.DataFrame | None) -> pd.DataFrame:
    """Validation cut from train: by group, class by class, seeded, and as it was cut before."""
    together = config.train + config.validation
    shares = {"train": config.train / together, "validation": config.validation / together}
    rows = given[given["part"] == "train"].reset_index(drop=True)
    cut = place_recordings(rows, shares, config.seed, frozen)
    return pd.concat([cut, given.loc[given["part"] == "test", COLUMNS]], ignore_index=True)


def _require_usable_parts(files: pd.DataFrame, given: pd.DataFrame) -> None:
    """A part whose folder holds nothing but rejected files is a mistake, not a part that was left out."""
    usable = set(given["part"])
    there = files["path"].map(given_part).value_counts()
    if "train" not in usable and "train" not in there:
        raise TooFewRecordings(
            f"the source is divided already ({', '.join(sorted(usable))}), but nothing lies in train/ to learn from; "
            "add that folder, or put the class folders side by side to have them divided"
        )
    for part in (part for part in PARTS if part in there and part not in usable):
        raise TooFewRecordings(
            f"all {there[part]} files of the given part {part} are rejected; correct them (see the inventory)"
            + (", or take its folder away" if part != "train" else "")
        )


def _require_train_and_validation(split: pd.DataFrame, left_out: int) -> None:
    have = {part: set(split.loc[split["part"] == part, "label"]) for part in ("train", "validation")}
    lacking = [
        f"{name} has none in {part}" for name in sorted(set(split["label"])) for part in have if name not in have[part]
    ]
    if lacking:
        why = f" ({left_out} files were left out, because copies of them are in another part)" if left_out else ""
        raise TooFewRecordings(
            f"every class needs files to train and to validate on: {', '.join(lacking)}{why}. "
            "Add files of that class, or take all its folders away"
        )
