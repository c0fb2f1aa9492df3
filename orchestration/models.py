"""Where the model lies that a person names, or the best one when none is named."""

from __future__ import annotations

from pathlib import Path

from ml.studies.study import Study
from orchestration.answers import best_model, model_folders, standing
from orchestration.resources import Bench, NotReady

CONFIG = "config.json"
"""A folder with this file holds a model."""


def find_model(bench: Bench, study: Study, said: str | None) -> Path:
    """The folder of the model `said`: a folder, a trial or a model's name; None: the best one of the study.

    Raises `NotReady` with what there is instead.
    """
    if said is None:
        return best_model(bench, study).folder
    folder = Path(said).expanduser()
    if (folder / CONFIG).is_file():
        return folder
    board = standing(bench, study).leaderboard
    named = dict(zip(board["trial"], board["model_name"], strict=True))
    name = named.get(said, said)
    folders = model_folders(bench, study)
    if name not in folders and name in named.values():
        trial = next(trial for trial, own in named.items() if own == name)
        raise NotReady(
            f"--model {said}: the model of {trial} is missing or damaged: `nocturne run {study.name} {trial} --force`"
        )
    if name not in folders:
        raise NotReady(
            f"--model {said}: no folder with a {CONFIG}, and no finished trial of the study {study.name} is named so; "
            "`nocturne studies` lists them"
        )
    return folders[name]
