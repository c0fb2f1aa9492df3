"""Pictures that studies share: curves over epochs, what is taken for what, and what each trial reaches."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ml.studies.scores import Scores

MARKS = {"train": ("|", "tab:gray"), "validation": ("o", "tab:blue"), "test": ("D", "tab:orange")}
"""How the parts are drawn, wherever several are."""


def new_figure(width: float = 5.6, height: float = 3.4) -> tuple[Figure, Any]:
    """A figure and its axes, in inches, without any window system."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def png(figure: Figure) -> bytes:
    """The figure as PNG, small enough to travel inside a table of metadata."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def trial_pictures(tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Those of the two pictures that the tables of a trial allow, by title."""
    pictures = {"curves": curves(tables["epochs"])} if "epochs" in tables else {}
    return pictures | ({"confusion": confusion(tables["confusion"])} if "confusion" in tables else {})


def curves(epochs: pd.DataFrame) -> bytes:
    """Accuracy and loss over the epochs, training dashed and validation drawn through."""
    figure, axes = new_figure()
    losses = axes.twinx()
    styles = {"train": "--", "validation": "-"}
    for part, style in styles.items():
        for metric, side, colour in (("accuracy", axes, "tab:blue"), ("loss", losses, "tab:orange")):
            rows = epochs[(epochs["part"] == part) & (epochs["metric"] == metric)]
            if len(rows):
                side.plot(rows["epoch"], rows["value"], style, color=colour, marker="o", markersize=3)
    axes.set_xlabel("epoch (training dashed, validation through)")
    axes.set_ylabel("accuracy over windows", color="tab:blue")
    losses.set_ylabel("cross-entropy (nat)", color="tab:orange")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return png(figure)


def confusion(table: pd.DataFrame, part: str | None = None, level: str = "recording", unit: str | None = None) -> bytes:
    """Counts of actual against predicted classes, coloured by share of the actual class; `unit` is what is counted."""
    part = part or ("test" if (table["part"] == "test").any() else "validation")
    rows = table[(table["part"] == part) & (table["level"] == level)]
    names = list(dict.fromkeys(rows["actual"]))
    counts = rows.pivot_table(index="actual", columns="predicted", values="count").reindex(index=names, columns=names)
    values = counts.to_numpy()
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    figure, axes = new_figure(1.6 + 0.62 * len(names), 1.2 + 0.55 * len(names))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, int(values[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(f"Predicted ({part}, {unit or f'{level}s'})")
    axes.set_ylabel("True")
    return png(figure)


def macro_f1(scores: Scores, note: str, axis: str) -> bytes:
    """One line per trial; the distance from training to validation is what was learned by heart."""
    trials = list(scores.board.index)
    figure, axes = new_figure(6.4, 1.6 + 0.28 * len(trials))
    for part, (mark, colour) in MARKS.items():
        overall = scores.overall(part)
        if "macro_f1" in overall:
            axes.plot(100 * overall["macro_f1"], range(len(trials)), mark, color=colour, label=part)
    base, values = scores.baseline(), scores.overall("validation").get("macro_f1")
    if base is not None and values is not None:
        axes.axvline(100 * values[base], color="tab:blue", lw=0.8, ls=":", label=f"{base}, validation")
    axes.set_yticks(range(len(trials)), trials)
    axes.invert_yaxis()
    axes.set_xlim(0, 102)
    axes.set_xlabel(axis)
    axes.grid(axis="y", lw=0.3)
    axes.legend(fontsize="small", loc="lower left")
    axes.set_title(note, fontsize="small")
    return png(figure)
