"""`nocturne compare`: all finished trials beside each other, in the terminal and as a file for a spreadsheet."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ml.config import ConfigError
from ml.studies.results import Results
from ml.studies.scores import Scores
from ml.studies.standing import left_out
from ml.studies.study import Study
from ml.studies.words import first_of
from orchestration import plan
from orchestration.answers import standing
from orchestration.plan import TrialState
from orchestration.resources import Bench, NotReady
from storage.durable import write_beside

if TYPE_CHECKING:
    import pandas as pd

PARTS = {"val": "validation", "validation": "validation", "test": "test"}
FEW = 30
"""Trials that are shown: the best ones. The file for a spreadsheet has all."""

NAMED = 10
"""Trials that a warning names."""

SHARES = ("accuracy", "precision", "recall", "f1")
"""Metrics (by the end of their names) that are shown in percent."""

QUALIFIED = ("_alone", "_heuristics")
"""What may follow such a name: of which items, or by whom."""


def print_comparison(bench: Bench, study: Study, split: str, metric: str | None, export: Path | None) -> int:
    """Every finished trial on one part, what is certain, what to beware of; `export` is written too. The exit code."""
    if split not in PARTS:
        raise ConfigError(f"--split {split}: it is val or test")
    if export is not None and export.is_dir():
        raise ConfigError(f"--export {export}: this is a folder; name a file in it, such as {export / 'results.csv'}")
    results = standing(bench, study)
    scores = Scores(results)
    part = PARTS[split]
    if part not in scores.parts():
        other = "val" if part == "test" else "test"
        raise NotReady(f"nothing of {study.name} was measured on a {part} part; --split {other} shows the other one")
    shown = _class_metric(metric, scores.class_metrics(part), study.name)
    states = plan.trial_states(bench, study)
    print(f"{study.question}\n")
    _print_overall(scores, part, {state.trial.name: state.trial.mode for state in states})
    if shown:
        _print_classes(scores, part, shown)
    _print_verdicts(scores)
    _print_warnings(states, results, scores)
    if export is not None:
        text = scores.spreadsheet().to_csv(index=False, lineterminator="\n")
        export.parent.mkdir(parents=True, exist_ok=True)
        write_beside(export, lambda beside: beside.write_text(text, encoding="utf-8", newline=""))
        print(f"\nwritten: {export}")
    return 0


def _class_metric(asked: str | None, known: Sequence[str], study: str) -> str | None:
    """Which metric is shown class by class; None where classes have none."""
    if asked is not None and not known:
        raise ConfigError(
            f"--metric {asked}: it picks what is shown class by class, and nothing of {study} was measured so; "
            "leave it out: all that was measured is shown"
        )
    if asked is not None and asked not in known:
        raise ConfigError(
            f"--metric {asked}: no class has it; there are: {', '.join(known)} "
            "(what is over all classes is always shown)"
        )
    return asked or ("f1" if "f1" in known else next(iter(known), None))


def _print_overall(scores: Scores, part: str, modes: Mapping[str, str]) -> None:
    """What each trial reaches over all classes, its difference to the baseline, and what it changes.

    `modes` maps a trial to the grid that it is of, if any.
    """
    board, overall = scores.board, scores.overall(part)
    columns = {scores.selection: board["selection_value"].astype(float)}
    columns |= {name: overall[name] for name in overall if part != "validation" or name != scores.monitored}
    # What rules of thumb reach is one and the same beside all trials; the file for a spreadsheet has it.
    columns = {name: values for name, values in columns.items() if not name.endswith(QUALIFIED[1])}
    cells = {name: _marked(name, values, scores.higher_is_better(name)) for name, values in columns.items()}
    compared, values = scores.compared_by(part)
    base = scores.baseline() or str(board.index[0])
    cells["difference"] = [
        "baseline" if trial == base else _in_units(compared, value - values[base], signed=True)
        for trial, value in values.items()
    ]
    counted = "1 trial" if len(board) == 1 else f"{len(board)} trials, the best on validation first"
    shares = "shares in percent, " if any(is_share(name) for name in columns) else ""
    print(f"{part}: {counted}; {shares}the best of each column with a *")
    shown = _shown(board)
    if len(shown) < len(board):
        same = board["model_key"].map(board["model_key"].value_counts())
        cells["trials"] = ["1" if count != count else f"{count:.0f}" for count in same]
    places = board.index.get_indexer(shown)
    cells = {name: [own[place] for place in places] for name, own in cells.items()}
    changes, of_grids = _changes(board["changes"], modes)
    _print_table(shown, cells, ("changes", [changes[trial] for trial in shown]))
    if len(shown) < len(board):
        print("trials: how many ended with this model, the first of them is shown; --export FILE.csv has all trials")
    why = "" if scores.baseline() else ", the leader, because every trial here changes something"
    print(f"difference: of {compared} on {part}, to {base}{why}")
    for mode, common in of_grids.items():
        print(f"{mode}: all its trials here change {common}")


def _changes(said: pd.Series, modes: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What each trial changes, and what all trials of a grid do: the latter is in no row but by the grid's name."""
    changes = {trial: _said(text).split("; ") for trial, text in said.items()}
    by_mode: dict[str, list[str]] = {}
    for trial in changes:
        if modes.get(trial):
            by_mode.setdefault(modes[trial], []).append(trial)
    of_grids = {}
    for mode, trials in by_mode.items():
        common = [change for change in changes[trials[0]] if all(change in changes[trial] for trial in trials)]
        if len(trials) > 1 and any(common):
            of_grids[mode] = "; ".join(common)
            for trial in trials:
                changes[trial] = [mode, *(change for change in changes[trial] if change not in common)]
    return {trial: "; ".join(own) for trial, own in changes.items()}, of_grids


