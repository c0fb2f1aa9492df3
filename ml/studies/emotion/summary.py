"""What a person reads in the morning: every experiment in a line, what beats the baseline and how sure that is."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from ml.metrics.comparison import compare_with_leader
from ml.studies.results import Results
from ml.studies.scores import Scores
from ml.studies.standing import left_out

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 110
"""Longest line."""

SCARCE = 0.05
"""Share of the files below which an emotion has too little data."""

BY_HEART = 0.2
"""Distance of macro F1 on training from validation that is worth a word."""

CERTAIN = 0.05
"""Chance of being wrong in any one of the comparisons that is put up with."""


def summary(results: Results) -> str:
    """Every trial with its scores, the weakest emotions and the gap; the comparison with the baseline; the best."""
    scores, note = Scores(results), left_out(results.leaderboard)
    table = _table(scores)
    lines = ["=== EMOTION EXPERIMENTS ===", "", *([note, ""] if note else []), *_scores(table), ""]
    lines += _remarks(scores, table)
    lines += _against_baseline(scores, table)
    return "\n".join([*lines, *_best(scores, table)])


def _table(scores: Scores) -> pd.DataFrame:
    """Per trial, best first: macro F1 and accuracy in each part from 0 to 1, NaN where there is none, and the gap."""
    found = {}
    for part in ("train", "validation", "test"):
        overall = scores.overall(part) if part in scores.parts() else pd.DataFrame(index=scores.board.index)
        for metric in ("macro_f1", "accuracy"):
            found[f"{part} {metric}"] = overall.get(metric, pd.Series(float("nan"), index=scores.board.index))
    table = pd.DataFrame(found)
    table["gap"] = table["train macro_f1"] - table["validation macro_f1"]
    return table


def _scores(table: pd.DataFrame) -> list[str]:
    has_test = bool(table["test accuracy"].notna().any())
    width = max(12, *(len(name) + 2 for name in table.index))
    parts = ("validation", "test") if has_test else ("validation",)
    lines = [
        f"Percent; macro F1 counts every emotion alike. Best on validation first{'' if has_test else '; no test'}.",
        "Gap: macro F1 on the training part, without augmentation, minus that on validation.",
        "",
        f"{'':<{width}}" + "".join(f"{part:^20}" for part in parts) + f"{'training':^20}",
        f"{'experiment':<{width}}" + f"{'macro F1':>10}{'accuracy':>10}" * len(parts) + f"{'macro F1':>10}{'gap':>10}",
    ]
    for name, row in table.iterrows():
        cells = [row[f"{part} {metric}"] for part in parts for metric in ("macro_f1", "accuracy")]
        cells += [row["train macro_f1"], row["gap"]]
        lines.append(f"{name!s:<{width}}" + "".join(f"{_percent(cell):>10}" for cell in cells))
    return lines


def _remarks(scores: Scores, table: pd.DataFrame) -> list[str]:
    """Of each trial: the two weakest emotions, what is learned by heart, and what else is to know."""
    by_emotion = scores.of_classes("validation", "f1")
    inventory = scores.results.inventory
    shares = inventory.set_index("class")["files"] / max(inventory["files"].sum(), 1)
    lines = ["Weakest emotions (F1 on validation), and what is to know:"]
    for name in table.index:
        weakest = by_emotion.loc[name].dropna().nsmallest(2) if name in by_emotion.index else pd.Series(dtype=float)
        words = [
            f"{emotion} {_percent(value)}{' (too little data)' if shares.get(emotion, 1.0) < SCARCE else ''}"
            for emotion, value in weakest.items()
        ]
        if table.loc[name, "gap"] > BY_HEART:
            words.append("much of the training part is learned by heart")
        remarks = scores.board.loc[name, "remarks"] if "remarks" in scores.board else None
        if isinstance(remarks, str) and remarks:
            words.append(remarks)
        lines += _wrapped(f"  {name}: ", "; ".join(words) or "nothing")
    return [*lines, ""]


def _against_baseline(scores: Scores, table: pd.DataFrame) -> list[str]:
    """Who is ahead of the baseline in macro F1, and whether the recordings of validation leave room for chance."""
    base = scores.baseline()
    if base is None:
        return ["No experiment without changes is finished: nothing can be held against the baseline.", ""]
    values = table["validation macro_f1"] - table.loc[base, "validation macro_f1"]
    ahead = values[(values > 0) & (values.index != base)]
    if len(table) == 1:
        return [f"Only {base} is finished: there is nothing to compare yet.", ""]
    if not len(ahead):
        return [f"Nothing beats {base} in macro F1 on validation.", ""]
    lines = [f"Ahead of {base} in macro F1 on validation (points), and whether its recordings make that certain:"]
    tests = _tests(scores, base)
    for name, difference in ahead.items():
        verdict = _verdict(tests.loc[name], len(table) - 1) if name in tests.index else "not compared"
        lines += _wrapped(f"  {name}: ", f"+{100 * difference:.1f}; {verdict}")
    return [*lines, ""]


def _tests(scores: Scores, base: str) -> pd.DataFrame:
    """Each trial against the baseline, recording by recording, indexed by trial."""
    judged = scores.results.ask("predictions")
    judged = judged[(judged["level"] == "recording") & judged["trial"].isin(scores.board.index)]
    by_trial = dict(iter(judged.groupby("trial")))
    if base not in by_trial or len(by_trial) < 2:
        return pd.DataFrame()
    return compare_with_leader(by_trial, base, "validation").set_index("trial")


def _verdict(test: pd.Series, comparisons: int) -> str:
    """Certain only where the difference would be so among as many comparisons as there are."""
    counted = (
        f"only it is right on {test['better_on']}, only the baseline on {test['worse_on']} of {test['recordings']} "
        f"recordings (p = {test['p_value']:.2g})"
    )
    if test["p_value"] * comparisons < CERTAIN and test["better_on"] > test["worse_on"]:
        return f"certain, with {comparisons} compared: {counted}"
    return f"not certain: {counted}"


def _best(scores: Scores, table: pd.DataFrame) -> list[str]:
    """The leader, what test says of it, and who would have won by test."""
    name, board = str(table.index[0]), scores.board
    best = table.iloc[0]
    lines = [
        f"BEST MODEL (chosen on validation): {name}",
        f"Validation: macro F1 {_percent(best['validation macro_f1'])} %, "
        f"accuracy {_percent(best['validation accuracy'])} %{_sure(board.loc[name], 'validation')}",
    ]
    if pd.isna(best["test accuracy"]):
        return [*lines, "Test: this data has no test part; what it reaches on new pictures may be lower."]
    lines.append(
        f"Test: macro F1 {_percent(best['test macro_f1'])} %, accuracy {_percent(best['test accuracy'])} %"
        f"{_sure(board.loc[name], 'test')}"
    )
    by_test = str(table["test macro_f1"].idxmax())
    if by_test != name:
        lines.append(
            f"Highest on test alone: {by_test} with macro F1 {_percent(table.loc[by_test, 'test macro_f1'])} %; "
            "picking by test would flatter it"
        )
    return lines


def _sure(row: pd.Series, part: str) -> str:
    low, high = row.get(f"{part}_low"), row.get(f"{part}_high")
    return "" if pd.isna(low) or pd.isna(high) else f" (95 % sure between {_percent(low)} and {_percent(high)})"


def _wrapped(head: str, text: str) -> Iterable[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * 6)


def _percent(share: float | None) -> str:
    return "unknown" if share is None or pd.isna(share) else f"{100 * share:.1f}"
