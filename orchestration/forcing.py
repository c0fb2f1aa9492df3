"""A request to train again what is finished, written down: interrupted, the same command goes on with it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.studies.study import Study, Trial
from orchestration.resources import Bench
from storage import durable

ENDED = ("finished", "diverged")
"""What training again comes to; anything else goes on from its epochs."""


@dataclass(frozen=True)
class Request:
    """Asks for certain trials to be trained anew; `id` is in every attempt that is made for it."""

    id: str
    since: str
    """ISO 8601, UTC."""
    resumed: bool
    """Whether an earlier command began it."""


def request_for(bench: Bench, study: Study, trials: Sequence[Trial]) -> Request:
    """The request that the same command left unfinished, else a new one."""
    path = _path(bench)
    said: dict[str, Any] = {}
    if path.is_file():
        with suppress(durable.Damaged):
            said = durable.read_sealed(path)
    if said.get("study") == study.name and said.get("trials") == _names(trials):
        earlier = Request(said["id"], said["since"], True)
        if len(ended(bench, study, trials, earlier)) < len(trials):
            return earlier
    return Request(uuid.uuid4().hex, dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), False)


def remember(bench: Bench, study: Study, trials: Sequence[Trial], request: Request) -> None:
    """From now on the same command goes on with `request`. The newest request of a lab is kept."""
    said = {"study": study.name, "trials": _names(trials), "id": request.id, "since": request.since}
    durable.write_sealed(_path(bench), said)


def forget_if_ended(bench: Bench, study: Study, trials: Sequence[Trial], request: Request) -> None:
    """When all its trials have ended, the same command is a new request."""
    if len(ended(bench, study, trials, request)) == len(trials):
        _path(bench).unlink(missing_ok=True)


def request_in_progress(bench: Bench) -> str | None:
    """The request with which the same command would go on; None where there is none."""
    with suppress(FileNotFoundError, durable.Damaged):
        return str(durable.read_sealed(_path(bench))["id"])
    return None


def ended(
    bench: Bench, study: Study, trials: Sequence[Trial], request: Request, statuses: Sequence[str] = ENDED
) -> set[str]:
    """The trials that were trained to their end for `request`, with the present data, settings and precision."""
    data = bench.data(study)
    origin, precision = study.origin(data.fingerprint, data.features_key), bench.machine().precision
    return {
        trial.name
        for trial in trials
        for record in bench.records.history(study.name, trial.name)
        if record.account.get("forced_by") == request.id
        and record.account["status"] in statuses
        and record.account["fingerprint"] == study.trial_fingerprint(trial, origin, precision)
    }


def _names(trials: Sequence[Trial]) -> list[str]:
    return sorted(trial.name for trial in trials)


def _path(bench: Bench) -> Path:
    return bench.lab.root / "forced.json"
