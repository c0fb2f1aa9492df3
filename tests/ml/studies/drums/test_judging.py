"""Whole songs judged: thresholds from validation alone, shared by trials with the same weights, songs pooled."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ml.data.components import COMPONENTS
from ml.inference.transcriber import Heard, Transcriber
from ml.studies.drums.judging import calibrate, calibrate_on_hits, judge
from ml.studies.drums.material import Song
from tests.ml.inference.drummed import RATE, drummed
from tests.ml.training.shelf import FolderShelf

HALVES = np.full(12, 0.5)
KICK, SNARE = COMPONENTS.index("kick"), COMPONENTS.index("snare")


def song(name: str, seed: int, group: str | None = None) -> Song:
    samples, hits = drummed(seconds=4.0, seed=seed)
    return Song(f"{name}/{name}.wav", group or name, name, samples.astype(np.float16), RATE, hits)


def job(folder: Path, said: list[str]) -> Any:
    return SimpleNamespace(evaluations=FolderShelf(folder), origin="data", say=said.append)


def test_songs_are_compared_with_their_maps_and_shared_by_all_who_have_the_same_weights(tmp_path: Path) -> None:
    songs = {"validation": [song("a", 1), song("b", 2)], "test": [song("c", 3)]}
    said: list[str] = []
    found = judge(job(tmp_path, said), "weights", Transcriber(None, None), songs, HALVES)
    assert said[0].startswith("transcribing 3 songs of validation and test")
    assert len(said) == 2, "once for the network, once for heuristics"
    overall = found.scores[found.scores["metric"] == "event_f1"]
    assert overall["recording"].tolist() == ["a", "b", "c"]
    assert overall["part"].tolist() == ["validation", "validation", "test"]
    kicks = found.scores[found.scores["metric"] == "event_f1_kick"]
    assert (kicks["value"] > 0.9).all()
    metrics = found.metrics
    whole = metrics[(metrics["metric"] == "event_f1") & metrics["class"].isna()]
    assert whole["part"].tolist() == ["validation", "test"]
    assert ((whole["low"] <= whole["value"]) & (whole["value"] <= whole["high"])).all()
    assert set(metrics["level"]) == {"recording"}
    assert not metrics["value"].isna().any()
    assert {"event_precision", "event_recall", "event_f1_heuristics"} <= set(metrics["metric"])
    again = judge(job(tmp_path, said), "weights", Transcriber(None, None), songs, HALVES)
    assert len(said) == 2, "nothing is heard twice"
    assert again.metrics.equals(found.metrics)
    judge(job(tmp_path, said), "other weights", Transcriber(None, None), songs, HALVES)
    assert len(said) == 3, "the heuristics of a lab are heard once"


def test_songs_that_belong_together_are_drawn_together(tmp_path: Path) -> None:
    apart = {"validation": [], "test": [song("a", 1), song("b", 2)]}
    together = {"validation": [], "test": [song("a", 1, "one"), song("b", 2, "one")]}
    rows = []
    for number, songs in enumerate((apart, together)):
        found = judge(job(tmp_path / str(number), []), "weights", Transcriber(None, None), songs, HALVES).metrics
        rows.append(found[(found["metric"] == "event_f1") & found["class"].isna()].iloc[0])
    assert rows[0]["value"] == rows[1]["value"]
    assert (rows[1]["low"], rows[1]["high"]) == (0.0, 1.0), "one group tells nothing of others"
    assert rows[0]["low"] > 0


def heard(onsets: list[float], **said: list[float]) -> Heard:
    chances = np.zeros((len(onsets), 12), dtype=np.float32)
    for name, values in said.items():
        chances[:, COMPONENTS.index(name)] = values
    return Heard(np.array(onsets), chances, np.ones_like(chances))


def test_each_threshold_is_where_most_events_are_found() -> None:
    shy = heard([1.0, 2.0, 3.0, 4.0], kick=[0.32, 0.28, 0.1, 0.12], snare=[0.97, 0.6, 0.93, 0.62])
    reference = {"kick": np.array([1.0, 2.0]), "snare": np.array([1.0, 3.0])}
    found = calibrate([shy], [reference], np.full(12, 0.7))
    assert 0.12 < found[KICK] <= 0.28
    assert 0.62 < found[SNARE] <= 0.93
    assert np.delete(found, [KICK, SNARE]) == pytest.approx(0.7), "what no song holds keeps its own"
    sure = heard([1.0, 2.0], kick=[0.99, 0.01])
    assert calibrate([sure], [{"kick": np.array([1.0])}], HALVES)[KICK] == pytest.approx(0.5), "the middle of many"
    times = [float(at) for at in range(40)]
    one_is_odd = heard([*times, 40.0, 41.0], kick=[*([0.9] * 39), 0.07, 0.08, 0.01])
    found = calibrate([one_is_odd], [{"kick": np.array(times)}], HALVES)
    assert found[KICK] == pytest.approx(0.5), "one odd hit, found at the price of another, moves no threshold"


def test_thresholds_of_single_hits() -> None:
    sounding = np.zeros((4, 12), dtype=bool)
    sounding[:2, KICK] = True
    chances = np.zeros((4, 12))
    chances[:, KICK] = [0.3, 0.25, 0.1, 0.12]
    found = calibrate_on_hits(chances, sounding)
    assert 0.12 < found[KICK] <= 0.25
    assert np.delete(found, KICK) == pytest.approx(0.5)


def test_without_songs_nothing_is_judged_and_the_thresholds_stay(tmp_path: Path) -> None:
    fallback = np.linspace(0.2, 0.8, 12)
    songs: dict[str, list[Song]] = {"validation": [], "test": []}
    found = judge(job(tmp_path, []), "weights", Transcriber(None, None), songs, fallback)
    assert found.thresholds == pytest.approx(fallback)
    assert found.scores.empty
    assert found.metrics.empty
