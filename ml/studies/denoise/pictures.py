"""What is seen of the denoise study: losses over epochs, decibels before and after, what each setting brings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.studies.analysis import impact_of
from ml.studies.pictures import new_figure, png
from ml.studies.standing import comparable, left_out

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.results import Results

PARTS = {"validation": ("o", "tab:blue"), "test": ("D", "tab:orange")}

ACROSS = 4
"""Settings beside each other."""


def trial_pictures(tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Those of the two pictures that the tables of a trial allow, by title."""
    pictures = {}
    if "epochs" in tables:
        drawn = tables["epochs"][["part", "metric", "epoch", "value"]]
        pictures["loss"] = _drawn_once("loss", tuple(drawn.itertuples(index=False, name=None)))
    if "scores" in tables and len(files := before_and_after(tables["scores"])):
        points = files[["part", "before", "after"]]
        pictures["SI-SDR before and after"] = _drawn_once("gain", tuple(points.itertuples(index=False, name=None)))
    return pictures


@lru_cache(maxsize=64)  # of 36 trials that run together many have the same history, and most the same model
def _drawn_once(which: str, rows: tuple[tuple[Any, ...], ...]) -> bytes:
    import pandas as pd

    if which == "loss":
        return _losses(pd.DataFrame(list(rows), columns=["part", "metric", "epoch", "value"]))
    return _gain(pd.DataFrame(list(rows), columns=["part", "before", "after"]), "")


def leaderboard_pictures(results: Results) -> dict[str, bytes]:
    """What every value of every setting brings, and what the best trial makes of every file."""
    note = left_out(results.leaderboard)
    best = str(comparable(results.leaderboard).sort_values("rank").iloc[0]["trial"])
    pictures = {}
    board, impact = impact_of(results)
    if len(impact):
        pictures["what each setting brings"] = _impact(impact, board, results.ask("settings"), note)
    scores = results.ask("scores")
    files = before_and_after(scores[scores["trial"] == best])
    if len(files):
        pictures["SI-SDR before and after, best trial"] = _gain(files, best)
    return pictures


def before_and_after(scores: pd.DataFrame) -> pd.DataFrame:
    """SI-SDR in dB of every file for which it is defined: columns part, path, before and after denoising."""
    table = scores.pivot_table(index=["part", "path"], columns="metric", values="value", aggfunc="first")
    if not {"si_sdr", "si_sdr_improvement"} <= set(table.columns):
        return table.head(0)
    table = table.assign(before=table["si_sdr"] - table["si_sdr_improvement"], after=table["si_sdr"])
    return table[["before", "after"]].dropna().reset_index()


def _losses(epochs: pd.DataFrame) -> bytes:
    """Loss over the epochs, training dashed, validation drawn through; dotted where the learning rate falls."""
    figure, axes = new_figure()
    for part, style in (("train", "--"), ("validation", "-")):
        rows = epochs[(epochs["part"] == part) & (epochs["metric"] == "loss")].sort_values("epoch")
        axes.plot(rows["epoch"], rows["value"], style, color="tab:orange", label=part)
    rates = epochs[(epochs["part"] == "train") & (epochs["metric"] == "lr")].sort_values("epoch")
    for epoch in rates["epoch"][rates["value"].diff() < 0]:
        axes.axvline(epoch - 0.5, color="tab:gray", lw=0.7, ls=":")
    losses = epochs.loc[epochs["metric"] == "loss", "value"]
    if len(losses) and (losses > 0).all():
        axes.set_yscale("log")
    axes.set_xlabel("epoch (dotted: the learning rate falls)")
    axes.set_ylabel("loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize="small")
    return png(figure)


def _gain(files: pd.DataFrame, title: str) -> bytes:
    """Each file a point; above the line it became better."""
    figure, axes = new_figure(4.4, 4.0)
    for part, (mark, colour) in PARTS.items():
        own = files[files["part"] == part]
        if len(own):
            gained = (own["after"] - own["before"]).mean()
            axes.plot(
                own["before"], own["after"], mark, color=colour, ms=4, alpha=0.7, label=f"{part}: {gained:+.1f} dB"
            )
    ends = np.array([files["before"].min() - 1, files["before"].max() + 1])
    axes.plot(ends, ends, color="black", lw=0.8, label="unchanged")
    axes.set_xlabel("SI-SDR before, dB")
    axes.set_ylabel("SI-SDR after, dB")
    axes.set_title(title, fontsize="small")
    axes.legend(fontsize="small")
    return png(figure)


def _impact(impact: pd.DataFrame, trials: pd.DataFrame, settings: pd.DataFrame, note: str) -> bytes:
    """Of each setting: all trials as dots by value, their means as a line; what is furthest apart comes first."""
    from matplotlib.figure import Figure

    board = trials.set_index("trial")["selection_value"].astype(float)
    means = impact.groupby("setting")["mean"]
    order = (means.max() - means.min()).sort_values(ascending=False, kind="stable").index
    down = math.ceil(len(order) / ACROSS)
    figure = Figure(figsize=(2.5 * min(len(order), ACROSS), 0.4 + 2.1 * down), layout="constrained")
    grid: Any = figure.subplots(down, min(len(order), ACROSS), squeeze=False, sharey=True)
    for axes, setting in zip(grid.flat, order, strict=False):
        rows = impact[impact["setting"] == setting].reset_index()
        place = {value: number for number, value in enumerate(rows["value"])}
        own = settings[settings["setting"] == setting]
        points = own.assign(place=own["value"].map(place), loss=own["trial"].map(board)).dropna(
            subset=["place", "loss"]
        )
        shift = np.random.default_rng(0).uniform(-0.2, 0.2, len(points))
        axes.plot(
            points["place"] + shift, points["loss"], ".", ms=2 if len(board) > 100 else 5, color="tab:gray", alpha=0.5
        )
        axes.plot(range(len(rows)), rows["mean"], "-o", ms=4, color="tab:blue")
        axes.set_xticks(range(len(rows)), rows["value"], fontsize="x-small")
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.set_title(str(setting).removeprefix("training."), fontsize="small")
    for axes in grid.flat[len(order) :]:
        axes.set_visible(False)
    grid[0, 0].set_ylabel("validation loss", fontsize="small")
    figure.suptitle(f"dots: trials; line: means{'; ' + note if note else ''}", fontsize="x-small")
    return png(figure)
