"""The report of a trial, component by component: as people had it from scikit-learn, and what it does not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ml.data.components import COMPONENTS

if TYPE_CHECKING:
    import pandas as pd

TITLE = "classification report"


def trial_texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The report on test (on validation where there is no test), where there are tables to tell it from."""
    if "confusion" not in tables or not len(tables["confusion"]):
        return {}
    metrics = tables.get("metrics")
    return {TITLE: report(tables["confusion"], metrics)}


def report(confusion: pd.DataFrame, metrics: pd.DataFrame | None = None, part: str | None = None) -> str:
    """Precision, recall, F1 and support of each component over the hits of `part`, and of those that stand alone.

    Undefined values are `nan` and are in no mean: a component that never occurs was not got wrong.
    """
    part = part or judged_part(confusion)
    counts = counts_of(confusion, part)
    lines = [f"Every hit of {part}, told which components sound with it:", "", _table(counts)]
    if metrics is not None:
        lines += _alone(metrics[metrics["part"] == part], counts)
    return "\n".join(lines)


def judged_part(table: pd.DataFrame) -> str:
    """Test where there is one, else validation."""
    return "test" if (table["part"] == "test").any() else "validation"


def counts_of(confusion: pd.DataFrame, part: str) -> pd.DataFrame:
    """Hits, rows what they are and columns what they were taken for; only components that occur as either."""
    rows = confusion[(confusion["part"] == part) & (confusion["level"] == level_of_hits(confusion))]
    table = rows.pivot_table(index="actual", columns="predicted", values="count", aggfunc="sum", fill_value=0)
    table = table.reindex(index=COMPONENTS, columns=COMPONENTS, fill_value=0).astype(np.int64)
    there = (table.sum(axis=1) + table.sum(axis=0)) > 0
    return table.loc[there, there]


def level_of_hits(table: pd.DataFrame) -> str:
    """The level at which single hits are counted."""
    return "window" if (table["level"] == "window").any() else "recording"


def _table(counts: pd.DataFrame) -> str:
    from sklearn.metrics import classification_report

    names, values = list(counts.index), counts.to_numpy()
    actual, predicted = np.indices(values.shape)
    text = classification_report(
        np.repeat(actual.ravel(), values.ravel()),
        np.repeat(predicted.ravel(), values.ravel()),
        labels=range(len(names)),
        target_names=names,
        digits=3,
        zero_division=np.nan,
    )
    return str(text).rstrip()


def _alone(metrics: pd.DataFrame, counts: pd.DataFrame) -> list[str]:
    """What is known of hits whose window holds no other: nothing to confuse them with but themselves."""
    overall = metrics[metrics["class"].isna()].drop_duplicates("metric").set_index("metric")["value"]
    if "macro_f1_alone" not in overall:
        return []
    of_classes = metrics[metrics["class"].notna()]
    table = of_classes.pivot_table(index="class", columns="metric", values="value", aggfunc="first", dropna=False)
    head = f"{'':>12}{'recall':>10}{'f1-score':>10}"
    lines = ["", "Hits that stand alone (no other within the window):", "", head, ""]
    for name in counts.index:
        if name in table.index and {"recall_alone", "f1_alone"} <= set(table.columns):
            recall, f1 = table.loc[name, ["recall_alone", "f1_alone"]]
            lines.append(f"{name:>12}{recall:>10.3f}{f1:>10.3f}")
    means = (("accuracy", "accuracy_alone"), ("macro f1", "macro_f1_alone"))
    return [*lines, "", *(f"{word:>12}{'':>10}{overall.get(metric, float('nan')):>10.3f}" for word, metric in means)]
