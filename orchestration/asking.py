"""What a request means before anything is trained: which trials, what they will cost, and whether to begin."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Sequence

import typer

from ml.config import ConfigError
from ml.studies.experiments import Trials, same_settings
from ml.studies.study import Study, Trial
from ml.studies.words import counted
from ml.training import gpu
from orchestration import plan
from orchestration.estimating import Cost, Costs, added, longest_of_chains
from orchestration.feature_costs import building
from orchestration.resources import Bench

FEW = 40
"""Up to so many trials are listed one by one; of a grid with more the beginning is."""


def wanted_trials(
    study: Study, trials: Trials, names: Sequence[str], part: str | None, phase: int | None, mode: str | None = None
) -> list[Trial]:
    """The trials that are asked for: by name, by a text in it, by phase, by grid; all that is said has to hold."""
    known = [trial.name for trial in trials.trials]
    for name in names:
        if name not in known:
            raise ConfigError(f"no trial named {name!r}; there are: {_listed(sorted(known)) or 'none'}")
    if mode is not None and mode not in (modes := _modes(study, trials)):
        raise ConfigError(f"--mode {mode}: the study {study.name} has the modes {', '.join(modes) or '(none)'}")
    in_phase = known if phase is None else _names_in_phase(study, phase)
    chosen = [
        trial
        for trial in trials.trials
        if (not names or trial.name in names)
        and (part is None or part in trial.name)
        and (mode is None or mode == (trial.mode or trial.name))
        and trial.name in in_phase
    ]
    if not chosen:
        asked = [f"--filter {part!r}"] * (part is not None) + [f"--phase {phase}"] * (phase is not None)
        asked += [f"--mode {mode}"] * (mode is not None)
        raise ConfigError(f"no trial matches {' and '.join(asked)}; there are: {_listed(known)}")
    return chosen


def _modes(study: Study, trials: Trials) -> list[str]:
    """The grids that there are, and the trials that the study declares as a mode of their own."""
    there = dict.fromkeys(
        trial.mode or trial.name for trial in trials.trials if trial.mode or trial.name in study.modes
    )
    return list(there)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more (nocturne studies)" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def _names_in_phase(study: Study, phase: int) -> tuple[str, ...]:
    if not study.phases:
        raise ConfigError(f"the study {study.name} has no phases; leave --phase out, or name trials")
    if not 1 <= phase <= len(study.phases):
        listed = "; ".join(f"{number}: {', '.join(names)}" for number, names in enumerate(study.phases, 1))
        raise ConfigError(f"--phase {phase}: the study {study.name} has the phases {listed}")
    return study.phases[phase - 1]


def say_shared(trials: Trials, wanted: Sequence[Trial]) -> None:
    """Which of the `wanted` say the same as another trial under another name."""
    names = {trial.name for trial in wanted}
    for first, second in same_settings(trials.trials):
        if {first, second} & names:
            print(f"note: {second} says the same as {first}; its epochs are shared, not trained twice")


def print_modes(study: Study, trials: Trials) -> None:
    """What the grids of the study are, for a person who asked for no particular one."""
    modes = _modes(study, trials)
    if len(modes) > 1:
        sizes = [f"{mode} ({sum(mode == (t.mode or t.name) for t in trials.trials)})" for mode in modes]
        print(f"note: --mode runs a part of it: {', '.join(sizes)}")


def say_finished(named: Sequence[str], states: dict[str, plan.TrialState], done: set[str]) -> None:
    """What is asked for by name and finished is not trained again, and how it would be."""
    for name in named:
        if name in done:
            print(
                f"{name} is finished since {states[name].ended} UTC and is not trained again; with --force it is, "
                "and the older result stays in the history"
            )


def print_plan(
    bench: Bench,
    study: Study,
    todo: Sequence[Trial],
    states: dict[str, plan.TrialState],
    costs: Costs,
) -> None:
    """What will run, in which state it is, what it will take; and what to know of it before."""
    print(f"\n{study.question}\non {bench.machine().describe()}")
    for holder in gpu.holders():
        print(f"the GPU is in use: {holder.name} (process {holder.pid}) holds {holder.mib} MiB")
    each = [cost.later(costs.around) for cost in costs.each]
    longest = longest_of_chains(study, todo, costs.each)
    features = building(bench, study)
    together = added([*longest, Cost(costs.around * len(todo), costs.around * len(todo), 0, "")])
    times = [time_of(cost.seconds, cost.at_most) for cost in (*each, together)]
    width, time_width = max(24, *(len(trial.name) + 2 for trial in todo)), max(10, *(len(said) + 2 for said in times))
    print(f"\n{'trial':<{width}}{'state':<10}{'time':>{time_width}}{'disk':>10}")
    shown = len(todo) if len(todo) <= FEW else 8
    for trial, said, cost in zip(todo[:shown], times, each, strict=False):
        state = states[trial.name]
        why = f"  {textwrap.shorten(state.why, 90, placeholder=' …')}" if state.why else ""
        print(f"{trial.name:<{width}}{state.state:<10}{said:>{time_width}}{size(cost.disk_bytes):>10}{why}")
    if shown < len(todo):
        print(f"… and {len(todo) - shown} more")
    if features.disk_bytes:
        built = f"{duration(features.seconds):>{time_width}}{size(features.disk_bytes):>10}"
        print(f"{'features, built first':<{width + 10}}{built}")
    disk = together.disk_bytes + features.disk_bytes
    print(f"{'trials together':<{width + 10}}{times[-1]:>{time_width}}{size(disk):>10}")
    if len(longest) < len(todo) and together.seconds is not None:
        alone = duration(added(each).at_most)
        print(f"epochs are shared: each trial alone, one after the other, would take at most {alone}")
    for basis in list(dict.fromkeys(cost.basis for cost in each))[:3]:
        print(f"time is {basis}")
    if features.basis:
        print(f"time of building is {features.basis}")
    for trial in todo:
        for remark in study.remarks(trial):
            print(f"note: {trial.name}: {remark}")
    free = plan.free_bytes(bench.lab.root)
    if disk > free:
        print(f"WARNING: {size(free)} free on the lab's disk, less than this may need at most")
    sys.stdout.flush()


def agreed(number: int) -> bool:
    """Does the person at the keyboard want it? Where there is none, --yes has to say so."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{counted(number, 'trial')} would run; nobody is here to ask, so say --yes")
    return typer.confirm(f"\nrun {counted(number, 'trial')}?", default=True)


def time_of(seconds: float | None, at_most: float | None = None) -> str:
    """What is expected, and where it may be more, both."""
    expected, most = duration(seconds), duration(at_most)
    return expected if at_most is None or most == expected else f"{expected} (at most {most})"


def duration(seconds: float | None) -> str:
    """A time for a person."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes for a person."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def elapsed(since: float) -> str:
    """How long it took since `time.monotonic()` was `since`."""
    return duration(time.monotonic() - since)
