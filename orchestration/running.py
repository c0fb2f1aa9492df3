"""`nocturne run`: look at the source, say what will run and what it costs, ask, run."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ml.studies.study import Study, Trial
from ml.studies.words import counted
from orchestration import forcing, plan
from orchestration.answers import is_compared
from orchestration.asking import (
    agreed,
    duration,
    print_modes,
    print_plan,
    say_finished,
    say_shared,
    wanted_trials,
)
from orchestration.begun import chains_of, epochs_begun
from orchestration.estimating import Costs
from orchestration.estimating import costs as costs_of
from orchestration.forcing import Request
from orchestration.ordering import neighbours, smartly
from orchestration.reading import print_recordings
from orchestration.resources import Bench, NotReady
from orchestration.showing import VOICE

if TYPE_CHECKING:
    from orchestration.execute import Terminal


INTERRUPTED = 130


@dataclass(frozen=True)
class Asked:
    """What a person asks `nocturne run` for; nothing said is everything."""

    names: Sequence[str] = ()
    part: str | None = None
    """Text that a trial's name contains."""
    phase: int | None = None
    """Phase of the study, from 1."""
    mode: str | None = None
    """A grid of the study."""
    smart: bool = False
    """Run first what the finished trials make likely to be best."""
    force: bool = False
    """Train again what is finished."""
    yes: bool = False
    """Begin without asking."""


def run_study(bench: Bench, study: Study, asked: Asked) -> int:
    """Run what is asked for and not done; the exit code of the command."""
    night = _Night()
    try:
        return _run(bench, study, asked, night)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {_kept(bench, study, night)}", file=sys.stderr)
        return INTERRUPTED


@dataclass
class _Night:
    """What is going to be trained, for the one who tells what an interruption keeps."""

    todo: list[Trial] = field(default_factory=list)
    request: Request | None = None
    """Where it is trained although it is finished."""


def _run(bench: Bench, study: Study, asked: Asked, night: _Night) -> int:
    trials = bench.trials(study)
    for problem in trials.problems:
        print(f"left out: {problem}", file=sys.stderr)
    wanted = wanted_trials(study, trials, asked.names, asked.part, asked.phase, asked.mode)
    for note in trials.notes:
        print(f"note: {note}")
    source = bench.source(study)
    if not source.exists():  # said before anything is imported or started
        raise NotReady(f"{source}: no such folder; connect the drive or correct the path")
    say_shared(trials, wanted)
    if len(wanted) == len(trials.trials):
        print_modes(study, trials)
    print(f"looking at {source}", flush=True)

    from orchestration.execute import Terminal

    _listen()
    terminal = Terminal(bench)
    for gone in terminal.reaped:
        print(f"note: {gone.sentence}")
    if not _materialize(terminal, study, ["source_inventory", "split"]):
        return 1
    states = {state.trial.name: state for state in plan.trial_states(bench, study)}
    if asked.force:
        night.request = forcing.request_for(bench, study, wanted)
        ended = forcing.ended(bench, study, wanted, night.request)
        if night.request.resumed:
            since = night.request.since[:16].replace("T", " ")
            print(f"note: goes on with --force of {since} UTC; {len(ended)} of {counted(len(wanted), 'trial')} ended")
    else:
        ended = {trial.name for trial in wanted if states[trial.name].state == "done"}
        say_finished(asked.names, states, ended)
    todo = [trial for trial in wanted if trial.name not in ended]
    night.todo += todo
    if todo:
        print_recordings(bench, study)
        costs = _costs(bench, study, todo, states, night.request)
        print_plan(bench, study, todo, states, costs)
        if not asked.yes and not agreed(len(todo)):
            print("nothing was started")
            return INTERRUPTED
    else:
        costs = Costs((), 0.0)
        print(f"{counted(len(wanted), 'trial')}, all done; nothing to train (`--force` trains again)")
    if not _materialize(terminal, study, ["features"]):
        return 1
    if night.request is not None:
        forcing.remember(bench, study, wanted, night.request)
    failed, whole = _run_trials(terminal, bench, study, todo, costs, night.request, smart=asked.smart)
    if night.request is not None:
        forcing.forget_if_ended(bench, study, wanted, night.request)
    if len(failed) < max(1, len(todo)) and not is_compared(bench, study):
        whole &= _materialize(terminal, study, ["leaderboard", "best_model"])
        whole &= _materialize(terminal, None, ["results_database"])
    if failed:
        others = "; the others stand" if len(failed) < len(todo) else ""
        print(f"\n{len(failed)} of {counted(len(todo), 'trial')} failed{others}:", file=sys.stderr)
        for sentence in failed:
            print(f"  {sentence}", file=sys.stderr)
        if _diverged(bench, study, todo):
            remedy = "change its settings (a lower learning rate), or train it anew with --force"
            print(f"  What diverged would diverge again: {remedy}.", file=sys.stderr)
    if len(failed) < len(wanted):
        print(f"results: {bench.lab.results}  (to read them: nocturne summary {study.name})")
    return 1 if failed or not whole else 2 if trials.problems and len(wanted) == len(trials.trials) else 0


