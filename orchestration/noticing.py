"""A source folder that has changed is noticed, and looked at once the change has come to rest."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import dagster as dg

from ml.studies.study import Study
from orchestration.hanging import patiently
from orchestration.resources import Bench, NotReady

LOOK_EVERY_SECONDS = 60


def source_sensor(study: Study, bench: Bench) -> dg.SensorDefinition:
    """Takes the inventory anew when files of the study's source came, went or changed. It divides and trains nothing:
    a night goes on with the data that it began with, and the next run takes up what is new."""
    inventory = dg.AssetKey([study.name, "source_inventory"])

    @dg.sensor(
        name=f"{study.name}_source",
        target=dg.AssetSelection.assets(inventory),
        minimum_interval_seconds=LOOK_EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Notices new and changed files in the source of {study.name} and takes its inventory anew.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            source = bench.source(study)
            files, now = patiently(f"what lies in {source}", lambda: state_of(source))
        except NotReady as problem:
            return dg.SkipReason(str(problem))
        except OSError as problem:
            return dg.SkipReason(f"{source} cannot be read now ({problem.strerror}): looked at again later")
        taken, last = _remembered(context.cursor)
        if taken is None:
            return _skip(f"{files} files in {source}; what changes from now on is noticed", now, now)
        if now == taken:
            return _skip(f"nothing has changed in {source}", taken, now)
        if now != last:
            return _skip(f"{source} is changing: its inventory is taken when it has come to rest", taken, now)
        # Without a run key: Dagster would drop a source that comes back to what it was, though it has changed.
        return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=_cursor(now, now))

    return look


def state_of(source: Path) -> tuple[int, str]:
    """How many files lie in `source`, and what stands for their names, sizes and times of change; opens none of them.

    Raises the OSError of a folder that is not there: a drive that is away for a while has changed nothing.
    """
    found = hashlib.sha256()
    files = 0
    folders = [str(source)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                said = entry.stat(follow_symlinks=False)
                files += 1
                found.update(os.fsencode(entry.path) + f"\0{said.st_size}\0{said.st_mtime_ns}\0".encode())
    return files, found.hexdigest()[:16]


def _skip(sentence: str, taken: str, seen: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=sentence, cursor=_cursor(taken, seen))


def _cursor(taken: str, seen: str) -> str:
    return json.dumps({"taken": taken, "seen": seen})


def _remembered(cursor: str | None) -> tuple[str | None, str | None]:
    """The state whose inventory was taken (or that was met first), and the state at the last look."""
    said = json.loads(cursor) if cursor else {}
    return said.get("taken"), said.get("seen")
