"""The picture the concert study is about: what the frequent class loses and the rare class gains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml.studies.pictures import new_figure, png
from ml.studies.standing import comparable, left_out

if TYPE_CHECKING:
    import pandas as pd


def trade_off(leaderboard: pd.DataFrame, per_class: pd.DataFrame, inventory: pd.DataFrame) -> dict[str, bytes]:
    """Recall of the most and of the least frequent class over the balance strength, on test where there is one."""
    note = left_out(leaderboard)
    leaderboard = comparable(leaderboard)
    per_class = per_class[per_class["trial"].isin(leaderboard["trial"])]
    by_minutes = inventory.sort_values("minutes")["class"]
    frequent, rare = str(by_minutes.iloc[-1]), str(by_minutes.iloc[0])
    part = "test" if (per_class["part"] == "test").any() else "validation"
    figure, axes = new_figure()
    for name, colour in ((frequent, "tab:blue"), (rare, "tab:red")):
        own = per_class[(per_class["class"] == name) & (per_class["part"] == part) & (per_class["level"] == "window")]
        rows = own.assign(strength=own["trial"].map(strengths(leaderboard))).dropna(subset=["strength", "recall"])
        drawn = 100 * rows.sort_values("strength").set_index("strength")[["recall", "low", "high"]].astype(float)
        axes.plot(drawn.index, drawn["recall"], "-o", color=colour, label=name)
        axes.fill_between(drawn.index, drawn["low"], drawn["high"], color=colour, alpha=0.15, lw=0)
    axes.set_xlabel("balance strength")
    axes.set_ylabel(f"recall, % of {part} windows")
    axes.set_ylim(0, 102)
    axes.legend()
    axes.set_title(note, fontsize="small")
    return {f"{frequent} against {rare}": png(figure)}


def strengths(leaderboard: pd.DataFrame) -> dict[str, float]:
    """Trial name to balance strength, from the settings that the trial was recorded with."""
    return {row.trial: float(row.config["balance_strength"]) for row in leaderboard.itertuples()}
