"""Single hits named by rules: the same hits, the same companions, once for all trials of a lab."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.data.components import COMPONENTS
from ml.features.hit_config import HitPictureConfig
from ml.features.store import write_index
from ml.features.waveforms import LEVELS, WAVEFORMS, WaveformConfig, WaveformStore, open_waveforms
from ml.studies.drums.hits import hit_path
from ml.studies.drums.material import hits_of
from ml.studies.drums.rules import judge_rules, told_by_rules
from tests.ml.inference.drummed import RATE, drummed
from tests.ml.training.shelf import FolderShelf

PICTURE = HitPictureConfig()
PARTS_OF = {"a": "train", "b": "validation", "c": "validation", "d": "test"}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> tuple[WaveformStore, pd.DataFrame]:
    """A store of four songs and their split."""
    folder, rows, sounds, places, first = tmp_path_factory.mktemp("store"), [], [], {}, 0
    for seed, (name, part) in enumerate(PARTS_OF.items()):
        samples, hits = drummed(seconds=4.0, seed=seed)
        sounds.append(samples.astype("<f2"))
        places[name] = (first, len(samples))
        first += len(samples)
        played = sorted((round(1000 * at), label) for label, times in hits.items() for at in times)
        rows += [(hit_path(f"{name}.wav", ms, label), label, name, name, part) for ms, label in played]
    (folder / WAVEFORMS.rows_file).write_bytes(np.concatenate(sounds).tobytes())
    (folder / LEVELS).write_text(str(dict.fromkeys(places, 0.1)).replace("'", '"'), encoding="utf-8")
    write_index(folder, WAVEFORMS, WaveformConfig(sample_rate=RATE), first, places)
    split = pd.DataFrame(rows, columns=["path", "label", "group", "content_hash", "part"])
    return open_waveforms(folder), split


def job(folder: Path, said: list[str]) -> Any:
    return SimpleNamespace(evaluations=FolderShelf(folder), origin="data", say=said.append)


def test_kick_and_snare_are_told_whatever_sounds_with_them(
    tmp_path: Path, there: tuple[WaveformStore, pd.DataFrame]
) -> None:
    store, split = there
    hits, said = hits_of(store, split, PICTURE), list[str]()
    found = judge_rules(job(tmp_path, said), store, hits, PICTURE)
    f1 = found[found["metric"] == "f1_heuristics"].set_index(["part", "class"])["value"]
    assert f1["validation", "kick"] > 0.9 and f1["test", "snare"] > 0.9
    assert len(said) == 2
    overall = found[found["class"].isna()].set_index(["part", "metric"])
    accuracy = overall.loc[("validation", "accuracy_heuristics")]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert set(found["part"]) == {"validation", "test"}, "training is told nothing of"
    again = judge_rules(job(tmp_path, said), store, hits, PICTURE)
    assert len(said) == 2 and again.equals(found)
    judge_rules(job(tmp_path, said), store, hits, HitPictureConfig(after_ms=50))
    assert len(said) == 4, "another picture has other companions"


def test_hits_are_told_song_by_song_and_in_their_order(there: tuple[WaveformStore, pd.DataFrame]) -> None:
    store, split = there
    hits = hits_of(store, split, PICTURE)
    own = np.flatnonzero(hits.part == 1)
    whole = told_by_rules(store, hits, own)
    mixed = np.random.default_rng(0).permutation(len(own))
    assert np.array_equal(told_by_rules(store, hits, own[mixed]), whole[mixed])
    one = own[hits.song[own] == hits.song[own[0]]]
    assert np.array_equal(told_by_rules(store, hits, one), whole[np.isin(own, one)]), "another song changes nothing"


def test_what_is_known_to_sound_beside_a_hit_is_not_answered(there: tuple[WaveformStore, pd.DataFrame]) -> None:
    store, split = there
    hits = hits_of(store, split, PICTURE)
    own = np.flatnonzero(hits.label == COMPONENTS.index("hihat_closed"))
    beside_kick = own[hits.companions[own, COMPONENTS.index("kick")]]
    assert len(beside_kick)
    assert COMPONENTS.index("kick") not in told_by_rules(store, hits, beside_kick)
