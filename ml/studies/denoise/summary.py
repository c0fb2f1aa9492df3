"""What a person reads in the morning: the winner and what it gains, who is as good, what it took, what went wrong."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from ml.studies.denoise.verdicts import overall
from ml.studies.standing import comparable, left_out
from ml.studies.words import counted, first_of, wrapped

if TYPE_CHECKING:
    from ml.studies.results import Results

GAIN = "si_sdr_improvement"

CERTAIN = 0.05
"""Chance of being wrong in any one of the comparisons that is put up with."""

NAMED = 5
"""Trials that are named where there may be many."""

TOLD = {
    "si_sdr": "SI-SDR {:.1f} dB",
    "snr_in": "SNR before {:.1f} dB",
    "snr": "SNR after {:.1f} dB",
    "stoi": "STOI {:.3f}",
    "pesq": "PESQ {:.2f}",
}
"""Scores that are told of the winner beside its gain."""


def summary(results: Results) -> str:
    """The winner and its gain on sound it never heard; who is as good; epochs and time; verdicts; failures."""
    note = left_out(results.leaderboard)
    board = comparable(results.leaderboard).sort_values("rank")
    lines = ["=== DENOISE STUDY ===", "", *([note, ""] if note else []), _counted(results, board), ""]
    lines += [*_best(results, board), "", *_alike(results, board), "", *_took(results, board), ""]
    lines += ["Verdicts (good: validation loss 0.001 to 0.01, gap below 0.01, stopped early after 30 to 100 epochs):"]
    lines += [line for said in overall(results) for line in wrapped("  ", said)]
    failed = _failed(results)
    return "\n".join([*lines, *(["", *failed] if failed else []), "", "More: nocturne analyze denoise"])


def _counted(results: Results, board: pd.DataFrame) -> str:
    models = board["model_key"].fillna(board["trial"]).nunique()
    failed = len(results.ask("failures"))
    return f"{counted(len(board), 'trial')} finished, {counted(models, 'different model')}; {failed or 'none'} failed"


def _best(results: Results, board: pd.DataFrame) -> list[str]:
    """The leader, and what it does to the files of test, or of validation where there is no test."""
    best = board.iloc[0]
    same = int((board["model_key"] == best["model_key"]).sum()) - 1
    also = f"; {counted(same, 'other trial')} ended with the same model" if same else ""
    lines = [
        f"BEST MODEL (chosen by validation loss): {best['trial']}{also}",
        f"Validation loss {best['selection_value']:.4g} in epoch {best['best_epoch']:.0f} of {best['epochs']:.0f}"
        + (f"; {best['verdict']}" if isinstance(best["verdict"], str) else ""),
    ]
    metrics = results.ask("metrics")
    own = metrics[(metrics["trial"] == best["trial"]) & metrics["class"].isna()]
    part = "test" if ((own["part"] == "test") & (own["metric"] == GAIN)).any() else "validation"
    own = own[own["part"] == part].set_index("metric")
    if GAIN not in own.index:
        return [*lines, "Decibels gained: unknown; no file of test or validation could be scored."]
    return lines + _gained(results, own, str(best["trial"]), part) + _by_test(board, part)


def _gained(results: Results, own: pd.DataFrame, trial: str, part: str) -> list[str]:
    gain = own.loc[GAIN]
    scores = results.ask("scores")
    files = scores[(scores["trial"] == trial) & (scores["part"] == part) & (scores["metric"] == GAIN)]
    sure = "" if pd.isna(gain["low"]) else f" (95 % sure between {gain['low']:+.1f} and {gain['high']:+.1f})"
    unseen = (
        "sound and noise it never heard" if part == "test" else "the sound it was chosen by (there is no test part)"
    )
    median = f", median {files['value'].median():+.1f} dB" if len(files) else ""
    lines = wrapped(
        f"{part.capitalize()}: ",
        f"{gain['value']:+.1f} dB SI-SDR{sure} over the noisy input{median}; {counted(len(files), 'file')} of "
        f"{counted(files['recording'].nunique(), 'recording')}, {unseen}",
    )
    lines += _doubted(gain["low"], gain["high"])
    if len(files):
        least = files.loc[files["value"].idxmin()]
        worse = int((files["value"] < 0).sum())
        spoilt = f"; {counted(worse, 'file')} became worse" if worse else ""
        lines += wrapped("  ", f"least gained: {least['value']:+.1f} dB, {least['path']}{spoilt}")
    others = [words.format(own.loc[name, "value"]) for name, words in TOLD.items() if name in own.index]
    if others:
        lines.append(f"  on average {', '.join(others)}")
    if "silent_references" in own.index:
        silent = counted(int(own.loc["silent_references", "value"]), "file")
        lines.append(f"  left out because the clean sound is silent: {silent}")
    return lines


def _doubted(low: float, high: float) -> list[str]:
    """What to say where the model is not surely better than the noisy input."""
    if high < 0:
        return ["  IT MAKES SOUND WORSE: leave sound as it is, rather than use this model."]
    if low <= 0 <= high:
        return ["  NOT SURELY BETTER THAN DOING NOTHING: its gain cannot be told from 0 dB."]
    return []


def _by_test(board: pd.DataFrame, part: str) -> list[str]:
    gains = board.set_index("trial")["test_si_sdr_improvement"].astype(float)
    if part != "test" or gains.notna().sum() < 2 or gains.max() <= gains.iloc[0]:
        return []
    name = gains.idxmax()
    return [f"Highest on test alone: {name} with {gains[name]:+.1f} dB; picking by test would flatter it"]


def _alike(results: Results, board: pd.DataFrame) -> list[str]:
    """Which other models the files of validation cannot tell from the best, one trial for each model."""
    best = board.iloc[0]
    against = results.comparisons
    against = against[against["against"] == best["trial"]].set_index("trial")
    others = board[(board["trial"] != best["trial"]) & (board["model_key"] != best["model_key"])]
    others = others[~others["model_key"].fillna(others["trial"]).duplicated()]
    if not len(others):
        return ["No other model to compare it with yet."]
    others = others[others["trial"].isin(against.index)]
    if not len(others):
        return ["Not compared with the other models yet; the leaderboard of the next run does that."]
    tests = against.loc[others["trial"]]
    ahead, chance = tests["difference"] > 0, tests["p_value"].astype(float)
    certain, alone = chance * len(tests) < CERTAIN, chance < CERTAIN
    lines = [f"Against {counted(len(tests), 'other model')}, by decibels gained on the recordings of validation:"]
    for which, words in (
        (certain & ~ahead, f"certainly worse, with {counted(len(tests), 'comparison')} made"),
        (certain & ahead, "certainly better in decibels, although the loss is higher"),
        (
            alone & ~certain & ~ahead,
            f"worse one by one (p < {CERTAIN}), which is not certain among so many comparisons",
        ),
        (
            alone & ~certain & ahead,
            f"better one by one (p < {CERTAIN}), which is not certain among so many comparisons",
        ),
        (~alone, "cannot be told apart from it"),
    ):
        if which.any():
            lines += wrapped("  ", f"{int(which.sum())} {words}: {first_of(tests.index[which], NAMED)}")
    recordings = int(tests["recordings"].max())
    if 2 / 2**recordings >= CERTAIN:  # the sign-flip test's smallest answer
        lines.append(f"  {counted(recordings, 'recording')} of validation: too few to be certain of any difference.")
    return lines


def _took(results: Results, board: pd.DataFrame) -> list[str]:
    """Epochs and seconds, against what every trial alone would have cost."""
    attempts = results.ask("attempts")
    trained, needed = int(attempts["epochs_trained"].fillna(0).sum()), int(board["epochs"].sum())
    spent, alone = attempts["seconds_spent"].sum(), board["seconds_standalone"].sum()
    times = f", {needed / trained:.1f} times fewer" if trained and needed > trained else ""
    return [
        f"Trained: {counted(trained, 'epoch')}; each trial alone would have trained {needed}{times}",
        f"Time: {_duration(spent)} spent; each trial alone, one after the other, {_duration(alone)}",
    ]


def _failed(results: Results) -> list[str]:
    failures = results.ask("failures")
    if not len(failures):
        return []
    lines = ["Failed:"]
    for row in failures.head(NAMED).itertuples():
        lines += wrapped(f"  {row.trial}: ", textwrap.shorten(str(row.error), 200, placeholder=" …"))
    return lines + ([f"  and {len(failures) - NAMED} more"] if len(failures) > NAMED else [])


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.1f} minutes"
