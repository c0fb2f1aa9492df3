"""What a person sees of an asset in the Dagster UI: tables, figures and pictures, each with its unit."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.studies.study import Results, Study

if TYPE_CHECKING:
    import pandas as pd

    from orchestration.answers import BestModel
    from storage.records import Record

VOICE = logging.getLogger("nocturne")
"""What is said while work goes on; the command line shows it, the UI has it in the run's log."""

BOARD = ["rank", "trial", "selection_value", "test_accuracy", "test_low", "test_high", "worst_class", "epochs"]
BOARD_HEAD = {"selection_value": "validation", "test_accuracy": "test", "test_low": "from", "test_high": "to"}
"""What fits beside each other on the page; SQL has the rest."""

PROGRESS_SECONDS = 5.0
"""A long step says how far it is this often."""


def say(context: dg.AssetExecutionContext) -> Callable[[str], None]:
    """Say a sentence in the run's log and, on the command line, to the person who waits."""

    def speak(sentence: str) -> None:
        context.log.info(sentence)
        VOICE.info(sentence)

    return speak


def progress(context: dg.AssetExecutionContext) -> Callable[[float, str], None]:
    """Progress of a long step: now and then a line, never a flood."""
    last = time.monotonic()

    def tell(share: float, words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            say(context)(f"{context.asset_key.to_user_string()}: {100 * share:.0f} %, {words}")

    return tell


def inventory(files: pd.DataFrame, notes: list[str]) -> dg.MaterializeResult:
    """Minutes and files per class, and every file that was refused or warned about."""
    accepted = files[files["state"] != "rejected"]
    table = accepted.groupby("label").agg(
        files=("path", "count"), recordings=("group", "nunique"), minutes=("seconds", lambda s: round(s.sum() / 60, 2))
    )
    troubled = files[files["state"] != "ok"][["path", "state", "problem"]]
    smallest, largest = float(table["minutes"].min()), float(table["minutes"].max())
    return dg.MaterializeResult(
        metadata={
            "classes": dg.MetadataValue.md(markdown(table.reset_index().rename(columns={"label": "class"}))),
            "files": len(files),
            "rejected_files": int((files["state"] == "rejected").sum()),
            "minutes": round(float(accepted["seconds"].sum()) / 60, 2),
            "smallest_class": str(table["minutes"].idxmin()),
            "largest_to_smallest_in_minutes": round(largest / smallest, 1) if smallest else float("inf"),
            "problems": dg.MetadataValue.md(markdown(troubled.head(100)) if len(troubled) else "none"),
            "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in notes) or "none"),
        }
    )


def split(parts: pd.DataFrame, leaks: pd.DataFrame) -> dg.MaterializeResult:
    """Recordings per class and part; the check that nothing lies on two sides."""
    table = parts.pivot_table(index="label", columns="part", values="group", aggfunc="nunique", fill_value=0)
    order = [part for part in ("train", "validation", "test") if part in table]
    return dg.MaterializeResult(
        metadata={
            "recordings": dg.MetadataValue.md(markdown(table[order].reset_index().rename(columns={"label": "class"}))),
            "files": len(parts),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="no_leakage",
                passed=not len(leaks),
                metadata={"leaks": dg.MetadataValue.md(markdown(leaks.head(50)) if len(leaks) else "none")},
            )
        ],
    )


def features(note: dict[str, Any]) -> dg.MaterializeResult:
    """What was built, or that it was there already."""
    return dg.MaterializeResult(
        metadata={name: value for name, value in note.items() if isinstance(value, str | int | float | bool)}
    )


def trial(study: Study, noun: str, record: Record, found: bool) -> dict[str, Any]:
    """Metadata of one trial's model or evaluation."""
    account = record.account
    if noun == "trained_model":
        shown: dict[str, Any] = {
            "model": account["model_name"],
            "best_epoch": account["best_epoch"],
            "epochs": account["epochs_done"],
            "epochs_trained_now": 0 if found else account["epochs_trained"],
            "minutes": round(account["seconds_standalone"] / 60, 2),
            "machine": account["machine"],
            "settings": dg.MetadataValue.json(account["config"]),
            "changes_from_baseline": dg.MetadataValue.json(account["changes"]),
            "out_of_memory": account["out_of_memory"],
        }
        if account["purpose"]:
            shown["purpose"] = account["purpose"]
        pictures = study.trial_pictures({"epochs": record.table("epochs")})
    else:
        metrics, confusion = record.table("metrics"), record.table("confusion")
        shown = {
            f"{row.part}_{row.metric}_{row.level}s": round(float(row.value), 4)
            for row in metrics[metrics["class"].isna()].itertuples()
            if row.value == row.value
        }
        shown["classes"] = dg.MetadataValue.md(markdown(class_table(metrics)))
        pictures = study.trial_pictures({"confusion": confusion})
    return shown | {title: picture(png) for title, png in pictures.items()}


def class_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall and F1 per class, in percent, over windows of test (of validation where there is no test)."""
    part = "test" if (metrics["part"] == "test").any() else "validation"
    rows = metrics[metrics["class"].notna() & (metrics["part"] == part) & (metrics["level"] == "window")]
    table = 100 * rows.pivot_table(index="class", columns="metric", values="value")
    return table.round(1).reset_index().rename(columns={"class": f"class ({part}, % of windows)"})


def leaderboard(study: Study, now: Results) -> dg.MaterializeResult:
    """All trials in order, how sure the order is, and the study's own pictures."""
    pictures = study.leaderboard_pictures(now)
    return dg.MaterializeResult(
        metadata={
            "leaderboard": dg.MetadataValue.md(markdown(now.leaderboard[BOARD].rename(columns=BOARD_HEAD))),
            "against_the_leader": dg.MetadataValue.md(markdown(now.comparisons[["trial", "verdict"]])),
            "trials": len(now.leaderboard),
            **{title: picture(png) for title, png in pictures.items()},
        }
    )


def best_model(best: BestModel) -> dg.MaterializeResult:
    """Which trial won, by what, and where its model lies."""
    return dg.MaterializeResult(
        metadata={
            "trial": best.trial,
            "model": best.name,
            "chosen_by": best.selection,
            "folder": dg.MetadataValue.path(str(best.folder)),
        }
    )


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG that the UI shows in place, without any file or address."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png).decode()})")


def markdown(frame: pd.DataFrame) -> str:
    """A table as Markdown; characters that would break it are made harmless."""
    head = [str(name) for name in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _cell(value: Any) -> str:
    text = "" if value is None or value != value else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "⏎").replace("<", "&lt;")
