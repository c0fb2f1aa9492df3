"""What a person sees of an asset in the Dagster UI: tables, figures and pictures, each with its unit."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.studies.experiments import changes_in_words
from ml.studies.results import Results
from ml.studies.study import Study
from orchestration.amounts import class_amounts

if TYPE_CHECKING:
    import pandas as pd

    from orchestration.answers import BestModel
    from storage.records import Record

VOICE = logging.getLogger("nocturne")
"""What is said while work goes on; the command line shows it, the UI has it in the run's log."""

BOARD = {
    "rank": "rank",
    "trial": "trial",
    "selection_value": "validation",
    "test_accuracy": "test",
    "test_low": "from",
    "test_high": "to",
    "test_si_sdr_improvement": "test, dB gained",
    "test_si_sdr_improvement_low": "from, dB",
    "test_si_sdr_improvement_high": "to, dB",
    "test_event_f1": "test, hits in songs (F1)",
    "test_event_f1_low": "from, F1",
    "test_event_f1_high": "to, F1",
    "worst_class": "worst_class",
    "epochs": "epochs",
    "verdict": "verdict",
}
"""What fits beside each other on the page where there is any of it; SQL has the rest."""

ROWS = 50
"""Trials that a table on the page shows; SQL has the rest."""

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
    """Files per class, and minutes where they sound; every file that was refused or warned about."""
    found = class_amounts(files)
    table = found.classes.round(2).rename_axis("class").reset_index()
    troubled = files[files["state"] != "ok"][["path", "state", "problem"]]
    minutes = {"minutes": round(float(found.classes["minutes"].sum()), 2)} if found.with_minutes else {}
    shown = table if found.with_minutes else table.drop(columns="minutes")
    return dg.MaterializeResult(
        metadata={
            "classes": dg.MetadataValue.md(markdown(shown)),
            "files": len(files),
            "rejected_files": int((files["state"] == "rejected").sum()),
            **minutes,
            "smallest_class": found.smallest,
            f"largest_to_smallest_in_{found.unit}": round(found.ratio, 1),
            "problems": dg.MetadataValue.md(markdown(troubled.head(100)) if len(troubled) else "none"),
            "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in notes) or "none"),
        }
    )


def split(parts: pd.DataFrame, leaks: pd.DataFrame) -> dg.MaterializeResult:
    """What belongs together (a recording, a person) per class and part; the check that none is on two sides."""
    table = parts.pivot_table(index="label", columns="part", values="group", aggfunc="nunique", fill_value=0)
    table = table[[part for part in ("train", "validation", "test") if part in table]].rename_axis("class")
    return dg.MaterializeResult(
        metadata={
            "recordings_or_groups": dg.MetadataValue.md(markdown(table.reset_index())),
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
            "changes_from_baseline": bullets(changes_in_words(account["changes"]), "none: this is the baseline"),
            "out_of_memory": account["out_of_memory"],
        }
        if account["purpose"]:
            shown["purpose"] = account["purpose"]
        if account.get("remarks"):
            shown["remarks"] = bullets(account["remarks"], "none")
        if account.get("verdict"):
            shown["verdict"] = account["verdict"]
        pictures = study.trial_pictures({"epochs": record.table("epochs")})
    else:
        metrics = record.table("metrics")
        shown = {
            f"{row.part}_{row.metric}_{row.level}s": round(float(row.value), 4)
            for row in metrics[metrics["class"].isna()].itertuples()
            if row.value == row.value
        }
        if metrics["class"].notna().any():
            shown["classes"] = dg.MetadataValue.md(markdown(class_table(metrics)))
        judged: dict[str, pd.DataFrame] = {
            name: record.table(name) for name in ("metrics", "confusion") if name in record.tables
        }
        texts = study.trial_texts(judged)
        shown |= {title: dg.MetadataValue.md(f"```\n{text}\n```") for title, text in texts.items()}
        pictures = study.trial_pictures(
            {name: record.table(name) for name in ("confusion", "scores") if name in record.tables}
        )
    return shown | {title: picture(png) for title, png in pictures.items()}


def class_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall and F1 per class, in percent, over windows of test (of validation where there is no test)."""
    part = "test" if (metrics["part"] == "test").any() else "validation"
    rows = metrics[metrics["class"].notna() & (metrics["part"] == part) & (metrics["level"] == "window")]
    table = 100 * rows.pivot_table(index="class", columns="metric", values="value")
    return table.round(1).reset_index().rename(columns={"class": f"class ({part}, % of windows)"})


def leaderboard(study: Study, now: Results) -> dg.MaterializeResult:
    """The best trials in order, how sure the order is, what the settings bring, and the study's own pictures."""
    pictures = study.leaderboard_pictures(now)
    board = now.leaderboard
    remarks = [f"{row.trial}: {row.remarks}" for row in board.itertuples() if isinstance(row.remarks, str)]
    there = [name for name in BOARD if name in board and board[name].notna().any()]
    verdicts = now.comparisons[["trial", "verdict"]]
    if len(verdicts) > ROWS:
        verdicts = verdicts.set_index("trial").reindex(board["trial"].iloc[1 : ROWS + 1]).reset_index()
    return dg.MaterializeResult(
        metadata={
            "leaderboard": dg.MetadataValue.md(markdown(board[there].head(ROWS).rename(columns=BOARD))),
            "against_the_leader": dg.MetadataValue.md(markdown(verdicts)),
            "analysis": dg.MetadataValue.md(f"```\n{study.analysis(now)}\n```"),
            "remarks": bullets(remarks[:ROWS], "none"),
            "trials": len(board),
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


def bullets(sentences: Sequence[str], otherwise: str) -> dg.MarkdownMetadataValue:
    """A list in Markdown, or a word where there is nothing to list."""
    return dg.MetadataValue.md("\n".join(f"- {_harmless(sentence)}" for sentence in sentences) or otherwise)


def markdown(frame: pd.DataFrame) -> str:
    """A table as Markdown; characters that would break it are made harmless."""
    head = [str(name) for name in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _cell(value: Any) -> str:
    return _harmless(
        "" if value is None or value != value else f"{value:.4g}" if isinstance(value, float) else str(value)
    )


def _harmless(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "⏎").replace("<", "&lt;")
