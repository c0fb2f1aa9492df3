"""What finished trials say about the settings: the best, what matters, what is learned by heart, what failed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from ml.studies.importance import importance, several_grids, weighed, whole
from ml.studies.scores import flat
from ml.studies.standing import comparable, left_out

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.results import Results

TOP = 5
"""Different results that are shown."""

WIDTH = 110
"""Longest line."""

SMALL = 0.005
"""Share of the variance below which a setting decides nothing."""

FAILED = 20
"""Failed trials that are named."""

OF_NO_TRIAL = ("name", "purpose")
"""Settings that are no settings."""


def analysis(results: Results, verdicts: Sequence[str] = ()) -> str:
    """All of it as text; `verdicts` are sentences by rules of the study's own."""
    note = left_out(results.leaderboard)
    lines = [_head(results), *([note] if note else []), ""]
    lines += [f"TOP {TOP} DIFFERENT RESULTS", *_table(top(results)), ""]
    lines += ["WHAT EACH SETTING BRINGS", *_impact(results), ""]
    lines += ["HOW MUCH EACH SETTING DECIDES", *_importance(results), ""]
    lines += ["OVERFITTING", *_overfitting(results), ""]
    lines += ["STATISTICS", *_statistics(results), ""]
    if verdicts:
        lines += ["VERDICTS", *(line for said in verdicts for line in _wrapped(said)), ""]
    return "\n".join([*lines, "FAILED TRIALS", *_failed(results)])


def top(results: Results) -> pd.DataFrame:
    """The best different results, one line each: trials that ended with the same model are counted, not listed."""
    board = comparable(results.leaderboard).sort_values("rank")
    keys = board["model_key"].fillna(board["trial"])
    board = board.assign(same=keys.map(keys.value_counts()) - 1)
    board = board[~keys.duplicated()].head(TOP)
    gaps = results.ask("fits").set_index("trial")["gap"]
    frame = board[["rank", "selection_value", "trial", "same", "epochs", "best_epoch"]].assign(
        gap=board["trial"].map(gaps)
    )
    return frame.rename(columns={"selection_value": _metric(results), "same": "others with this model"})


def importance_of(results: Results) -> pd.DataFrame:
    """The importance of every setting in which the trials of the present data differ; see `ml.studies.importance`."""
    return importance(*_points(comparable(results.leaderboard)))


