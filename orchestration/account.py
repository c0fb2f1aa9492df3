"""What a record says of a trial: what was asked for, and what came of it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from ml.config import fingerprint
from ml.studies.study import Outcome, Study, Trial
from orchestration.resources import Bench, StudyData

if TYPE_CHECKING:
    from ml.training.machine import Machine


def account_of(
    study: Study, trial: Trial, data: StudyData, machine: Machine, identity: str, run_id: str
) -> dict[str, Any]:
    """What stands before anything is trained; a failure until more is known."""
    return {
        "study": study.name,
        "trial": trial.name,
        "fingerprint": identity,
        "status": "failed",
        "run_id": run_id,
        "started": moment(),
        "model_name": study.model_name(trial, dt.datetime.now()),
        "config": trial.config.model_dump(mode="json"),
        "changes": {key: list(pair) for key, pair in trial.changes.items()},
        "epochs_planned": study.planned_epochs(trial),
        "purpose": trial.config.purpose,
        "remarks": study.remarks(trial),
        "precision": machine.precision,
        "machine": machine.describe(),
        "machine_facts": machine.as_json(),
        "data_fingerprint": data.fingerprint,
        "features_key": data.features_key,
        "revision": study.revision,
    }


def result_of(bench: Bench, outcome: Outcome) -> dict[str, Any]:
    """What training and evaluation came to; a finished model is kept."""
    trained = outcome.trained
    model_key = None
    if outcome.save_model is not None and trained.best is not None:
        model_key = fingerprint("model", trained.best.key)
        bench.shelf("models").build(model_key, outcome.save_model)
    done = len(trained.history)
    return {
        "status": trained.status,
        "error": f"the night ended after epoch {done}" if trained.status == "paused" else trained.problem,
        "model_key": model_key,
        "seconds_spent": trained.seconds_spent,
        "seconds_standalone": trained.seconds_standalone,
        "epochs_done": done,
        "epochs_trained": trained.epochs_trained,
        "best_epoch": trained.best.epoch if trained.best else None,
        "stopped_early": trained.stopped_early,
        "micro_batch": trained.micro_batch,
        "out_of_memory": trained.out_of_memory,
        "items_per_epoch": trained.history[-1].items if trained.history else 0,
        "higher_is_better": outcome.higher_is_better,
        "selection_metric": outcome.selection_metric,
        "selection_value": outcome.selection_value,
        "verdict": outcome.verdict,
    }


def moment() -> str:
    """Now, as a record says it: ISO 8601, UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
