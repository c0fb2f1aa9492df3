"""The body of data of a study, step by step: what is there, how it is divided, its features."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.config import fingerprint
from ml.studies.study import Study
from orchestration.feature_costs import BYTES, SECONDS, bytes_to_build
from orchestration.resources import Bench, NotReady, StudyData
from storage.results import publish

if TYPE_CHECKING:
    import pandas as pd

    from storage.records import Record

Progress = Callable[[float, str], None]


def take_inventory(bench: Bench, study: Study, progress: Progress) -> tuple[pd.DataFrame, list[str]]:
    """Look at the source; files that did not change are not opened again. The table, and notes for a person."""
    source = bench.source(study)
    settings = bench.settings(study)
    before = bench.records.noted(study.name, "inventory")
    known = before.table("files") if before is not None else None
    found = study.take_inventory(source, settings, known, progress)
    # With the times of change: an inventory that forgot new ones would have every file read again, for ever.
    content = fingerprint(found.files.to_csv(index=False), str(source), list(found.notes))
    account = {
        "fingerprint": content,
        "source": str(source),
        "notes": list(found.notes),
        "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    bench.records.note(study.name, "inventory", account, {"files": found.files})
    publish(bench.lab)
    return found.files, list(found.notes)


def divide(bench: Bench, study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The split of the last inventory, and what leaks in it (nothing, if all is well)."""
    inventory = _noted(bench, study, "inventory")
    files, settings = inventory.table("files"), bench.settings(study)
    rule = fingerprint(study.split_rule(settings))
    split = study.split(files, settings, _frozen(bench, study, rule))
    account = {
        "fingerprint": fingerprint(rule, split.to_csv(index=False)),
        "rule": rule,
        "inventory": inventory.account["fingerprint"],
        "data_fingerprint": study.data_fingerprint(files, split),
        "classes": study.classes(settings, split),
    }
    bench.records.note(study.name, "split", account, {"splits": split})
    publish(bench.lab)
    return split, study.leaks(files, split)


def next_data(bench: Bench, study: Study) -> StudyData:
    """The data as the next night or run would divide it: what was looked at since, or is set anew, is taken up then."""
    data = bench.data(study)
    inventory, split = (_noted(bench, study, kind) for kind in ("inventory", "split"))
    settings = bench.settings(study)
    rule = fingerprint(study.split_rule(settings))
    if (split.account.get("inventory"), split.account.get("rule")) == (inventory.account["fingerprint"], rule):
        return data
    files = inventory.table("files")
    parts = study.split(files, settings, _frozen(bench, study, rule))
    return StudyData(files, parts, study.data_fingerprint(files, parts), study.features_key(parts, settings))


def _frozen(bench: Bench, study: Study, rule: str) -> pd.DataFrame | None:
    """Every file that was ever placed by this rule, the newest account last: one that was away for a look too."""
    import pandas as pd

    accounts = bench.records.all_noted(study.name, "split")
    placed = [record.table("splits") for record in accounts if record.account.get("rule") == rule]
    if not placed:
        return None
    return pd.concat(placed, ignore_index=True).drop_duplicates(["group", "content_hash"], keep="last")


def build_features(bench: Bench, study: Study, progress: Progress) -> dict[str, Any]:
    """The features of all recordings of the split; each is decoded once, ever."""
    data = bench.data(study)
    settings = bench.settings(study)
    shelf = bench.shelf("features", {"study": study.name})
    found = shelf.find(data.features_key) is not None
    if not found:
        source = bench.source(study)
        alike = fingerprint(study.name, study.revision, study.features_identity(settings))
        earlier = [
            folder
            for key in shelf.keys()  # noqa: SIM118 - a shelf is no mapping
            if (shelf.note(key) or {}).get("alike") == alike and (folder := shelf.find(key)) is not None
        ]
        fresh = bytes_to_build(bench, study, data, settings)

        def write(folder: Path) -> dict[str, Any]:
            began = time.perf_counter()
            note = study.build_features(folder, source, data.files, data.split, settings, earlier, progress)
            return note | {"alike": alike, SECONDS: round(time.perf_counter() - began, 3), BYTES: fresh}

        shelf.build(data.features_key, write)
    folder = shelf.find(data.features_key)
    assert folder is not None
    counts = study.window_counts(folder, data.split, settings)
    said = {"features_key": data.features_key, "data_fingerprint": data.fingerprint}
    account = said | {"fingerprint": fingerprint(said, counts.to_csv(index=False))}
    bench.records.note(study.name, "features", account, {"window_counts": counts})
    publish(bench.lab)
    return {
        "found": found,
        "windows": int(counts["windows"].sum()),
        "megabytes": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
        **(shelf.note(data.features_key) or {}),
    }


def _noted(bench: Bench, study: Study, kind: str) -> Record:
    record = bench.records.noted(study.name, kind)
    if record is None:
        raise NotReady(f"the study {study.name} has no {kind} yet: materialize it, or run `nocturne run {study.name}`")
    return record
