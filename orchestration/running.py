"""`nocturne run`: look at the source, say what will run and what it costs, ask, run."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import typer

from ml.config import ConfigError
from ml.studies.experiments import same_settings
from ml.studies.study import Study, Trial
from ml.training import gpu
from orchestration import plan
from orchestration.answers import is_compared
from orchestration.resources import Bench
from orchestration.showing import VOICE

if TYPE_CHECKING:
    from orchestration.execute import Terminal


def run_study(bench: Bench, study: Study, names: Sequence[str], part: str | None, *, force: bool, yes: bool) -> int:
    """Run what is asked for and not done; the exit code of the command."""
    _listen()
    trials = bench.trials(study)
    for problem in trials.problems:
        print(f"left out: {problem}", file=sys.stderr)
    wanted = _wanted(trials.trials, names, part)
    bench.source(study)  # said before anything is imported or started
    for first, second in same_settings(wanted):
        print(f"note: {second} says the same as {first}; its epochs are shared, not trained twice")

    from orchestration.execute import Terminal

    terminal = Terminal(bench)
    for gone in terminal.reaped:
        print(f"note: {gone.sentence}")
    print(f"looking at {bench.source(study)}")
    if not _materialize(terminal, study, ["source_inventory", "split"]):
        return 1
    states = {state.trial.name: state for state in plan.trial_states(bench, study)}
    todo = [trial for trial in wanted if force or states[trial.name].state != "done"]
    if not todo:
        print(f"{len(wanted)} trials, all done; nothing to train (`--force` trains again)")
    else:
        _print_plan(bench, study, todo, states)
        if not yes and not _agreed(len(todo)):
            return 130
    bench.machine()
    if not _materialize(terminal, study, ["features"]):
        return 1
    failed = _run_trials(terminal, bench, study, todo, force=force)
    if len(failed) < max(1, len(todo)) and not is_compared(bench, study):
        _materialize(terminal, study, ["leaderboard", "best_model"])
        _materialize(terminal, None, ["results_database"])
    print(f"results: {bench.lab.results}  (to read them: nocturne summary {study.name})")
    return 1 if failed or trials.problems else 0


def _wanted(trials: Sequence[Trial], names: Sequence[str], part: str | None) -> list[Trial]:
    known = {trial.name for trial in trials}
    for name in names:
        if name not in known:
            raise ConfigError(f"no trial named {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    chosen = [t for t in trials if (not names or t.name in names) and (part is None or part in t.name)]
    if not chosen:
        raise ConfigError(f"no trial matches --filter {part!r}; there are: {', '.join(t.name for t in trials)}")
    return chosen


def _print_plan(bench: Bench, study: Study, todo: Sequence[Trial], states: dict[str, plan.TrialState]) -> None:
    machine = bench.machine()
    print(f"\n{study.question}\non {machine.describe()}")
    if machine.device == "cpu":
        print("no GPU is used: expect this to take many times longer than on one")
    for holder in gpu.holders():
        print(f"the GPU is in use: {holder.name} (process {holder.pid}) holds {holder.mib} MiB")
    costs = plan.estimates(bench, study, list(todo))
    print(f"\n{'trial':<24}{'state':<10}{'time':>12}{'disk':>12}")
    for trial, cost in zip(todo, costs, strict=True):
        state = states[trial.name]
        why = f"  {state.why}" if state.why else ""
        print(f"{trial.name:<24}{state.state:<10}{_time(cost.seconds):>12}{_size(cost.disk_bytes):>12}{why}")
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    features = plan.features_missing_bytes(bench, study)
    disk = sum(cost.disk_bytes for cost in costs) + features
    total = _time(sum(known)) if len(known) == len(costs) else "unknown"
    print(f"{'together':<34}{total:>12}{_size(disk):>12}  ({costs[0].basis})")
    if features:
        print(f"features are built first: {_size(features)} on disk, once")
    free = plan.free_bytes(bench.lab.root)
    if disk > free:
        print(f"WARNING: {_size(free)} free on the lab's disk, less than this may need at most")


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"{count} trials would run; nobody is here to ask, so say --yes")
    return typer.confirm(f"\nrun {count} trial{'s' if count != 1 else ''}?", default=True)


def _run_trials(terminal: Terminal, bench: Bench, study: Study, todo: Sequence[Trial], *, force: bool) -> list[str]:
    """The sentences of the trials that failed; the others are recorded and published."""
    import dagster as dg

    from orchestration.study_assets import FORCE_TAG

    keys = [dg.AssetKey([study.name, noun]) for noun in ("trained_model", "evaluation")]
    order = [trial.name for trial in bench.trials(study).trials]
    failed: list[str] = []
    for group in _neighbours([trial.name for trial in todo], order, bench.settings(study).trials_per_run):
        tags = {FORCE_TAG: "true"} if force else {}
        success, sentences = terminal.materialize(keys, (group[0], group[-1]), tags)
        if not success:
            failed += sentences
            for sentence in sentences:
                print(f"FAILED {sentence}", file=sys.stderr)
    return failed


def _neighbours(names: Sequence[str], order: Sequence[str], at_most: int) -> list[list[str]]:
    """Runs of neighbours in the order of partitions, `at_most` long: Dagster runs take ranges."""
    place = {name: number for number, name in enumerate(order)}
    groups: list[list[str]] = []
    for name in sorted(names, key=place.__getitem__):
        if groups and len(groups[-1]) < at_most and place[name] == place[groups[-1][-1]] + 1:
            groups[-1].append(name)
        else:
            groups.append([name])
    assert all(place[a] < place[b] for group in groups for a, b in pairwise(group))
    return groups


def _materialize(terminal: Terminal, study: Study | None, nouns: Sequence[str]) -> bool:
    import dagster as dg

    keys = [dg.AssetKey([study.name, noun] if study else [noun]) for noun in nouns]
    success, sentences = terminal.materialize(keys, None, {})
    for sentence in sentences:
        print(f"nocturne: {sentence}", file=sys.stderr)
    return success


def _listen() -> None:
    """Show what is said while work goes on, with the time of day."""
    if not VOICE.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
        VOICE.addHandler(handler)
        VOICE.setLevel(logging.INFO)
        VOICE.propagate = False


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def elapsed(since: float) -> str:
    """How long it took since `time.monotonic()` was `since`."""
    return _time(time.monotonic() - since)
