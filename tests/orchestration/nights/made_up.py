"""Attempts of a lab's trials as if they had been: real records, in moments, with figures that a test chooses."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ml.studies.study import Study
from orchestration import data
from orchestration.resources import Bench


def look(bench: Bench, study: Study) -> None:
    """The steps before the trials, all real."""
    data.take_inventory(bench, study, lambda share, words: None)
    data.divide(bench, study)
    data.build_features(bench, study, lambda share, words: None)


def identity(bench: Bench, study: Study, name: str) -> str:
    """The present fingerprint of a trial."""
    known = bench.data(study)
    trial = bench.trials(study).named(name)
    return study.trial_fingerprint(
        trial, study.origin(known.fingerprint, known.features_key), bench.machine().precision
    )


def attempt(bench: Bench, study: Study, name: str, status: str | None, **said: Any) -> None:
    """An attempt that came to `status`; None: it died without a word. `said` is laid over its account."""
    trial = bench.trials(study).named(name)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    account = {
        "status": status,
        "fingerprint": identity(bench, study, name),
        "config": trial.config.model_dump(mode="json"),
        "data_fingerprint": bench.data(study).fingerprint,
        "features_key": bench.data(study).features_key,
        "revision": study.revision,
        "precision": bench.machine().precision,
        "machine_facts": bench.machine().as_json(),
        "started": now,
        "ended": now,
        "epochs_planned": study.planned_epochs(trial),
        "epochs_done": study.planned_epochs(trial) if status == "finished" else 0,
        "seconds_spent": 0.0,
    }
    try:
        with bench.records.begin(study.name, name, "made up") as begun:
            if status is None:
                raise KeyboardInterrupt
            begun.commit(account | said, {})
    except KeyboardInterrupt:
        pass


def measured(bench: Bench, study: Study, name: str, trial_seconds: float, left_over: float = 0.0, **said: Any) -> None:
    """A finished attempt by which every trial like it is foreseen to take `trial_seconds` alone, where none stops
    early. `said` is laid over its account."""
    trial = bench.trials(study).named(name)
    files, settings, machine = bench.data(study).files, bench.settings(study), bench.machine()
    items = study.estimate(trial, files, settings, machine, 1.0).seconds
    assert items is not None
    epochs = said.get("epochs_done", study.planned_epochs(trial))
    now = dt.datetime.now(dt.UTC)
    attempt(
        bench,
        study,
        name,
        "finished",
        items_per_epoch=1000,
        seconds_standalone=trial_seconds / items * 1000 * epochs,
        started=(now - dt.timedelta(seconds=left_over)).isoformat(),
        ended=now.isoformat(),
        **said,
    )
