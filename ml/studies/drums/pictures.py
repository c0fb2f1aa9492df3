"""What is seen of the drums study: what is taken for what, and how well songs become beatmaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ml.data.components import COMPONENTS
from ml.studies import pictures
from ml.studies.drums.events import AS_USED, EVENT_F1, event_rows
from ml.studies.drums.report import judged_part, level_of_hits
from ml.studies.pictures import MARKS, macro_f1, new_figure, png
from ml.studies.scores import Scores
from ml.studies.standing import left_out

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.results import Results


def trial_pictures(tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Those of the three pictures that the tables of a trial allow, by title."""
    found = {"curves": pictures.curves(tables["epochs"])} if "epochs" in tables else {}
    if "confusion" in tables and len(tables["confusion"]):
        found["confusion"] = confusion(tables["confusion"])
    if "scores" in tables and len(songs := _songs(tables["scores"])):
        found["hits found in songs"] = _of_songs(songs)
    return found


def confusion(table: pd.DataFrame, part: str | None = None) -> bytes:
    """Hits by component, True against Predicted, of the components that occur as either; numbers in all fields."""
    counted = table[table["count"] > 0]
    there = set(counted["actual"]) | set(counted["predicted"])
    shown = table[table["actual"].isin(there) & table["predicted"].isin(there)]
    return pictures.confusion(shown, part or judged_part(table), level_of_hits(table), unit="hits")


def leaderboard_pictures(results: Results) -> dict[str, bytes]:
    """Macro F1 of each trial, and each component's F1 in songs, of the best trial and of the heuristics."""
    scores, note = Scores(results), left_out(results.leaderboard)
    found = {"macro F1 of each trial": macro_f1(scores, note, "macro F1 of single hits, %")}
    events = event_rows(results.ask("metrics"), str(scores.board.index[0]))
    if len(events):
        found["hits found in songs, best trial"] = _against_heuristics(events, note)
    return found


def _against_heuristics(events: pd.DataFrame, note: str) -> bytes:
    """Two bars per component: as the model finds its hits, and as the rules without a model do."""
    part = judged_part(events)
    own = events[(events["part"] == part) & events["class"].notna()]
    table = own.pivot_table(index="class", columns="metric", values="value", aggfunc="first", dropna=False)
    names = [name for name in COMPONENTS if name in table.index]
    figure, axes = new_figure(1.6 + 0.75 * len(names), 3.6)
    for side, (metric, (words, colour)) in enumerate(AS_USED.items()):
        if metric in table:
            values = 100 * table[metric].reindex(names)
            places = np.arange(len(names)) + 0.4 * side - 0.2
            axes.bar(places, values.fillna(0), width=0.38, color=colour, label=words)
            for place, value in zip(places, values, strict=True):
                axes.text(place, 1 if np.isnan(value) else value + 1, _rounded(value), ha="center", fontsize="x-small")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_ylim(0, 110)
    axes.set_ylabel(f"F1 of hits found within 50 ms, %\n({part}, whole songs)")
    axes.legend(fontsize="small", loc="lower right")
    axes.set_title(note, fontsize="small")
    return png(figure)


def _rounded(value: float) -> str:
    return "?" if np.isnan(value) else f"{value:.0f}"


def _songs(scores: pd.DataFrame) -> pd.DataFrame:
    """Columns part, path, class, value: F1 of each component in each song."""
    rows = scores[scores["metric"].isin([f"{EVENT_F1}_{name}" for name in COMPONENTS])].dropna(subset=["value"])
    return rows.assign(**{"class": rows["metric"].str.removeprefix(f"{EVENT_F1}_")})


def _of_songs(songs: pd.DataFrame) -> bytes:
    """Each song a point in the column of each component that it has; the line is their mean."""
    names = [name for name in COMPONENTS if (songs["class"] == name).any()]
    figure, axes = new_figure(1.6 + 0.62 * len(names), 3.4)
    for part in ("validation", "test"):
        rows = songs[songs["part"] == part]
        mark, colour = MARKS[part]
        if len(rows):
            places = [names.index(name) + (0.12 if part == "test" else -0.12) for name in rows["class"]]
            axes.plot(places, 100 * rows["value"], mark, color=colour, ms=5, alpha=0.7, label=f"songs of {part}")
    means = [100 * songs.loc[songs["class"] == name, "value"].mean() for name in names]
    axes.plot(range(len(names)), means, "_", color="black", ms=18, label="mean")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_ylim(-3, 105)
    axes.set_ylabel("F1 of hits found within 50 ms, %")
    axes.legend(fontsize="small", loc="lower left")
    return png(figure)
