"""Trials are YAML files: the file's name is the trial's name (or it says another), its content what differs.

A file with a `grid` declares one trial for every point of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from ml.config import ConfigError, differences, merge, read_config, read_yaml
from ml.studies.grids import points_of
from ml.studies.study import Study, Trial, TrialConfig
from ml.studies.synonyms import translate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}")
"""A trial's name: it becomes a partition, a folder and a value in SQL."""


@dataclass(frozen=True)
class Trials:
    """The trials of a study, and the sentences about files that are none."""

    trials: tuple[Trial, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """Sentences that warn about files that are trials all the same."""

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
    # Over the study's own defaults, not those of each section: a lab that names a pattern keeps the classes.
    values = merge(study.settings().model_dump(mode="json"), said or {})
    return read_config(study.settings, values, f"{studies_file}: {study.name}")


def load_trials(study: Study, settings: Any, folders: Sequence[Path]) -> Trials:
    """Every YAML file of `folders` as a trial, or as the points of a grid.

    Those of the study's phases come first and in order, then its grids in theirs, then all others by name. A file that
    cannot be used costs itself alone: its sentence is among the problems and the others stand.
    """
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.y*ml"))]
    baseline = study.baseline(settings)
    stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    seen = (study.name, study.phases, study.modes, repr(baseline), stamps)
    if _read.get(study.name, (None,))[0] != seen:
        _read[study.name] = seen, _load(study, baseline, paths)
    return _read[study.name][1]


_read: dict[str, tuple[Any, Trials]] = {}
"""By study: what its trials were read from, and they. A run of a grid asks for them before every trial."""


def _load(study: Study, baseline: TrialConfig, paths: Sequence[Path]) -> Trials:
    trials: dict[str, Trial] = {}
    problems: list[str] = []
    notes: list[str] = []
    for path in paths:
        try:
            declared, idle = _read_trials(path, study, baseline)
            known = [trial for trial in declared if _is_known(trial, trials)]
            trials |= {trial.name: trial for trial in declared if trial.name not in trials}
            if known:
                notes.append(f"{path}: {len(known)} of its {len(declared)} points are those of another grid")
            notes += [f"{path}: `{key}` is understood and has no effect here" for key in idle]
        except ConfigError as problem:
            problems.append(str(problem))
    phases = {name: number for number, name in enumerate(name for phase in study.phases for name in phase)}
    modes = {name: number for number, name in enumerate(study.modes)}

    def place(trial: Trial) -> tuple[Any, ...]:
        mode = modes.get(trial.mode or trial.name, len(modes))
        # The points of a grid stay in its order: sorting is stable.
        return phases.get(trial.name, len(phases)), mode, natural(trial.mode or trial.name)

    return Trials(tuple(sorted(trials.values(), key=place)), tuple(problems), tuple(notes))


def _is_known(trial: Trial, trials: Mapping[str, Trial]) -> bool:
    """Whether two grids have this point; the same name for anything else is refused."""
    other = trials.get(trial.name)
    if other is None:
        return False
    if trial.mode and other.mode and trial.config.identity() == other.config.identity():
        return True
    said = "file name" if trial.name == Path(trial.source).stem else "name"
    remedy = "another `grid` or setting" if trial.mode else f"another {said}"
    raise ConfigError(
        f"{trial.source}: a trial named {trial.name} is already declared in {other.source}; choose {remedy}"
    )


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


def told_apart(trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """Trial to its value of every (dotted) setting in which any of the trials differs from the baseline."""
    baseline = {setting: pair[0] for trial in trials for setting, pair in trial.changes.items()}
    return {t.name: baseline | {setting: pair[1] for setting, pair in t.changes.items()} for t in trials}


def natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key in which `batch_8` comes before `batch_16` and `balance_0.25` before `balance_0.5`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(0, float(part), "") if index % 2 else (1, 0.0, part) for index, part in enumerate(parts)]


def changes_in_words(changes: Mapping[str, Sequence[Any]]) -> list[str]:
    """What a trial says differently from the baseline, setting by setting: `training.lr: 0.0003 -> 0.001`."""
    return [f"{setting}: {_in_words(before)} -> {_in_words(after)}" for setting, (before, after) in changes.items()]


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read_trials(path: Path, study: Study, baseline: TrialConfig) -> tuple[list[Trial], list[str]]:
    """The trials that a file declares, and what it says without any effect."""
    said = read_yaml(path)
    if "grid" in said:
        return _read_grid(path, said, study, baseline)
    name = said.get("name") or path.stem
    where = str(path) if name == path.stem else f"{path} ({name})"
    _require_name(name, path, f"`name` is {name!r}" if "name" in said else "the file name is the trial's name")
    own, idle = translate(said, baseline.synonyms, type(baseline).model_fields, where)
    values = merge(baseline.model_dump(mode="json", exclude={"name"}), own)
    config = _checked(read_config(type(baseline), values, where), baseline, where)
    changed = differences(baseline.identity(), config.identity())
    return [Trial(name=name, config=config, changes=changed, source=str(path))], idle


def _read_grid(path: Path, said: dict[str, Any], study: Study, baseline: TrialConfig) -> tuple[list[Trial], list[str]]:
    """A trial for every point of the `grid` that the file names; what else it says holds for all of them."""
    if "name" in said:
        raise ConfigError(f"{path}: `name` is of one trial; the points of a grid are named after their settings")
    grid = said.pop("grid")
    own, idle = translate(said, baseline.synonyms, type(baseline).model_fields, str(path))
    values = merge(baseline.model_dump(mode="json", exclude={"name"}), own)
    before = baseline.identity()
    trials: dict[str, Trial] = {}
    for point in points_of(grid, values, str(path)):
        config = _checked(read_config(type(baseline), point, str(path)), baseline, str(path))
        name = study.point_name(config, list(grid))
        _require_name(name, path, f"a point of the grid is named {name!r}")
        if name in trials:
            raise ConfigError(f"{path}: two points of the grid are named {name}; name a setting that differs once only")
        changed = differences(before, config.identity())
        trials[name] = Trial(name=name, config=config, changes=changed, source=str(path), mode=path.stem)
    return list(trials.values()), idle


def _require_name(name: Any, path: Path, why: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{path}: {why}; use letters, digits and . _ + = - only")


def _checked(config: TrialConfig, baseline: TrialConfig, where: str) -> TrialConfig:
    """`config`, where it leaves alone what all trials of a lab share."""
    for setting in config.of_the_study:
        its, of_all = attrgetter(setting)(config), attrgetter(setting)(baseline)
        if its != of_all:
            for_all = f"{setting.replace('.', ': {')}: {its}{'}' * setting.count('.')}"
            raise ConfigError(
                f"{where}: `{setting}` is {its!r}, but trials are ranked against each other and so share it "
                f"({of_all!r}): take it out here, and set `trial: {{{for_all}}}` in the lab's studies.yaml to change "
                "it for all"
            )
    return config
