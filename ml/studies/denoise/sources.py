"""Where clean sound and noise come from: folders to be mixed, or pairs that somebody has recorded or mixed already."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pandas as pd

from ml.config import fingerprint
from ml.data.given import given_split, has_given_parts
from ml.data.inventory import Inventory, InventoryConfig, SourceError, take_inventory
from ml.data.listing import list_source
from ml.data.media import endings
from ml.data.pairs import MARK, mark_pairs, pair_name, unmarked
from ml.data.split import TooFewRecordings, split_recordings
from ml.data.split import data_fingerprint as fingerprint_of_files
from ml.data.split import leaks as leaks_of_files
from ml.studies.study import Progress
from ml.training.machine import processors

if TYPE_CHECKING:
    from ml.studies.denoise.config import DenoiseSettings

log = logging.getLogger(__name__)

__all__ = ["data_fingerprint", "divide", "leaks", "take"]


def take(source: Path, settings: DenoiseSettings, known: pd.DataFrame | None, progress: Progress | None) -> Inventory:
    """One row per file of clean/ and of what it is learnt with, each with a verdict, also as one of a pair."""
    said, notes = _what_is_used(source, settings.inventory)
    unused = set(settings.inventory.classes) - set(said.classes)
    before = None if known is None else unmarked(known)
    found = take_inventory(source, said, before, workers=processors(), progress=progress)
    files = found.files
    if "noisy" in said.classes:
        files = mark_pairs(files, "clean", "noisy")
        notes += _notes_on_pairs(source, files, said, notes)
    notes += [note for note in found.notes if not _is_of(note, unused, settings.inventory)]
    return Inventory(files, notes + _notes_on_lengths(files, settings) + _notes_on_rates(files, settings))


def divide(files: pd.DataFrame, settings: DenoiseSettings, frozen: pd.DataFrame | None) -> pd.DataFrame:
    """The part of every usable file: as the folders say, else by recording; the two of a pair lie in one part."""
    if has_given_parts(files):
        split = given_split(files, settings.split, frozen, leave_out_leaks=settings.leave_out_leaks)
    else:
        split = split_recordings(files, settings.split, frozen)
    split = _whole_pairs(split)
    _require_noise(split)
    return split


def leaks(files: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Speakers, songs and noises that lie in more than one part."""
    return leaks_of_files(files, split)


def data_fingerprint(files: pd.DataFrame, split: pd.DataFrame) -> str:
    """Contents, labels and parts; and which files are a pair, for that is said by their names alone."""
    known = files.drop_duplicates("path").set_index("path")["content_hash"]
    paired: dict[str, list[str]] = {}
    for path in split.loc[split["label"].isin(["clean", "noisy"]), "path"]:
        paired.setdefault(pair_name(path), []).append(known[path])
    if not (split["label"] == "noisy").any():
        paired = {}
    return fingerprint(fingerprint_of_files(split, files), sorted(sorted(pair) for pair in paired.values()))


def _what_is_used(source: Path, said: InventoryConfig) -> tuple[InventoryConfig, list[str]]:
    """The classes that the source is read for, all of which must then be there, and a sentence on what is not read."""
    listing = list_source(source, said.names, endings(said.media), given_parts=said.given_parts)
    there = Counter(entry.label for entry in listing.entries)
    if not there:  # what is wrong then is said better by the inventory
        return said, []
    aside = [note for note in listing.notes if "ignored" in note]
    found = f". Found: {'; '.join(aside)}" if aside else ""
    if not there["clean"]:
        raise SourceError(
            f"{source}: no sound in clean/: a network learns what is left when noise is taken away. Put recordings "
            f"without noise there{found}"
        )
    if not there["noise"] and not there["noisy"]:
        raise SourceError(
            f"{source}: clean/ has {there['clean']} files, but there is no sound in noise/ to mix them with, and none "
            "in noisy/ either. Put recordings of noise alone into noise/; or the noisy partner of each clean file, "
            f"with the same name, into noisy/{found}"
        )
    other = "noisy" if there["noisy"] else "noise"
    notes = []
    if there["noisy"] and there["noise"]:
        notes.append(
            f"noise: its {there['noise']} files are not used, because noisy/ is there: given pairs are taken as they "
            "are. Take noisy/ out of the source to have clean/ mixed with noise/ instead"
        )
    classes = ("clean", other)
    aliases = {name: said.aliases.get(name, ()) for name in classes}
    return said.model_copy(update={"classes": classes, "aliases": aliases, "all_classes": True}), notes


