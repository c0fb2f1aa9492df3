"""What building the features of the present data will take: as long as earlier builds of the study took for as much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml.studies.study import Study
from orchestration.resources import Bench, StudyData
from storage.leftovers import lying

SECONDS, BYTES = "seconds_to_build", "bytes_built"
"""What is noted of every build: how long it took, and for how many bytes of features that were not there before."""

UNKNOWN = "not known: none were built in this lab before, and no time is counted for it"


@dataclass(frozen=True)
class Building:
    """The features that are built before any trial; all nothing where they are there."""

    disk_bytes: int
    seconds: float | None
    """None: nobody knows."""

    @property
    def basis(self) -> str:
        """How the seconds are known, as the end of a sentence; "" where nothing is to be built."""
        if not self.disk_bytes:
            return ""
        return UNKNOWN if self.seconds is None else "what earlier builds of this study took for as much"


BUILT = Building(0, 0.0)


def building(bench: Bench, study: Study) -> Building:
    """What is left to be built."""
    data, settings = bench.data(study), bench.settings(study)
    if bench.shelf("features").find(data.features_key) is not None:
        return BUILT
    every = study.features_bytes(data.files, settings)
    fresh = bytes_to_build(bench, study, data, settings)
    took = [
        (one.note[SECONDS], one.note[BYTES])
        for one in lying(bench.shelf("features"))
        if one.owner.get("study") == study.name and one.note.get(BYTES)
    ]
    if fresh and not took:
        return Building(every, None)
    return Building(every, fresh * sum(each for each, _ in took) / sum(each for _, each in took) if fresh else 0.0)


def bytes_to_build(bench: Bench, study: Study, data: StudyData, settings: Any) -> int:
    """Bytes of features of files that no store at hand has: the others are copied."""
    shelf = bench.shelf("features")
    here = set(shelf.keys())
    at_hand: set[str] = set()
    for record in bench.records.all_noted(study.name, "split"):
        split = record.table("splits")
        if study.features_key(split, settings) in here:
            at_hand |= set(split["content_hash"])
    return study.features_bytes(data.files[~data.files["content_hash"].isin(at_hand)], settings)
