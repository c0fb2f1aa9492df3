"""The lab and the machine, as assets and commands use them: where things lie, and what computes.

Neither is part of a trial's identity; precision is, because it changes numbers.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.config import ConfigError, fingerprint, read_config, read_yaml
from ml.studies.experiments import Trials, load_trials, read_settings
from ml.studies.study import Study, Trial
from orchestration.nights import clock
from storage import durable
from storage.artifacts import Shelf
from storage.lab import Lab
from storage.names import BadName, check_name
from storage.records import Records

if TYPE_CHECKING:
    import pandas as pd

    from ml.training.machine import Machine, MachineConfig


class NotReady(RuntimeError):
    """Something that has to be there first is not; the sentence says what to do. Trying again does not help."""


@dataclass(frozen=True)
class StudyData:
    """The body of data of a study as it was last looked at."""

    files: pd.DataFrame
    split: pd.DataFrame
    fingerprint: str
    features_key: str


@dataclass(frozen=True)
class Bench:
    """Everything that trials of one lab are made with."""

    lab: Lab
    resolves: bool = True
    """Whether it may find out what computes, which loads torch and takes the GPU into use: a process that lives on, and
    only looks, would hold both for ever."""

    @cached_property
    def records(self) -> Records:
        return Records(self.lab, clock.now)

    def shelf(self, kind: str, of: Mapping[str, Any] | None = None) -> Shelf:
        """The artifacts of one kind: "features", "states", "models". `of`: whose it is what is built there."""
        return Shelf(self.lab.artifacts, kind, of)

    def settings(self, study: Study) -> Any:
        """The study's settings in this lab."""
        _only_studies(study, self.lab.studies_file)
        return read_settings(study, self.lab.studies_file)

    def trials(self, study: Study) -> Trials:
        """The trials that come with the study, and those of this lab; a name that cannot be used is a problem."""
        found = load_trials(study, self.settings(study), [study.experiments, self.lab.experiments(study.name)])
        kept: dict[str, Trial] = {}
        problems = list(found.problems)
        for trial in sorted(found.trials, key=lambda trial: not Path(trial.source).is_relative_to(study.experiments)):
            problem = _refusal(trial, kept.get(trial.name.casefold()))
            if problem:
                problems.append(f"{trial.source}: {problem}; choose another name")
            else:
                kept[trial.name.casefold()] = trial
        trials = tuple(one for one in found.trials if kept.get(one.name.casefold()) is one)
        return Trials(trials, tuple(problems), found.notes)

    def source(self, study: Study, environment: Mapping[str, str] | None = None) -> Path:
        """The folder of the study's files: the environment variable wins, then the lab's `sources.yaml`, then what was
        collected in the lab. Raises `NotReady` where there is none of them."""
        found = self.source_or_none(study, environment)
        if found is None:
            raise NotReady(
                f"no source folder is set for the study {study.name}: set {study.source_variable}, or write "
                f"`{study.name}: /path/to/folder` into {self.lab.sources_file}{study.without_source}"
            )
        return found

    def source_or_none(self, study: Study, environment: Mapping[str, str] | None = None) -> Path | None:
        """As `source`; None where there is none."""
        environment = os.environ if environment is None else environment
        said = environment.get(study.source_variable)
        if said:
            return Path(said).expanduser()
        listed = _only_studies(study, self.lab.sources_file)
        said = listed.get(study.name)
        if isinstance(said, str) and said:
            return self.lab.root / Path(said).expanduser()
        collected = self.collection(study)
        return collected if collected.is_dir() else None

    def collection(self, study: Study) -> Path:
        """Where commands of the study keep what they collect; the folder need not be there."""
        return self.lab.collected / study.name

    def files(self, study: Study) -> pd.DataFrame | None:
        """The last inventory of the study; None before the first."""
        noted = self.records.noted(study.name, "inventory")
        return None if noted is None else noted.table("files")

    def data(self, study: Study) -> StudyData:
        """The last inventory and split; both hold together or this is refused."""
        inventory, split = (self.records.noted(study.name, kind) for kind in ("inventory", "split"))
        if inventory is None or split is None:
            raise NotReady(
                f"the study {study.name} has no {'inventory' if inventory is None else 'split'} yet: materialize "
                f"{study.name}/source_inventory and {study.name}/split, or run `nocturne run {study.name}`"
            )
        files, parts = inventory.table("files"), split.table("splits")
        leaks = study.leaks(files, parts)
        if len(leaks):
            first = leaks.iloc[0]
            raise NotReady(
                f"the split of {study.name} leaks: {first['kind']} {first['value']} lies in {first['parts']} "
                f"({first['paths']}), and {len(leaks) - 1} more; see the check no_leakage of {study.name}/split. "
                f"Remove the copy, or {study.leak_remedy(files)} in {self.lab.studies_file}"
            )
        settings = self.settings(study)
        # As it was divided: an inventory that was taken since changes nothing in the middle of a night.
        return StudyData(files, parts, split.account["data_fingerprint"], study.features_key(parts, settings))

    def machine_is_known(self) -> bool:
        """Whether it was ever found out what computes in this lab; finding out uses it."""
        return self.lab.resolved_machine_file.is_file()

    def machine(self) -> Machine:
        """What computes here. Resolved once per lab and written down; measured anew when the machine is another."""
        from ml.training.machine import Machine, MachineConfig, resolve_machine

        said = read_yaml(self.lab.machine_file) if self.lab.machine_file.is_file() else {}
        config = read_config(MachineConfig, said, str(self.lab.machine_file))
        here = fingerprint(config, platform.node(), os.cpu_count(), version("torch"), _gpus())
        resolved = self.lab.resolved_machine_file
        known: dict[str, Any] = {}
        if resolved.is_file():
            known = durable.read_sealed(resolved)
            if known["for"] == here:
                return Machine.from_json(known["machine"])
        if not self.resolves:
            return self._as_known(known, config)
        machine = resolve_machine(config)
        if known and config.precision == "auto":
            # Precision is part of every trial's identity in this lab: another machine does not change it.
            machine = replace(machine, precision=known["machine"]["precision"])
        durable.write_sealed(resolved, {"for": here, "machine": machine.as_json()})
        return machine

    @staticmethod
    def _as_known(known: Mapping[str, Any], config: MachineConfig) -> Machine:
        """The machine as it was found out last, though something of it has changed: the next run finds out what."""
        from ml.training.machine import Machine

        if not known:
            raise NotReady("what computes here was not found out yet: the first run does, and so does `nocturne plan`")
        machine = Machine.from_json(known["machine"])
        return machine if config.precision == "auto" else replace(machine, precision=config.precision)