def _shown(board: pd.DataFrame) -> list[str]:
    """All trials; of many the best ones, trials that ended with the same model once."""
    if len(board) <= FEW:
        return list(board.index)
    return list(board.index[~board["model_key"].fillna(board.index.to_series()).duplicated()][:FEW])


def _print_classes(scores: Scores, part: str, metric: str) -> None:
    """One metric of each class of each trial."""
    table = scores.of_classes(part, metric).loc[_shown(scores.board)]
    print(f"\n{metric} of each class, {part}")
    _print_table(table.index, {name: _marked(metric, table[name], scores.higher_is_better(metric)) for name in table})


def _print_verdicts(scores: Scores) -> None:
    """What is certain about the order: of the present leader only."""
    board, said = scores.board, scores.results.comparisons
    if len(board) < 2:
        return
    verdicts = dict(said.loc[said["against"] == board.index[0], ["trial", "verdict"]].itertuples(index=False))
    print(f"\nagainst the leader, {board.index[0]}, on validation:")
    for trial in _shown(board)[1:]:
        print(f"  {trial}: {verdicts.get(trial, 'not compared yet')}")
    if len(board) > FEW:
        words = Counter(verdicts.get(trial, "not compared yet").partition(":")[0] for trial in board.index[1:])
        print(f"  of all {len(board) - 1}: {', '.join(f'{count} {word}' for word, count in words.most_common())}")


def _print_warnings(all_states: Sequence[TrialState], results: Results, scores: Scores) -> None:
    """What to know before reading much into a row, and which trials are in none."""
    states = {state.trial.name: state for state in all_states}
    remarks = scores.board.loc[_shown(scores.board), "remarks"]
    lines = [f"{trial}: {_said(text)}" for trial, text in remarks.items() if _said(text)]
    old: dict[str, list[str]] = {}
    for trial in scores.board.index:
        if trial not in states:
            old.setdefault("no file declares it any more", []).append(trial)
        elif states[trial].state == "stale":
            old.setdefault(f"stale, {states[trial].why}", []).append(trial)
    lines += [f"{first_of(trials, NAMED)}: {why}" for why, trials in old.items()]
    if lines:
        print()
    for line in lines:
        print(f"WARNING: {line}")
    if note := left_out(results.leaderboard):
        print(f"\n{note}")
    missing = _without_result(all_states, set(results.leaderboard["trial"]))
    if missing:
        print(f"\nwithout a result: {first_of(missing, NAMED)}")


def _without_result(states: Sequence[TrialState], finished: Collection[str]) -> list[str]:
    """Trials without a result by name; of a grid that nobody began none, for nobody waits for it."""
    begun = {state.trial.mode for state in states if state.trial.name in finished or state.state != "missing"}
    return [
        state.trial.name
        for state in states
        if state.trial.name not in finished and (not state.trial.mode or state.trial.mode in begun)
    ]


def _marked(name: str, values: pd.Series, higher: bool) -> list[str]:
    """The values for a person, a * behind the best; empty where there is none."""
    best = values.max() if higher else values.min()
    several = values.dropna().ne(best).any()
    return [_in_units(name, value) + ("*" if several and value == best else " ") for value in values]


def _in_units(name: str, value: float, *, signed: bool = False) -> str:
    if value != value:
        return "-"
    sign = "+" if signed else ""
    if not is_share(name):
        return f"{value:{sign}.4g}"
    return f"{round(100 * value, 1) + 0.0:{sign}.1f}"  # never -0.0


def is_share(name: str) -> bool:
    """Whether a metric goes from 0 to 1."""
    for end in QUALIFIED:
        name = name.removesuffix(end)
    return name.endswith(SHARES)


def _said(text: object) -> str:
    """The text, or nothing where SQL has none."""
    return text if isinstance(text, str) else ""


def _print_table(
    trials: Sequence[str], columns: dict[str, list[str]], last: tuple[str, list[str]] | None = None
) -> None:
    """One line per trial; the `last` column is shortened to the terminal, if this is one."""
    widths = {name: max(len(name), *(len(cell) for cell in cells)) for name, cells in columns.items()}
    first = max(len("trial"), *(len(trial) for trial in trials))
    room = shutil.get_terminal_size().columns - first - sum(width + 2 for width in widths.values()) - 2
    lines = [["trial", *columns], *([trial, *cells] for trial, *cells in zip(trials, *columns.values(), strict=True))]
    ends = ["", *[""] * len(trials)] if last is None else [last[0], *last[1]]
    for (trial, *cells), end in zip(lines, ends, strict=True):
        if sys.stdout.isatty():
            end = textwrap.shorten(end, max(room, 20), placeholder=" …")
        padded = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths.values(), strict=True))
        print(f"{trial:<{first}}{padded}  {end}".rstrip())
