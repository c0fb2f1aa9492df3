"""What is left to be done of a study: its trials in the order in which they run, with what each still costs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ml.config import ConfigError
from ml.studies.experiments import same_settings
from ml.studies.night import NightConfig
from ml.studies.study import Study, Trial
from orchestration.begun import chains_of, epochs_begun, identity_of
from orchestration.estimating import Cost, costs
from orchestration.nights.window import Night
from orchestration.ordering import promising, promising_aside
from orchestration.plan import TrialState, present_data, states_with
from orchestration.resources import Bench, StudyData

When = Literal["tonight", "begins tonight", "next night", "no room", "given up", "done"]

TURNS = (0, 1, 2)
"""When a trial is begun: see `Entry.turn`."""

GIVEN_UP = "given_up"
"""Of an account that says only that a trial is begun no more in its night: nothing was tried."""

NOT_LOOKED_AT = "unknown: the source has not been looked at yet; the night begins with that"


@dataclass(frozen=True)
class Entry:
    """One trial in the plan of a night."""

    trial: Trial
    state: str
    """done, missing, stale, failed, diverged, paused or running."""
    why: str
    seconds: float | None
    """What is expected to be left of it to be computed, in this order: without epochs that are there already or that an
    earlier one trains."""
    basis: str
    disk_bytes: int
    """That it adds to what earlier ones of its chain need; 0 where it is not known."""
    when: When
    reason: str = ""
    """Why it is not simply tonight."""
    begins: dt.datetime | None = None
    """About when; None where it does not begin tonight, or nobody knows how long those before it take."""
    at_most: float | None = None
    """As `seconds`, if neither it nor those before it stop early."""
    epoch_seconds: float = 0.0
    """Of one epoch; 0 where nobody knows."""
    chain: str = ""
    """Trials of one chain share epochs: each is foreseen to cost what those before it in this order leave."""
    turn: int = 0
    """0: it ends in its night; 1: it would be cut by the bell; 2: not one epoch of it is as short as a night. Each turn
    comes when nothing of the one before is left, of whatever study."""

    @property
    def explained(self) -> str:
        """Why it is in that state, and why it is not simply tonight; "" where there is nothing to say."""
        return "; ".join(part for part in (self.why, self.reason) if part)


def work_of(bench: Bench, study: Study, night: Night, *, foresee: bool, upcoming: bool = False) -> list[Entry]:
    """Every trial that a night of the study is about: to be done (as if all of it fitted), given up, done. `upcoming`:
    the night is still to come, and will divide the data anew."""
    config: NightConfig = bench.settings(study).night
    data = present_data(bench, study, upcoming=upcoming)
    states = _of_the_mode(study, config, states_with(bench, study, data))
    refusals = {one.trial.name: _refusal(bench, study, config, one, data, night) for one in states}
    todo = _in_order(
        bench, study, config, [one for one in states if one.state != "done" and not refusals[one.trial.name]], foresee
    )
    done = [one for one in states if one.state == "done"]
    entries = _costed(bench, study, data, todo, done, foresee=foresee)
    for one in states:
        if refusals[one.trial.name]:
            entries.append(Entry(one.trial, one.state, one.why, None, "", 0, "given up", refusals[one.trial.name]))
    return entries + [Entry(one.trial, "done", one.ended, 0.0, "", 0, "done") for one in done]


def attempts_tonight(bench: Bench, study: Study, name: str, night: Night) -> int:
    """How often the trial was begun since the night began and came to nothing; a pause is no such attempt, nor
    is giving up."""
    begun = begun_tonight(bench, study, name, night)
    if not begun:
        return 0
    history = bench.records.history(study.name, name)
    none = {one.number for one in history if one.account["status"] in ("finished", "paused") or GIVEN_UP in one.account}
    return len(begun - none)


def begun_tonight(bench: Bench, study: Study, name: str, night: Night) -> set[int]:
    """The attempts at a trial since the night began. That they began is noted by the clock of the nights."""
    since = night.begins.isoformat(timespec="milliseconds")
    return {number for number, said in bench.records.begun(study.name, name).items() if said["started"] >= since}


def _of_the_mode(study: Study, config: NightConfig, states: Sequence[TrialState]) -> list[TrialState]:
    modes = dict.fromkeys(one.trial.mode or one.trial.name for one in states)
    if config.mode is not None and config.mode not in modes:
        there = [mode for mode in modes if mode in study.modes or any(one.trial.mode == mode for one in states)]
        raise ConfigError(
            f"night.mode is {config.mode!r}; the study {study.name} has the modes {', '.join(there) or '(none)'}"
        )
    return [one for one in states if config.mode in (None, one.trial.mode or one.trial.name)]


def _refusal(
    bench: Bench, study: Study, config: NightConfig, one: TrialState, data: StudyData | None, night: Night
) -> str:
    """Why the trial is not begun again in this night, or ""."""
    if one.state in ("done", "running"):
        return ""
    tries = attempts_tonight(bench, study, one.trial.name, night)
    if tries >= config.attempts:
        return f"begun {tries} times in this night without a result; tried again next night"
    record = bench.records.latest(study.name, one.trial.name) if one.state in ("diverged", "failed") else None
    if record is None or record.account["fingerprint"] != identity_of(bench, study, one.trial, data):
        return ""  # what failed was another: its data or settings have changed since
    if one.state == "diverged":
        anew = f"`nocturne run {study.name} {one.trial.name} --force`"
        return f"would diverge again: change its settings, or train it anew with {anew}"
    if tries and not record.account.get("later", record.account.get("again", False)):
        return "would fail again as it did in this night; tried once more next night"
    return ""


def _in_order(
    bench: Bench, study: Study, config: NightConfig, todo: Sequence[TrialState], foresee: bool
) -> list[TrialState]:
    """What runs now, then what was paused, then the others as the study lists them or as they promise most."""
    first = {"running": 0, "paused": 1}
    place = {one.trial.name: number for number, one in enumerate(todo)}
    if config.order == "smart":
        ranked = promising(bench, study)[0] if foresee else promising_aside(bench, study)
        place |= {name: number for number, name in enumerate(ranked)}
    return sorted(todo, key=lambda one: (first.get(one.state, 2), place[one.trial.name]))


def _costed(
    bench: Bench,
    study: Study,
    data: StudyData | None,
    todo: Sequence[TrialState],
    done: Sequence[TrialState],
    *,
    foresee: bool,
) -> list[Entry]:
    """What each of them adds to what is there and to what is trained before it."""
    if data is None:
        return [Entry(one.trial, one.state, one.why, None, NOT_LOOKED_AT, 0, "tonight") for one in todo]
    every = [one.trial for one in (*done, *todo)]
    twins = {second: first for first, second in same_settings(every)}
    chains = chains_of(study, every)
    begun = epochs_begun(bench, study, data, [*done, *todo], chains) if bench.machine_is_known() else {}
    found = costs(bench, study, data, [one.trial for one in todo], foresee=foresee, begun=begun)
    reached: dict[str, Cost] = {}
    stored = {chains[one.trial.name] for one in done}
    entries = []
    for one, cost in zip(todo, found.each, strict=True):
        name = one.trial.name
        chain = chains[name]
        left = _after(cost, reached.get(chain)).later(found.around)
        reached[chain] = max(cost, reached.get(chain, cost), key=lambda each: each.spent + (each.at_most or 0.0))
        twin = f"says the same as {twins[name]}: its epochs are shared" if name in twins else ""
        entries.append(
            Entry(
                trial=one.trial,
                state=one.state,
                why=one.why,
                seconds=left.seconds,
                basis=cost.basis,
                disk_bytes=0 if chain in stored else cost.disk_bytes,
                when="tonight",
                reason=twin,
                at_most=left.at_most,
                epoch_seconds=cost.epoch_seconds,
                chain=chain,
            )
        )
        stored.add(chain)
    return entries


def _after(cost: Cost, before: Cost | None) -> Cost:
    """What is left of a trial when another of its chain was trained."""
    if before is None or cost.seconds is None or cost.at_most is None:
        return cost
    shared = max(0.0, before.spent + (before.seconds or 0.0) - cost.spent)
    most = max(0.0, before.spent + (before.at_most or 0.0) - cost.spent)
    return replace(cost, seconds=max(0.0, cost.seconds - shared), at_most=max(0.0, cost.at_most - most))
