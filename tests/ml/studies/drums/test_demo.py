"""The corpus that is made up for the demo: what is in it, that it is always the same, and that kits tell apart."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ml.config import read_config
from ml.data.beatmap import read_beatmap
from ml.data.beatmap_rules import audio_of, mismatches, usable_hits
from ml.data.components import component_named
from ml.models.drumcnn import build_drumcnn
from ml.models.drumcnn_config import DrumCNNConfig
from ml.models.saved import save_model
from ml.studies.drums.config import DrumsSettings
from ml.studies.drums.demo import (
    BROKEN,
    COWBELL,
    DEMO_LAB,
    FEWEST_SONGS,
    PACKS,
    SONGS,
    STROKES,
    UNSEEN,
    after_demo,
    compared,
    write_corpus,
    write_song,
)
from ml.studies.drums.grooves import FILLS, GROOVES, STEPS, play
from ml.studies.drums.kits import PLAYED, RATE, Kit
from ml.studies.drums.rendering import render
from ml.studies.drums.study import DRUMS

FEW = 0.5
TINY = {"mels": 32, "columns": 16, "fft": 512}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, scale=FEW)
    return folder


def test_every_song_lies_beside_its_map_which_says_the_truth_about_it(corpus: Path) -> None:
    maps = sorted(path for path in corpus.rglob("*.bsm") if path.stem != BROKEN)
    assert len(maps) == max(FEWEST_SONGS, round(FEW * len(SONGS)))
    for path in maps:
        beatmap = read_beatmap(path)
        audio = audio_of(path, beatmap, corpus)
        digest = hashlib.sha256(audio.read_bytes()).hexdigest()
        seconds = soundfile.info(str(audio)).duration
        assert mismatches(beatmap, digest, seconds) == []
        assert beatmap.notes == []
        assert usable_hits(beatmap, seconds).beyond == 0


def test_every_component_is_in_three_songs_or_packs_at_least(corpus: Path) -> None:
    groups: Counter[str] = Counter()
    for path in corpus.rglob("*.bsm"):
        if path.stem != BROKEN:
            groups.update({hit.component for hit in read_beatmap(path).hitObjects})
    for pack in sorted((corpus / "one-shots").iterdir()):
        named = [component_named(folder.name) for folder in pack.iterdir()]
        assert set(named) == set(PLAYED), pack
        groups.update(str(name) for name in named)
        assert len(list(pack.rglob("*.flac"))) == len(PLAYED) * STROKES
    assert min(groups[name] for name in PLAYED) >= 3
    assert groups[COWBELL] == 1
    assert len(list((corpus / "one-shots").iterdir())) == PACKS


def test_the_study_takes_the_corpus_as_it_is(corpus: Path) -> None:
    settings = read_config(DrumsSettings, DEMO_LAB, "the demo")
    inventory = DRUMS.take_inventory(corpus, settings, None, None)
    refused = inventory.files[inventory.files["state"] == "rejected"]
    assert len(refused) == 1 and BROKEN in refused["path"].iloc[0]
    assert any(COWBELL in note for note in inventory.notes)
    split = DRUMS.split(inventory.files, settings, None)
    parts = split.groupby("label")["part"].nunique()
    assert set(parts.index) == set(PLAYED) and parts.min() >= 2
    assert parts[["kick", "snare", "hihat_closed"]].eq(3).all(), "what is in every song is in every part"
    assert split.groupby("group")["part"].nunique().eq(1).all(), "a kit is on one side"
    assert split[split["path"].str.contains("#")]["part"].nunique() == 3, "songs of every part are transcribed"


def test_a_song_is_always_the_same_and_another_one_is_not(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_song(tmp_path / name, "song", (0, seed), ("rock",), seconds=5)
    a, b, c = ((tmp_path / name / "song.flac").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert (tmp_path / "a" / "song.bsm").read_bytes() == (tmp_path / "b" / "song.bsm").read_bytes()


def test_a_hit_sounds_where_the_map_says_it_does() -> None:
    rng = np.random.default_rng(0)
    played = play(rng, 8, ("disco",))
    alone = [stroke for stroke in played.strokes if stroke.component == "snare"]
    sound = render(Kit.made(1), alone, played.seconds, rng)
    for stroke in alone:
        first = round(stroke.milliseconds / 1000 * RATE)
        assert np.abs(sound[first : first + 200]).max() > 0.05, stroke
        assert np.abs(sound[max(0, first - 100) : first]).max(initial=0) < np.abs(sound[first : first + 2000]).max() / 2


def test_components_differ_as_they_do_in_life() -> None:
    kit, rng = Kit.made(2), np.random.default_rng(0)
    sounds = {name: kit.strike(name, 1.0, rng) for name in PLAYED}
    middle = {name: _centroid(sound) for name, sound in sounds.items()}
    assert middle["kick"] < middle["tom_low"] < middle["tom_mid"] < middle["tom_high"] < middle["snare"]
    assert middle["snare"] < middle["hihat_closed"]
    lasting = {name: _lasts(sound) for name, sound in sounds.items()}
    assert 3 * lasting["hihat_closed"] < lasting["hihat_open"] < lasting["crash"]
    quiet = kit.strike("snare", 0.4, rng)
    assert np.abs(quiet).max() < 0.5 * np.abs(sounds["snare"]).max()


def test_kits_differ_and_each_is_always_the_same() -> None:
    one, again, other = (
        Kit.made(*seed).strike("tom_mid", 0.9, np.random.default_rng(1)) for seed in ((5,), (5,), (6,))
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_an_open_hi_hat_falls_silent_when_it_is_closed() -> None:
    from ml.studies.drums.grooves import Stroke

    kit = Kit.made(7)
    rings = render(kit, [Stroke(0, "hihat_open", 1.0)], 1.0, np.random.default_rng(0))
    stopped = render(
        kit, [Stroke(0, "hihat_open", 1.0), Stroke(100, "hihat_closed", 0.2)], 1.0, np.random.default_rng(0)
    )
    later = slice(int(0.3 * RATE), None)
    assert np.abs(stopped[later]).max() < 0.2 * np.abs(rings[later]).max()


@pytest.mark.parametrize("bar", [*GROOVES.values(), *FILLS])
def test_bars_are_written_in_sixteen_steps(bar: dict[str, str]) -> None:
    assert set(bar) <= set(PLAYED)
    assert {len(steps) for steps in bar.values()} == {STEPS}
    assert set("".join(bar.values())) <= set("Xxo.")


def test_a_drummer_has_two_hands() -> None:
    for bar in [*GROOVES.values(), *FILLS]:
        for step in range(STEPS):
            hands = [name for name, steps in bar.items() if steps[step] != "." and name != "kick"]
            assert len(hands) <= 2, (bar, step)


def test_the_settings_of_the_demo_are_settings() -> None:
    said = read_config(DrumsSettings, DEMO_LAB, "the demo")
    assert said.trial.picture.mels == DEMO_LAB["trial"]["picture"]["mels"]


def test_after_the_demo_a_song_that_no_trial_met_lies_beside_its_beatmap(tmp_path: Path) -> None:
    model = tmp_path / "a model"
    model.mkdir()
    save_model(build_drumcnn(DrumCNNConfig(channels=(8, 8, 8, 8)), seed=0), model, {"picture": TINY})
    found = after_demo(tmp_path / "tried", lambda name: model)
    transcribed = tmp_path / "tried" / f"{UNSEEN}, transcribed.bsm"
    assert str(transcribed) in found
    assert "held against what was played (F1 within 50 ms): kick" in found
    beatmap = read_beatmap(transcribed)
    audio = audio_of(transcribed, beatmap, tmp_path)
    assert mismatches(beatmap, hashlib.sha256(audio.read_bytes()).hexdigest(), soundfile.info(audio).duration) == []
    assert audio.name == f"{UNSEEN}.wav"


def test_a_beatmap_held_against_itself_is_found_whole(corpus: Path) -> None:
    one, other = (read_beatmap(path) for path in sorted(corpus.rglob("song 0[12].bsm")))
    assert (compared(one, one)["f1"] == 1.0).all()
    assert compared(one, other)["f1"].iloc[-1] < 0.5


def _centroid(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound[: RATE // 10])) ** 2
    return float((power * np.fft.rfftfreq(len(sound[: RATE // 10]), 1 / RATE)).sum() / power.sum())


def _lasts(sound: np.ndarray) -> float:
    loud = np.abs(sound) > 0.03 * np.abs(sound).max()
    return float(np.flatnonzero(loud)[-1] / RATE)
