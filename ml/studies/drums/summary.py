"""What a person reads in the morning: the best trial, every component, whole songs, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from ml.data.components import COMPONENTS, WANTED
from ml.studies.drums.events import EVENT_F1, HEURISTIC_F1, event_rows, of_component
from ml.studies.drums.report import counts_of, judged_part
from ml.studies.scores import Scores
from ml.studies.standing import left_out
from ml.studies.words import counted, wrapped

if TYPE_CHECKING:
    from ml.studies.results import Results

MISTAKEN = 3
"""Confusions that are named."""

BY_HEART = 0.2
"""Distance of macro F1 on training from validation that is worth a word."""

WEAK = 0.7
"""F1 below which a component needs something done about it."""


def summary(results: Results) -> str:
    """Every trial in a line; the best one by component and in whole songs; what it confuses; the next step."""
    scores, note = Scores(results), left_out(results.leaderboard)
    board = scores.board
    best = str(board.index[0])
    metrics, confusion, failed = results.ask("metrics"), results.ask("confusion"), results.ask("failures")
    events = event_rows(metrics, best)
    own = confusion[confusion["trial"] == best]
    part = judged_part(own)
    table = _components(results.ask("classes"), scores, events, part, best)
    lines = ["=== DRUMS STUDY ===", "", *([note, ""] if note else []), *_trials(scores), ""]
    songs = results.ask("scores")
    lines += [*_best(scores, best), *_as_used(events, songs[songs["trial"] == best]), ""]
    lines += [*_by_component(table, part, bool(len(events))), *_left_out(results.inventory, table), ""]
    lines += [*_mistaken(own, part), *_against_default(scores, results.comparisons)]
    lines += [line for row in failed.head(5).itertuples() for line in wrapped(f"Failed: {row.trial}: ", str(row.error))]
    return "\n".join([*lines, "", *_next(table, events, best)])


def _trials(scores: Scores) -> list[str]:
    parts = [part for part in ("validation", "test") if part in scores.parts()]
    table = pd.DataFrame(index=scores.board.index)
    for part in parts:
        overall = scores.overall(part)
        for metric in ("macro_f1", "macro_f1_alone", EVENT_F1):
            table[f"{part} {metric}"] = overall.get(metric, pd.Series(float("nan"), index=table.index))
    train = scores.overall("train").get("macro_f1", pd.Series(float("nan"), index=table.index))
    width = max(12, *(len(str(name)) + 2 for name in table.index))
    lines = [
        "Percent. hits: macro F1 of single hits, every component alike; alone: of hits without another beside them;",
        "songs: F1 of the hits found in whole songs, within 50 ms. Best on validation first.",
        "",
        f"{'':<{width}}" + "".join(f"{part:^24}" for part in parts) + f"{'training':>10}",
        f"{'trial':<{width}}" + f"{'hits':>8}{'alone':>8}{'songs':>8}" * len(parts) + f"{'hits':>10}",
    ]
    for name, row in table.iterrows():
        lines.append(
            f"{name!s:<{width}}" + "".join(f"{_percent(cell):>8}" for cell in row) + f"{_percent(train[name]):>10}"
        )
    return lines


def _best(scores: Scores, best: str) -> list[str]:
    """The leader, what test says of it, and whether it learned by heart."""
    row, overall = scores.board.loc[best], {part: scores.overall(part) for part in scores.parts()}
    epoch = f", epoch {row['best_epoch']:.0f}" if pd.notna(row.get("best_epoch")) else ""
    chosen = "F1 in whole songs" if scores.monitored == EVENT_F1 else "macro F1"
    lines = [f"BEST MODEL (chosen by {chosen} on validation): {best}{epoch}"]
    for part in ("validation", "test"):
        if part not in overall or "macro_f1" not in overall[part]:
            continue
        own = overall[part].loc[best]
        alone = f", {_percent(own['macro_f1_alone'])} % alone" if pd.notna(own.get("macro_f1_alone")) else ""
        lines.append(
            f"{part.capitalize()}: macro F1 {_percent(own['macro_f1'])} % of single hits{alone}; accuracy "
            f"{_percent(own.get('accuracy'))} %{_sure(row.get(f'{part}_low'), row.get(f'{part}_high'))}"
        )
        if pd.notna(own.get("macro_f1_heuristics")):
            lines.append(
                f"  Heuristics without a model: macro F1 {_percent(own['macro_f1_heuristics'])} % of the same."
            )
    if "test" not in overall:
        lines.append("This data has no test part; what the model reaches on new songs may be lower.")
    trained = overall["train"]["macro_f1"].get(best) if "train" in overall and "macro_f1" in overall["train"] else None
    if trained is not None and trained - overall["validation"].loc[best, "macro_f1"] > BY_HEART:
        lines.append("Much of the training part is learned by heart: more songs and kits help more than more epochs.")
    return lines


def _as_used(events: pd.DataFrame, songs: pd.DataFrame) -> list[str]:
    """Whole songs that were held out, transcribed as `nocturne transcribe` does."""
    if not len(events):
        return ["In whole songs: unknown; no song of validation or test has a beatmap."]
    part = judged_part(events)
    overall = events[(events["part"] == part) & events["class"].isna()].set_index("metric")
    if EVENT_F1 not in overall.index:
        return ["In whole songs: unknown; no hit could be compared."]
    own = overall.loc[EVENT_F1]
    heard = counted(songs.loc[songs["part"] == part, "path"].nunique(), "song")
    lines = wrapped(
        f"Whole songs ({part}, {heard}): ",
        f"F1 {_percent(own['value'])} % of the hits found within 50 ms{_sure(own['low'], own['high'])}; heuristics "
        f"without a model {_percent(overall['value'].get(HEURISTIC_F1))} %",
    )
    heuristic = overall["value"].get(HEURISTIC_F1)
    if heuristic is not None and heuristic >= own["value"]:
        lines.append("  NOT BETTER THAN THE HEURISTICS: collect more hits before this model is used.")
    return lines


def _components(classes: pd.DataFrame, scores: Scores, events: pd.DataFrame, part: str, best: str) -> pd.DataFrame:
    """One row per component of the split: hits and songs in training, F1 of single hits, alone, and in songs."""
    train = classes[classes["part"] == "train"].set_index("class")
    there = [name for name in COMPONENTS if (classes["class"] == name).any()]
    table = pd.DataFrame({"hits": train["files"].reindex(there), "groups": train["recordings"].reindex(there)})
    table = table.fillna(0).astype(int)
    for column, metric in (("f1", "f1"), ("alone", "f1_alone")):
        values = scores.of_classes(part, metric)
        table[column] = values.loc[best].reindex(there) if len(values.columns) else float("nan")
    for column, metric in (("songs", EVENT_F1), ("heuristics", HEURISTIC_F1)):
        table[column] = pd.Series(of_component(events, part, metric), dtype=float).reindex(there)
    return table


def _by_component(table: pd.DataFrame, part: str, with_songs: bool) -> list[str]:
    """What each component reaches, and how many hits of it are missing."""
    songs = f"{'songs':>8}{'heuristics':>12}" if with_songs else ""
    lines = [
        f"Each component: F1 on {part} in percent, and what it was learned from:",
        f"{'':<14}{'hits':>8}{'alone':>8}{songs}   trained on",
    ]
    for name, row in table.iterrows():
        cells = [row["f1"], row["alone"]]
        said = "".join(f"{_percent(cell):>8}" for cell in cells)
        if with_songs:
            said += f"{_percent(row['songs']):>8}{_percent(row['heuristics']):>12}"
        lines.append(
            f"{name!s:<14}{said}   {counted(int(row['hits']), 'hit')} of {int(row['groups'])}{_missing(name, row)}"
        )
    return [*lines, '  (of N: songs and sample packs; "unknown": no hit of it there)']


def _missing(name: Any, row: pd.Series) -> str:
    wanted = WANTED.get(str(name))
    if wanted is None or row["hits"] >= wanted.recommended:
        return ""
    if row["hits"] < wanted.least:
        return f"; {wanted.least - int(row['hits'])} more needed ({wanted.recommended} recommended)"
    return f"; {wanted.recommended} recommended"


def _left_out(inventory: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Components that there are hits of, but too few songs to divide them."""
    found = inventory[inventory["class"].isin(COMPONENTS) & (inventory["files"] > 0)].set_index("class")
    absent = [name for name in COMPONENTS if name in found.index and name not in table.index]
    if not absent:
        return []
    named = ", ".join(f"{name} ({counted(int(found.loc[name, 'files']), 'hit')})" for name in absent)
    return wrapped("Left out, because they are in fewer than two songs or packs: ", named)