def impact_of(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trials whose settings can be held against each other, and the view `impact` of them alone.

    Those of one grid; none where there are several that differ in more than one setting at once.
    """
    board = comparable(results.leaderboard)
    points, values = _points(board)
    used = weighed(points, values)
    if used is not None:
        board = board[used]
    elif several_grids(points):
        board = board.head(0)
    return board, _by_value(results.ask("settings"), board, higher=_higher(results))


def _points(board: pd.DataFrame) -> tuple[list[dict[str, Any]], list[float]]:
    """The settings of the trials, and what they reach."""
    points = [flat({name: value for name, value in row.items() if name not in OF_NO_TRIAL}) for row in board["config"]]
    return points, board["selection_value"].astype(float).tolist()


def _head(results: Results) -> str:
    board = comparable(results.leaderboard)
    better = "higher" if _higher(results) else "lower"
    return f"{_trials(len(board))}, ranked by {_metric(results)} ({better} is better)"


def _metric(results: Results) -> str:
    return str(results.leaderboard.sort_values("rank").iloc[0]["selection_metric"])


def _higher(results: Results) -> bool:
    return str(results.leaderboard.sort_values("rank").iloc[0]["higher_is_better"]) != "False"


def _impact(results: Results) -> Iterable[str]:
    """Values of each setting, over the trials that the importance rests on; a table for each of several grids."""
    board = comparable(results.leaderboard)
    points, values = _points(board)
    used = weighed(points, values)
    grids = several_grids(points) if used is None else []
    if not grids:
        kept = board if used is None else board[used]
        lines = _means(results, kept)
        if lines and len(kept) < len(board):
            aside = len(board) - len(kept)
            said = f"Over the {len(kept)} trials of one grid; {_trials(aside)} with other values left aside."
            lines = [*_wrapped(said), *lines]
        return lines or ["  The trials differ in no setting."]
    lines = _wrapped(
        f"{len(grids)} grids with different settings: what tells them apart changed together, so that no mean "
        "over all trials is the doing of one setting. Each by itself:"
    )
    alike = {name for name in points[0] if len({repr(point.get(name)) for point in points}) == 1}
    for grid in grids:
        own = [point for point, taken in zip(points, grid, strict=True) if taken]
        same = [
            f"{name} {value}"
            for name, value in sorted(own[0].items())
            if name not in alike and all(point.get(name) == value for point in own)
        ]
        lines += ["", *_wrapped(f"{_trials(len(own))} with {', '.join(same)}")]
        lines += _means(results, board[grid]) or ["  The trials differ in no setting."]
    return lines


def _means(results: Results, board: pd.DataFrame) -> list[str]:
    """Values of each setting in these trials, the setting whose means lie furthest apart first."""
    impact = _by_value(results.ask("settings"), board, higher=_higher(results))
    if not len(impact):
        return []
    means = impact.groupby("setting")["mean"]
    apart = (means.max() - means.min()).sort_values(ascending=False, kind="stable")
    head = f"{'trials':>8}{'mean':>12}{'median':>12}{'best':>12}{'worst':>12}"
    width = max(28, *(len(str(value)) + 6 for value in impact["value"]))
    lines = [f"  {_metric(results) + ' of its trials':<{width}}{head}"]
    for setting in apart.index:
        own = impact[impact["setting"] == setting]
        best = own["mean"].max() if _higher(results) else own["mean"].min()
        lines.append(f"  {setting}")
        for row in own.itertuples():
            figures = "".join(f"{_number(value):>12}" for value in (row.mean, row.median, row.best, row.worst))
            mark = "  *" if row.mean == best else ""
            lines.append(f"    {row.value!s:<{width - 2}}{row.trials:>8}{figures}{mark}")
    over = "all values of the other settings"
    if not whole(_points(board)[0]):
        over = "the trials there are with that value, whatever else they change"
    return [*lines, f"  *: the best mean of the setting. A mean is over {over}."]


def _by_value(settings: pd.DataFrame, board: pd.DataFrame, *, higher: bool) -> pd.DataFrame:
    """What the view `impact` says of all trials, of these ones."""
    settings = settings[~settings["setting"].isin(OF_NO_TRIAL)]
    rows = settings.merge(board[["trial", "selection_value"]], on="trial")
    rows = rows[rows.groupby("setting")["value"].transform(lambda values: values.fillna("").nunique()) > 1]
    grouped = rows.astype({"selection_value": float}).groupby(["setting", "value"], dropna=False)["selection_value"]
    best, worst = ("max", "min") if higher else ("min", "max")
    found = grouped.agg(trials="size", mean="mean", median="median", best=best, worst=worst).reset_index()
    numbers = rows.drop_duplicates(["setting", "value"])[["setting", "value", "number"]]
    return found.merge(numbers, on=["setting", "value"]).sort_values(
        ["setting", "number", "value"], kind="stable", ignore_index=True
    )


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def _importance(results: Results) -> Iterable[str]:
    found = importance_of(results)
    if not len(found):
        return _wrapped(
            "Too few trials, or no grid: settings are changed one at a time, or most combinations have no result. "
            "The means above are all there is to say."
        )
    trials = int(found["trials"].iloc[0])
    basis = f"exact, over a whole grid of {trials} trials"
    if not found["whole"].iloc[0]:
        basis = f"from {trials} trials; a random forest filled in the points without a result"
    lines = [*_wrapped(f"Percent of the variance of {_metric(results)} ({basis}).")]
    width = max(30, *(len(name) + 4 for name in found["setting"]))
    lines.append(f"  {'setting':<{width}}{'by itself':>12}{'with others':>14}   most together with")
    for row in found.itertuples():
        partner = f"{row.partner} ({100 * row.together:.1f})" if row.together >= SMALL else "nothing"
        lines.append(f"  {row.setting:<{width}}{100 * row.main:>12.1f}{100 * row.total:>14.1f}   {partner}")
    idle = [row.setting for row in found.itertuples() if row.total < SMALL]
    if idle:
        lines += _wrapped(f"Decides next to nothing here: {', '.join(idle)}.")
    return lines


def _overfitting(results: Results) -> Iterable[str]:
    fits = results.ask("fits")
    fits = fits[fits["trial"].isin(comparable(results.leaderboard)["trial"])]
    known = fits.dropna(subset=["gap"])
    if not len(known):
        return ["  No training loss beside the validation loss was recorded."]
    widest = known.loc[known["gap"].idxmax()]
    gaps = f"mean {_number(known['gap'].mean())}, median {_number(known['gap'].median())}"
    stopped = int(fits["stopped_early"].fillna(False).astype(bool).sum())
    rising = int((known["validation_loss"] > 1.1 * known["best_validation_loss"]).sum())
    return [
        f"  gap: validation loss minus training loss at the last epoch: {gaps}",
        f"  widest gap: {_number(widest['gap'])}, {widest['trial']}",
        f"  validation loss at the end more than 10 % above its lowest: {rising} of {_trials(len(known))}",
        f"  stopped early: {stopped} of {_trials(len(fits))}; epochs on average {fits['epochs_done'].mean():.1f} "
        f"of {fits['epochs_planned'].mean():.1f} planned",
    ]


def _statistics(results: Results) -> Iterable[str]:
    (spread,) = results.ask("spread").to_dict("records")
    lines = [
        f"  trials {spread['trials']}, different models {spread['distinct_models']}",
        f"  {_metric(results)}: " + ", ".join(
            f"{name} {_number(spread[name])}" for name in ("mean", "median", "deviation", "best", "worst")
        ),
    ]  # fmt: skip
    alone, spent = spread["seconds_standalone"], spread["seconds_spent"]
    if alone and spent:
        lines.append(f"  time: {_duration(alone)} if each trial had run alone, {_duration(spent)} spent")
    return lines


def _failed(results: Results) -> Iterable[str]:
    failures = results.ask("failures")
    if not len(failures):
        return ["  none"]
    lines = []
    for row in failures.head(FAILED).itertuples():
        error = textwrap.shorten(str(row.error), 200, placeholder=" …")
        known = isinstance(row.epoch, Real) and row.epoch == row.epoch and not error.startswith("epoch ")
        epoch = f", epoch {int(row.epoch)}" if known else ""
        older = " (an older result stands)" if row.has_result else ""
        lines += _wrapped(f"{row.trial}: {row.status}{epoch}: {error}{older}")
    if len(failures) > FAILED:
        lines.append(f"  and {len(failures) - FAILED} more, all in the view `failures` (nocturne sql)")
    return lines


def _table(frame: pd.DataFrame) -> list[str]:
    """Columns side by side, numbers to the right."""
    cells = {name: [_number(value) for value in frame[name]] for name in frame.columns}
    widths = {name: max(len(name), *(len(cell) for cell in own)) for name, own in cells.items()}
    numeric = {name: frame[name].dtype.kind in "iuf" for name in frame.columns}
    rows = [list(frame.columns), *map(list, zip(*cells.values(), strict=True))]
    return [
        "  " + "  ".join(
            cell.rjust(widths[name]) if numeric[name] else cell.ljust(widths[name])
            for name, cell in zip(frame.columns, row, strict=True)
        ).rstrip()
        for row in rows
    ]  # fmt: skip


def _number(value: Any) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4g}"
    return str(value)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
