"""The results of a study in a published lab, as orchestration gives them to it."""

from __future__ import annotations

import json

import pandas as pd

from ml.studies.results import Results
from storage.lab import Lab
from storage.results import publish, query


def results_of(lab: Lab, study: str) -> Results:
    """Publishes the lab first."""
    publish(lab)

    def ask(view: str) -> pd.DataFrame:
        return query(lab, f"select * from {view} where study = ?", [study])

    board = ask("leaderboard").sort_values("rank")
    configs = ask("trials").set_index("trial")["config"]
    board["config"] = [json.loads(configs[trial]) for trial in board["trial"]]
    return Results(board, ask("per_class"), ask("inventory_by_class"), ask("comparisons"), ask)