def _only_studies(study: Study, path: Path) -> dict[str, Any]:
    """What the lab's file says, one key per study; a key that is none would be dropped without a word."""
    from ml.studies.registry import ALL_STUDIES

    said = read_yaml(path) if path.is_file() else {}
    names = sorted({study.name} | {each.name for each in ALL_STUDIES})
    strangers = [name for name in said if name not in names]
    if strangers:
        raise ConfigError(f"{path}: unknown key `{'`, `'.join(strangers)}`; the studies are: {', '.join(names)}")
    return said


def _refusal(trial: Trial, twin: Trial | None) -> str:
    """Why the name of `trial` cannot be a folder and a partition, or ""."""
    try:
        check_name(trial.name, "trial")
    except BadName as problem:
        return str(problem)
    if twin is not None:
        return f"its name differs in case only from {twin.source}, and some disks hold them for one"
    return ""


def _gpus() -> list[str]:
    """The GPUs as the drivers show them, without torch: one that came or went is another machine."""
    seen = sorted(path.name for pattern in ("nvidia[0-9]*", "dxg") for path in Path("/dev").glob(pattern))
    if os.name == "nt" and (Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32/nvcuda.dll").exists():
        seen.append("nvcuda.dll")
    return [*seen, os.environ.get("CUDA_VISIBLE_DEVICES", "all")]


def open_bench(environment: Mapping[str, str] | None = None) -> Bench:
    """The bench of the lab that `NOCTURNE_LAB` names, else of `lab` in the current folder."""
    from storage.lab import lab_from

    return Bench(lab_from(os.environ if environment is None else environment))


__all__ = ["Bench", "ConfigError", "NotReady", "StudyData", "open_bench"]
