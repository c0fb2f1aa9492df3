"""What a person reads in the morning: every point with its classes, a plain remark where it matters, then the best."""

from __future__ import annotations

import pandas as pd

from ml.studies.concert.pictures import strengths
from ml.studies.standing import comparable, left_out

WEAK = 0.7
"""Recall below which a class is called weak."""

SCARCE = 0.05
"""Share of the minutes below which a class has too little data."""

NOTICEABLE = 0.02
"""Change of recall against the lowest strength that is worth a word."""


def summary(leaderboard: pd.DataFrame, per_class: pd.DataFrame, inventory: pd.DataFrame) -> str:
    """The experiment summary; accuracies are percent of test windows (of validation where there is no test)."""
    note = left_out(leaderboard)
    leaderboard = comparable(leaderboard)
    per_class = per_class[per_class["trial"].isin(leaderboard["trial"])]
    part = "test" if (per_class["part"] == "test").any() else "validation"
    recalls = per_class[(per_class["part"] == part) & (per_class["level"] == "window")]
    strength = strengths(leaderboard)
    order = leaderboard.assign(strength=leaderboard["trial"].map(strength)).sort_values(["strength", "trial"])
    shares = inventory.set_index("class")["minutes"] / inventory["minutes"].sum()
    first = dict(_recall_of(recalls, order.iloc[0]["trial"]))
    width = max(len(name) for name in recalls["class"]) + 1
    lines = ["=== EXPERIMENT SUMMARY ===", "", *([note, ""] if note else [])]
    for row in order.itertuples():
        lines += [
            f"Balance Strength: {row.strength:.2f}",
            f"  {part.capitalize()} Accuracy: {_percent(getattr(row, part + '_accuracy'))}",
            f"  Training Time: {row.seconds_standalone / 60:.1f} min",
            "  Per-class accuracy:",
        ]
        for name, recall in _recall_of(recalls, row.trial):
            remark = _remark(recall, first.get(name), float(shares.get(name, 1.0)), row.trial == order.iloc[0]["trial"])
            lines.append(f"    {name + ':':<{width}} {_percent(recall):>8}{'   ' + remark if remark else ''}")
        lines.append("")
    best = order[order["trial"] == leaderboard.sort_values("rank").iloc[0]["trial"]].iloc[0]
    by_test = order.sort_values(f"{part}_accuracy", ascending=False, kind="stable").iloc[0]
    lines += [
        "BEST MODEL (chosen on validation)",
        f"Balance Strength: {best['strength']:.2f}",
        f"{part.capitalize()} Accuracy: {_percent(best[part + '_accuracy'])}"
        f" (95 % sure between {_percent(best[part + '_low'])} and {_percent(best[part + '_high'])})",
    ]
    if by_test["trial"] != best["trial"]:
        lines.append(
            f"Highest on {part} alone: {by_test['strength']:.2f} with {_percent(by_test[part + '_accuracy'])}; "
            "picking by test would flatter it"
        )
    return "\n".join(lines)


def _recall_of(recalls: pd.DataFrame, trial: str) -> list[tuple[str, float]]:
    rows = recalls[recalls["trial"] == trial].sort_values("class")
    return list(zip(rows["class"], rows["recall"].astype(float), strict=True))


def _remark(recall: float, first: float | None, share: float, is_first: bool) -> str:
    if pd.isna(recall):
        return "no recording of it in this part"
    words = []
    if recall < WEAK:
        words.append("weak: too little data" if share < SCARCE else "weak")
    if not is_first and first is not None and not pd.isna(first):
        if recall - first > NOTICEABLE:
            words.append("better")
        elif first - recall > NOTICEABLE:
            words.append("a little worse" if first - recall < 0.1 else "worse")
    return ", ".join(words)


def _percent(share: float) -> str:
    return "unknown" if share is None or pd.isna(share) else f"{100 * share:.2f}%"
