"""How good denoised sound is, file by file, and what the files of a part say together.

Every score compares with the clean sound. Where that is silent there is nothing to compare with: such a file has no
scores and is counted.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pandas as pd

from ml.metrics.uncertainty import mean_interval

SILENT = 1e-4
"""Amplitude (root of the mean square), -80 dB of full scale: dither, at most. Such a reference is silent."""

PERFECT_DB = 100.0
"""Ratios are said up to here, and down to its opposite: an infinite one would be every mean it is part of."""

SILENT_REFERENCE = "silent_reference"
"""The only score of a file whose clean sound is silent."""

BOUNDS = {"stoi": (-1.0, 1.0), "pesq": (1.0, 4.65)}
"""Scores that cannot lie beyond these; no interval says so either."""

COLUMNS = ["part", "level", "metric", "class", "value", "low", "high"]


def si_sdr(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al.: SDR - half-baked or well done?, 2019).

    nan where the reference is silent; at most 100 dB, and at least -100.
    """
    if is_silent(reference):
        return float("nan")
    said, wanted = np.asarray(estimate, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    target = wanted * (said @ wanted / (wanted @ wanted))
    return _decibels(float(target @ target), float(np.square(said - target).sum()))


def snr(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Power of the reference over that of its difference from the estimate, in dB; nan where the reference is silent.

    At most 100 dB, and at least -100.
    """
    if is_silent(reference):
        return float("nan")
    said, wanted = np.asarray(estimate, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    return _decibels(float(wanted @ wanted), float(np.square(said - wanted).sum()))


def stoi(estimate: np.ndarray, reference: np.ndarray, rate: int) -> float:
    """Short-time objective intelligibility of speech (Taal et al., 2011), up to 1.

    nan where the reference is silent, or sounds for less than the 0.4 s that the measure needs.
    """
    if is_silent(reference):
        return float("nan")
    from pystoi import stoi as measured

    with warnings.catch_warnings():
        # It says that there is too little sound by a warning, and answers with a number all the same.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(measured(reference, estimate, rate))
        except (RuntimeWarning, ValueError):
            return float("nan")


def pesq(estimate: np.ndarray, reference: np.ndarray, rate: int) -> float:
    """Perceptual evaluation of speech quality (ITU-T P.862.2, wide band at 16 kHz; P.862 at 8 kHz below that).

    nan where the reference is silent, where no speech is found in it, and where the package pesq is not installed
    (`has_pesq`).
    """
    if is_silent(reference) or not has_pesq():
        return float("nan")
    import soxr
    from pesq import PesqError
    from pesq import pesq as measured

    own, kind = (16_000, "wb") if rate >= 16_000 else (8_000, "nb")
    heard = [soxr.resample(np.asarray(sound, dtype=np.float32), rate, own) for sound in (reference, estimate)]
    try:
        return float(measured(own, *heard, kind))
    except (PesqError, ValueError):
        return float("nan")


def has_pesq() -> bool:
    """Whether the package pesq is installed: the extra `speech`, which is compiled while it is installed."""
    return importlib.util.find_spec("pesq") is not None


def is_silent(sound: np.ndarray) -> bool:
    """Whether there is nothing in it that scores could be taken against."""
    return not len(sound) or float(np.square(sound, dtype=np.float64).mean()) < SILENT**2


def score(clean: np.ndarray, noisy: np.ndarray, denoised: np.ndarray, rate: int) -> dict[str, float]:
    """The scores of one file at `rate` Hz: si_sdr and its improvement over the noisy sound, snr, stoi, pesq.

    What is not defined is left out; a file whose clean sound is silent has the score `SILENT_REFERENCE` alone.
    """
    if is_silent(clean):
        return {SILENT_REFERENCE: 1.0}
    reached = si_sdr(denoised, clean)
    found = {
        "si_sdr": reached,
        "si_sdr_improvement": reached - si_sdr(noisy, clean),
        "snr": snr(denoised, clean),
        "stoi": stoi(denoised, clean, rate),
        "pesq": pesq(denoised, clean, rate),
    }
    return {metric: value for metric, value in found.items() if not np.isnan(value)}


def summarised(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table `metrics` from `scores`, which has the columns part, recording, group, metric and value.

    A row for every part and metric: the mean over its files, and the 95 % interval when whole groups are drawn again.
    `silent_references` counts the files of a part that are in no mean, for their clean sound is silent.
    """
    rows: list[tuple[str, str, str, None, float, float, float]] = []
    for (part, metric), own in scores.dropna(subset=["value"]).groupby(["part", "metric"], sort=False):
        if metric == SILENT_REFERENCE:
            rows.append((part, "recording", "silent_references", None, float(len(own)), np.nan, np.nan))
            continue
        low, high = _interval(own)
        least, most = BOUNDS.get(metric, (-np.inf, np.inf))
        value = float(own["value"].mean())
        rows.append(
            (part, "recording", metric, None, value, float(np.maximum(low, least)), float(np.minimum(high, most)))
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _interval(own: pd.DataFrame) -> tuple[float, float]:
    """95 % interval of the mean over files when whole groups are drawn again."""
    groups = own.groupby("group")["value"].agg(["sum", "count"])
    mean, files = float(own["value"].mean()), groups["count"].to_numpy(dtype=float)
    # What each group makes of the mean, to first order: a group with more files weighs more.
    return mean_interval(mean + (groups["sum"].to_numpy() - mean * files) / files.mean())


def _decibels(power: float, other: float) -> float:
    if power == 0:
        return -PERFECT_DB
    if other == 0:
        return PERFECT_DB
    return float(np.clip(10 * np.log10(power / other), -PERFECT_DB, PERFECT_DB))
