"""What the finished trials say together: who leads, how sure that is, and the model to use."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml.config import fingerprint
from ml.metrics.comparison import compare_scores, compare_with_leader
from ml.studies.analysis import importance_of
from ml.studies.results import Results
from ml.studies.study import Study
from orchestration.resources import Bench, NotReady
from storage.query import query
from storage.results import publish

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class BestModel:
    """The model chosen on validation."""

    trial: str
    name: str
    folder: Path
    selection: str


def standing(bench: Bench, study: Study) -> Results:
    """The published results of a study; refuses where there are none."""
    if bench.lab.results.exists():  # of an earlier version it lacks views; where nothing is new this costs nothing
        with contextlib.suppress(OSError):
            publish(bench.lab)

    def ask(view: str) -> pd.DataFrame:
        if not view.isidentifier():
            raise ValueError(f"{view!r} is no name of a table or view")
        return query(bench.lab, f"select * from {view} where study = ?", [study.name])  # noqa: S608 - a name, see above

    board = ask("leaderboard").sort_values("rank")
    if not len(board):
        raise NotReady(f"the study {study.name} has no finished trial yet: `nocturne run {study.name}`")
    configs = ask("trials").set_index("trial")["config"]
    board["config"] = [json.loads(configs[name]) for name in board["trial"]]
    return Results(board, ask("per_class"), ask("inventory_by_class"), ask("comparisons"), ask)


def compare(bench: Bench, study: Study) -> Results:
    """Compare every finished trial of the present data with the leader, recording by recording; keep and publish it."""
    before = standing(bench, study)
    leader = str(before.leaderboard.iloc[0]["trial"])
    compared = _compared(bench, study, before, leader)
    decides = importance_of(before)
    frames = {name: frame for name, frame in (("comparisons", compared), ("importance", decides)) if len(frame)}
    said = {"leader": leader, "of": _answers(before.leaderboard), "by": list(frames)}
    bench.records.note(study.name, "comparison", {"fingerprint": fingerprint(said)} | said, frames)
    publish(bench.lab)
    return standing(bench, study)


def _compared(bench: Bench, study: Study, before: Results, leader: str) -> pd.DataFrame:
    """Every trial of the present data against the leader: by the study's score of files, else by what is right."""
    if study.compared is None:
        judged = query(
            bench.lab,
            "select trial, part, recording, actual, predicted from predictions join leaderboard using (study, trial) "
            "where study = ? and level = 'recording' and current_data",
            [study.name],
        )
        return compare_with_leader(dict(iter(judged.groupby("trial"))), leader, "validation") if len(judged) else judged
    metric, higher_is_better = study.compared
    scored = query(
        bench.lab,
        "select trial, coalesce(recording, path) as recording, value from scores join leaderboard using (study, trial) "
        "where study = ? and metric = ? and part = 'validation' and current_data",
        [study.name, metric],
    )
    if leader not in set(scored["trial"]):
        return scored.head(0)
    models = dict(before.leaderboard[["trial", "model_key"]].dropna().itertuples(index=False, name=None))
    return compare_scores(scored, leader, "validation", metric=metric, higher_is_better=higher_is_better, models=models)


def is_compared(bench: Bench, study: Study) -> bool:
    """Were the present answers of all trials compared, and the best model noted?"""
    comparison, best = (bench.records.noted(study.name, kind) for kind in ("comparison", "best_model"))
    if comparison is None or best is None:
        return False
    return bool(comparison.account.get("of") == _answers(standing(bench, study).leaderboard))


def _answers(leaderboard: pd.DataFrame) -> list[str]:
    """Which answer of each trial the leaderboard holds."""
    return sorted(f"{row.trial} {row.ended}" for row in leaderboard.itertuples())


def best_model(bench: Bench, study: Study) -> BestModel:
    """The leader's model, found whole; its place is also noted in the records."""
    leader = standing(bench, study).leaderboard.iloc[0]
    account = _account(bench, study, str(leader["trial"]))
    folder = bench.shelf("models").find(account["model_key"])
    if folder is None:
        raise NotReady(
            f"the model of {leader['trial']} is missing or damaged: "
            f"`nocturne run {study.name} {leader['trial']} --force`"
        )
    best = BestModel(
        str(leader["trial"]),
        account["model_name"],
        folder,
        f"{account['selection_metric']} {account['selection_value']:.4f}",
    )
    said = {
        "trial": best.trial,
        "model_name": best.name,
        "model_key": account["model_key"],
        "selection": best.selection,
    }
    bench.records.note(study.name, "best_model", {"fingerprint": fingerprint(said)} | said, {})
    return best


def model_folders(bench: Bench, study: Study) -> dict[str, Path]:
    """Name of a model to its folder, for every finished trial whose model is there; several may share one."""
    board, shelf = standing(bench, study).leaderboard, bench.shelf("models")
    folders = {key: shelf.find(key) for key in set(board["model_key"].dropna())}
    named = dict(board[["model_name", "model_key"]].dropna().itertuples(index=False, name=None))
    return {str(name): folder for name, key in named.items() if (folder := folders[key]) is not None}


def _account(bench: Bench, study: Study, trial: str) -> dict:
    finished = [record for record in bench.records.history(study.name, trial) if record.account["status"] == "finished"]
    return finished[-1].account
