"""Trials are YAML files: the file's name is the trial's name, its content what differs from the baseline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.config import ConfigError, differences, merge, read_config, read_yaml
from ml.studies.study import Study, Trial

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}")
"""A trial's name: it becomes a partition, a folder and a value in SQL."""


@dataclass(frozen=True)
class Trials:
    """The trials of a study, and the sentences about files that are none."""

    trials: tuple[Trial, ...]
    problems: tuple[str, ...]

    def named(self, name: str) -> Trial:
        """The trial of that name, or a `KeyError` that lists the names there are."""
        for trial in self.trials:
            if trial.name == name:
                return trial
        raise KeyError(f"no trial named {name!r}; there are: {', '.join(t.name for t in self.trials) or 'none'}")


def read_settings(study: Study, studies_file: Path) -> Any:
    """The study's settings: typed defaults, with what the lab's `studies.yaml` says laid over them."""
    said = read_yaml(studies_file).get(study.name) if studies_file.is_file() else None
    if said is not None and not isinstance(said, dict):
        raise ConfigError(f"{studies_file}: `{study.name}` is {said!r}; expected lines of `name: value` below it")
    return read_config(study.settings, said or {}, f"{studies_file}: {study.name}")


def load_trials(study: Study, settings: Any, folders: Sequence[Path]) -> Trials:
    """Every YAML file of `folders` as a trial, in the order of their names.

    A file that cannot be used costs itself alone: its sentence is among the problems and the others stand.
    """
    baseline = study.baseline(settings)
    trials: dict[str, Trial] = {}
    problems: list[str] = []
    for path in (path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.y*ml"))):
        try:
            trial = _read_trial(path, baseline)
            if trial.name in trials:
                raise ConfigError(
                    f"{path}: a trial named {trial.name} is already declared in {trials[trial.name].source}; "
                    "choose another file name"
                )
            trials[trial.name] = trial
        except ConfigError as problem:
            problems.append(str(problem))
    return Trials(tuple(sorted(trials.values(), key=lambda trial: natural(trial.name))), tuple(problems))


def same_settings(trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """Pairs of trials that say the same under two names; the second is answered by the first's epochs."""
    first: dict[str, str] = {}
    pairs = []
    for trial in trials:
        said = repr(trial.config.identity())
        if said in first:
            pairs.append((first[said], trial.name))
        first.setdefault(said, trial.name)
    return pairs


def natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key in which `batch_8` comes before `batch_16` and `balance_0.25` before `balance_0.5`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(0, float(part), "") if index % 2 else (1, 0.0, part) for index, part in enumerate(parts)]


def _read_trial(path: Path, baseline: Any) -> Trial:
    if not NAME.fullmatch(path.stem):
        raise ConfigError(f"{path}: the file name is the trial's name; use letters, digits and . _ + = - only")
    values = merge(baseline.model_dump(mode="json"), read_yaml(path))
    config = read_config(type(baseline), values, str(path))
    for name in config.of_the_study:
        own, of_all = getattr(config, name), getattr(baseline, name)
        if own != of_all:
            raise ConfigError(
                f"{path}: `{name}` is {own!r}, but trials are ranked against each other and so share it ({of_all!r}): "
                f"take it out here, and set `trial: {{{name}: {own}}}` in the lab's studies.yaml to change it for all"
            )
    changed = differences(baseline.identity(), config.identity())
    return Trial(name=path.stem, config=config, changes=changed, source=str(path))