def _mistaken(confusion: pd.DataFrame, part: str) -> list[str]:
    """The confusions that cost most hits."""
    counts = counts_of(confusion, part)
    found = [
        (int(counts.loc[actual, predicted]), actual, predicted)
        for actual in counts.index
        for predicted in counts.columns
        if actual != predicted and counts.loc[actual, predicted] > 0
    ]
    if not found:
        return [f"Most often mistaken ({part}): none; every hit was told right."]
    found.sort(key=lambda one: -one[0])
    words = "; ".join(
        f"{actual} for {predicted}, {count} of {int(counts.loc[actual].sum())}"
        for count, actual, predicted in found[:MISTAKEN]
    )
    return wrapped(f"Most often mistaken ({part}): ", words)


def _against_default(scores: Scores, comparisons: pd.DataFrame) -> list[str]:
    """Whether the leader is surely ahead of the trial that changes nothing."""
    base, best = scores.baseline(), str(scores.board.index[0])
    if base is None or base == best or not len(comparisons):
        return []
    rows = comparisons[(comparisons["trial"] == base) & (comparisons["against"] == best)]
    return wrapped(f"{base} against {best}: ", str(rows.iloc[0]["verdict"])) if len(rows) else []


def _next(table: pd.DataFrame, events: pd.DataFrame, best: str) -> list[str]:
    """One thing to do that helps most, and how to use what there is."""
    lines = []
    scored = table["songs"] if len(events) and table["songs"].notna().any() else table["f1"]
    short = [name for name in table.index if str(name) in WANTED and table.loc[name, "hits"] < WANTED[str(name)].least]
    weak = scored[scored < WEAK].index
    wanting = sorted({*short, *weak}, key=lambda name: (name not in weak, scored.fillna(0)[name]))
    if wanting:
        named = ", ".join(str(name) for name in wanting[:MISTAKEN])
        lines += wrapped(
            "Next: ",
            f"collect more hits of {named}, from songs and kits that are not there yet: nocturne drums extract "
            "BEATMAP SONG; then nocturne run drums",
        )
    return [*lines, f"To use it: nocturne transcribe SONG -o map.bsm  (takes {best}, the best model, by itself)"]


def _sure(low: Any, high: Any) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f" (95 % sure between {_percent(low)} and {_percent(high)})"


def _percent(share: float | None) -> str:
    return "unknown" if share is None or pd.isna(share) else f"{100 * share:.1f}"