def _is_of(note: str, unused: set[str], said: InventoryConfig) -> bool:
    """Whether a note calls a folder strange that is known and has been spoken of."""
    folder, _, words = note.partition(": ")
    return words.startswith("not a class") and said.names.means(PurePosixPath(folder).name) in unused


def _notes_on_pairs(source: Path, files: pd.DataFrame, said: InventoryConfig, before: list[str]) -> list[str]:
    marked = files[files["problem"].str.contains(MARK, regex=False)]
    refused = marked[marked["state"] == "rejected"]
    usable = int(((files["state"] != "rejected") & (files["label"] == "noisy")).sum())
    first = "; ".join(f"{row.path!r}: {row.problem}" for row in refused.head(3).itertuples())
    rejected = int((files["state"] == "rejected").sum())
    if not usable or rejected > said.max_rejected_share * len(files):
        raise SourceError(
            f"{source}: {usable} pairs of clean/ and noisy/ can be used, {rejected} of {len(files)} files cannot: "
            f"more than the share of {said.max_rejected_share:g} at which it stops on purpose (`max_rejected_share`). "
            f"A noisy file belongs to the clean file of the same name. {'; '.join([*before, f'The first: {first}'])}"
        )
    notes = [f"{usable} pairs of clean/ and noisy/ are used as they are, nothing is mixed"]
    if len(refused):
        notes.append(f"{len(refused)} files are left out, because their pair is not whole: {first}")
    changed = marked[marked["state"] != "rejected"]
    if len(changed):
        row = changed.iloc[0]
        notes.append(
            f"{len(changed)} pairs differ a little and are made alike, such as {row['path']!r}: {row['problem']}"
        )
    return notes


def _notes_on_lengths(files: pd.DataFrame, settings: DenoiseSettings) -> list[str]:
    window = settings.trial.mix.segment_seconds
    short = files[(files["state"] != "rejected") & (files["seconds"] < window)]
    counts = Counter(short["label"])
    filled = {"clean": "silence follows them", "noisy": "silence follows them", "noise": "they are repeated"}
    return [
        f"{label}: {count} files are shorter than a window of {window:g} s; {filled.get(label, 'they are filled up')}"
        for label, count in sorted(counts.items())
    ]


def _notes_on_rates(files: pd.DataFrame, settings: DenoiseSettings) -> list[str]:
    """Sound that was recorded at a lower rate has nothing in the upper part of what the network works on."""
    rate = settings.features.sample_rate
    clean = files[(files["state"] != "rejected") & (files["label"] == "clean")]
    lower = clean[clean["rate"] < rate]
    if not len(lower):
        return []
    usual = int(lower["rate"].mode().iloc[0])
    said = f"clean: {len(lower)} of {len(clean)} files have less than {rate} Hz, mostly {usual}"
    if len(lower) == len(clean):
        return [f"{said}: nothing is learnt above {usual // 2} Hz; `features: {{sample_rate: {usual}}}` trains faster"]
    return [f"{said}: they have nothing above {usual // 2} Hz, and what is learnt there comes from the others"]


def _whole_pairs(split: pd.DataFrame) -> pd.DataFrame:
    """Without the files whose partner was left out, because a copy of it lies in a part that judges."""
    if not (split["label"] == "noisy").any():
        return split
    names = split["path"].map(pair_name)
    partners = split.groupby([names, split["part"]])["label"].transform("nunique")
    alone = split[partners < 2]
    if not len(alone):
        return split
    log.warning("%d files are left out with their partners, such as %s", len(alone), alone["path"].iloc[0])
    whole = split.drop(alone.index).reset_index(drop=True)
    empty = [part for part in ("train", "validation") if part not in set(whole["part"])]
    if empty:
        raise TooFewRecordings(
            f"no pair is left in {' and '.join(empty)}: copies of them lie in another part. Add pairs that are only "
            "there"
        )
    return whole


def _require_noise(split: pd.DataFrame) -> None:
    """Clean files of a part, even of the test alone, are of no use without noise of that part."""
    have = split.groupby("part")["label"].agg(set)
    for part in (part for part in have.index if have[part] == {"clean"}):
        raise TooFewRecordings(
            f"{part} has clean files and no noise to mix them with, and that of another part would not be unheard. "
            f"Add noise of its own beside them, or take the folder of {part} away"
        )