def _costs(
    bench: Bench, study: Study, todo: Sequence[Trial], states: Mapping[str, plan.TrialState], request: Request | None
) -> Costs:
    """What each trial takes; where nothing was measured, steps of its network are timed. What is trained anew on
    `request` has no use for epochs that are there."""
    data, begun = bench.data(study), {}
    if request is None and bench.machine_is_known():
        every = list(states.values())
        begun = epochs_begun(bench, study, data, every, chains_of(study, [one.trial for one in every]))
    return costs_of(bench, study, data, todo, foresee=True, begun=begun)


def _diverged(bench: Bench, study: Study, trials: Sequence[Trial]) -> bool:
    latest = (bench.records.latest(study.name, trial.name) for trial in trials)
    return any(record is not None and record.account["status"] == "diverged" for record in latest)


def _kept(bench: Bench, study: Study, night: _Night) -> str:
    """What an interrupted night leaves, in a sentence."""
    todo = night.todo
    if not todo:
        return "nothing was being trained yet"
    done = len(_done(bench, study, todo, night.request))
    latest = [bench.records.latest(study.name, trial.name) for trial in todo]
    paused = [
        record.trial
        for record in latest
        if record is not None
        and record.trial is not None
        and record.account["status"] == "paused"
        and record.account.get("forced_by") == (night.request.id if night.request else None)
    ]
    at = f"; {' and '.join(paused)} is paused after its last finished epoch" if paused else ""
    return f"{done} of {len(todo)} trials are done and kept{at}. The same command goes on from there"


def _done(bench: Bench, study: Study, trials: Sequence[Trial], request: Request | None) -> set[str]:
    """Which of the trials are finished; for `request`, where there is one."""
    if request is not None:
        return forcing.ended(bench, study, trials, request, ("finished",))
    return {state.trial.name for state in plan.trial_states(bench, study) if state.state == "done"} & {
        trial.name for trial in trials
    }


def _run_trials(
    terminal: Terminal,
    bench: Bench,
    study: Study,
    todo: Sequence[Trial],
    costs: Costs,
    request: Request | None,
    *,
    smart: bool,
) -> tuple[list[str], bool]:
    """The sentences of the trials that failed (the others are recorded), and whether all else of the runs went well."""
    import dagster as dg

    from orchestration.study_assets import FORCE_TAG

    keys = [dg.AssetKey([study.name, noun]) for noun in ("trained_model", "evaluation")]
    expected = {trial.name: cost.seconds for trial, cost in zip(todo, costs.each, strict=True)}
    failed: list[str] = []
    whole = True
    ended: list[str] = []
    began = time.monotonic()
    for group in smartly(bench, study, todo) if smart else neighbours(bench, study, todo):
        tags = {FORCE_TAG: request.id} if request else {}
        success, sentences = terminal.materialize(keys, (group[0], group[-1]), tags)
        if not success:
            # What counts is what is recorded: a run can fail when all its trials are there, or without a word.
            done = _done(bench, study, [trial for trial in todo if trial.name in group], request)
            lost = [name for name in group if name not in done]
            failed += [_why(name, sentences) for name in lost]
            if not lost:
                whole = False
                print(f"nocturne: {'; '.join(sentences) or 'a run failed, its trials stand'}", file=sys.stderr)
        ended += group
        left = [name for name in expected if name not in set(ended)]
        if left:
            _say_left(len(ended), len(todo), time.monotonic() - began, [expected[n] for n in ended + left], len(left))
    return failed, whole


def _why(name: str, sentences: Sequence[str]) -> str:
    """The sentence about the trial `name`, among those of the run that failed."""
    own = [sentence for sentence in sentences if sentence.startswith(f"{name}: ")]
    return own[0] if own else f"{name}: {'; '.join(sentences) or 'its run ended without a word'}"


def _say_left(ended: int, todo: int, seconds: float, expected: Sequence[float | None], left: int) -> None:
    """How far the night is; by what the trials so far took against what was expected of them."""
    before = [one for one in expected[: len(expected) - left] if one]
    after = [one for one in expected[len(expected) - left :] if one]
    rest = seconds / sum(before) * sum(after) if sum(before) and len(after) == left else seconds / ended * left
    clock = time.strftime("%H:%M", time.localtime(time.time() + rest))
    VOICE.info(f"{ended} of {todo} trials ended; about {duration(rest)} left, until {clock}")


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
