"""From hits to beatmaps and back: the demo's best setup writes down songs that nobody has met, on kits that none has.

The seeds of these songs were chosen before any of them was heard.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.data.beatmap import read_beatmap
from ml.inference.transcriber import open_transcriber
from ml.metrics.events import pooled
from ml.studies.drums.demo import SECONDS, SONGS, compared, write_corpus, write_song
from ml.studies.drums.study import DRUMS
from ml.studies.drums.transcribing import Named, transcribe
from orchestration import data, trials
from orchestration.answers import model_folders
from orchestration.resources import Bench
from storage.lab import Lab
from storage.query import query
from tests.small_lab import write_yaml

FRESH = range(400, 405)
"""Seeds of songs that no trial meets."""
ASKED = ("kick", "snare", "hihat_closed")
LEAST = 0.9
TRIAL = "augmented"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The demo's lab after one trial."""
    place = tmp_path_factory.mktemp("round-trip")
    write_corpus(place / "corpus")
    bench = Bench(Lab.open(place / "lab"))
    write_yaml(bench.lab.sources_file, {"drums": str(place / "corpus")})
    write_yaml(bench.lab.studies_file, {"drums": DRUMS.demo_settings()})
    write_yaml(bench.lab.machine_file, {"device": "cpu", "precision": "fp32"})
    data.take_inventory(bench, DRUMS, lambda share, words: None)
    data.divide(bench, DRUMS)
    data.build_features(bench, DRUMS, lambda share, words: None)
    trials.run_trial(bench, DRUMS, TRIAL, run_id="proof", forced_by=None, say=lambda sentence: None)
    return bench


@pytest.mark.slow
def test_songs_on_kits_that_no_trial_met_are_written_down_as_they_were_played(bench: Bench, tmp_path: Path) -> None:
    (model,) = model_folders(bench, DRUMS).values()
    transcriber = open_transcriber(model, bench.machine())
    rules = open_transcriber(None, bench.machine())
    found, by_rules = [], []
    for seed in FRESH:
        song = f"fresh {seed}"
        parts = SONGS[seed % len(SONGS)]
        played = write_song(tmp_path / song, song, (0, seed), parts, seconds=SECONDS, suffix="wav")
        audio = played.with_suffix(".wav")
        for scores, by in ((found, transcriber), (by_rules, rules)):
            heard = transcribe(by, audio, Named(), model=model.name)
            scores.append(compared(read_beatmap(played), heard.beatmap))
    whole, usual = (dict(zip(told["class"], told["f1"], strict=True)) for told in (pooled(found), pooled(by_rules)))
    for name in ASKED:
        print(f"{name}: F1 {whole[name]:.3f} within 50 ms in {len(FRESH)} songs; by rules of thumb {usual[name]:.3f}")
    print(f"all hits: {whole[None]:.3f}; by rules of thumb {usual[None]:.3f}")
    assert min(whole[name] for name in ASKED) >= LEAST, whole
    assert whole[None] > usual[None]


@pytest.mark.slow
def test_whole_songs_of_test_are_found_better_than_by_rules_of_thumb(bench: Bench) -> None:
    said = query(
        bench.lab,
        "select metric, value from metrics where study = 'drums' and part = 'test' and class is null "
        "and metric like 'event_f1%'",
    )
    found = dict(zip(said["metric"], said["value"], strict=True))
    assert found["event_f1"] > found["event_f1_heuristics"] + 0.05, found
