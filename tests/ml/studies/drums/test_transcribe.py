"""`nocturne transcribe`: from a song to a beatmap that our own reader accepts, and which model is picked up for it."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner, Result

from ml.config import ConfigError
from ml.data.beatmap import read_beatmap
from ml.data.beatmap_rules import audio_of, mismatches
from ml.data.components import COMPONENTS
from ml.inference.transcriber import Hit
from ml.metrics.events import matched_events
from ml.models.saved import save_model
from ml.studies.drums.commands import add
from ml.studies.drums.transcribe_command import MODEL_VARIABLE, USE_VARIABLE
from ml.studies.drums.transcribing import LANES, difficulty
from ml.studies.surroundings import Surroundings
from ml.training import machine
from tests.ml.inference.drummed import RATE, drummed
from tests.ml.inference.test_transcriber import PICTURE, network

NO_MODEL = "the study drums has no finished trial yet: `nocturne run drums`"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    monkeypatch.delenv(USE_VARIABLE, raising=False)
    monkeypatch.setattr(machine, "measure_threads", lambda precision: {1: 0.0})  # seconds for every command


def run(*words: str | Path, best: Path | None = None, named: dict[str, Path] | None = None) -> Result:
    """The command in a lab whose best model is `best`."""
    app = typer.Typer(pretty_exceptions_enable=False)

    def find(said: str | None) -> Path:
        found = best if said is None else (named or {}).get(said)
        if found is None:
            raise RuntimeError(NO_MODEL if said is None else f"--model {said}: no such model")
        return found

    def unasked() -> Path:
        raise AssertionError("transcribing asks for models alone")

    add(app, Surroundings(find, unasked, unasked, unasked, lambda: None))
    return CliRunner().invoke(app, ["transcribe", *map(str, words)], catch_exceptions=True)


def refused(result: Result) -> str:
    assert isinstance(result.exception, ConfigError), result.output
    return str(result.exception)


def song(path: Path, seconds: float = 6.0, rate: int = RATE) -> dict[str, np.ndarray]:
    """A drummed song as a file; what is played in it."""
    samples, hits = drummed(seconds=seconds, rate=rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), np.stack([samples, samples], axis=1), rate)
    return hits


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that hears a kick in everything."""
    made, folder = network(), tmp_path_factory.mktemp("model")
    with torch.no_grad():
        made.fc.weight.zero_()
        made.fc.bias.copy_(torch.tensor([4.0 if name == "kick" else -4.0 for name in COMPONENTS]))
    picture = PICTURE.model_dump(mode="json")
    save_model(
        made, folder, {"study": "drums", "components": list(COMPONENTS), "picture": picture, "sample_rate": RATE}
    )
    return folder


@pytest.mark.parametrize(("suffix", "rate"), [(".wav", 44_100), (".flac", 48_000), (".mp3", 44_100)])
def test_a_song_becomes_a_beatmap_that_is_read_again(tmp_path: Path, suffix: str, rate: int) -> None:
    audio, out = tmp_path / f"my song{suffix}", tmp_path / "my song.bsm"
    hits = song(audio, rate=rate)
    done = run(audio, "-o", out, "--artist", "Żółw", "--creator", "me")
    assert done.exit_code == 0, done.output
    assert f"{out}: " in done.output and "120 beats per minute" in done.output and "kick" in done.output
    said = read_beatmap(out)
    assert said.notes == []
    content = audio.read_bytes()
    assert mismatches(said, hashlib.sha256(content).hexdigest(), soundfile.info(str(audio)).duration) == []
    assert audio_of(out, said, tmp_path) == audio
    assert (said.audio.sampleRate, said.metadata.title, said.metadata.artist) == (rate, "my song", "Żółw")
    assert said.metadata.creator == "me"
    assert said.timing.bpm == pytest.approx(120, abs=0.5)
    times = [hit.time for hit in said.hitObjects]
    assert times == sorted(times)
    assert {hit.component for hit in said.hitObjects} == set(said.drumKit.components) <= set(COMPONENTS)
    assert all(hit.lane == LANES[hit.component] and 0 < hit.velocity <= 1 for hit in said.hitObjects)
    kicks = np.array([hit.time / 1000 for hit in said.hitObjects if hit.component == "kick"])
    assert matched_events(hits["kick"], kicks, 0.02) >= 0.9 * len(hits["kick"])
    assert 0 < said.metadata.difficulty <= 10


def test_the_same_song_makes_the_same_beatmap(tmp_path: Path) -> None:
    song(tmp_path / "song.wav")
    run(tmp_path / "song.wav", "-o", tmp_path / "one.bsm")
    run(tmp_path / "song.wav", "-o", tmp_path / "two.bsm")
    assert (tmp_path / "one.bsm").read_bytes() == (tmp_path / "two.bsm").read_bytes()


def test_the_best_model_of_the_lab_is_picked_up_and_without_one_rules_are(tmp_path: Path, model: Path) -> None:
    song(tmp_path / "song.wav")
    done = run(tmp_path / "song.wav", "-o", tmp_path / "a.bsm")
    assert f"nocturne: {NO_MODEL}; until then drums are told apart by rules, without a model" in done.output
    assert kinds(tmp_path / "a.bsm") >= {"kick", "snare"}
    assert model_in(tmp_path / "a.bsm") == "heuristics"
    done = run(tmp_path / "song.wav", "-o", tmp_path / "b.bsm", best=model)
    assert "rules" not in done.output
    assert kinds(tmp_path / "b.bsm") == {"kick"}
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert model_in(tmp_path / "b.bsm") == f"best model ({weights[:8]})"


def test_what_wins_is_the_option_then_the_switch_then_the_variable(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song(tmp_path / "song.wav")
    words = (tmp_path / "song.wav", "--overwrite", "-o", tmp_path / "map.bsm")
    monkeypatch.setenv(MODEL_VARIABLE, str(model))
    assert f"({MODEL_VARIABLE})" in run(*words).output
    assert kinds(tmp_path / "map.bsm") == {"kick"}
    monkeypatch.setenv(USE_VARIABLE, "0")
    assert f"{USE_VARIABLE}=0: drums are told apart by rules" in run(*words, best=model).output
    assert kinds(tmp_path / "map.bsm") > {"kick"}
    done = run(*words, "--model", "default", named={"default": model})
    assert f"--model default is used, although {USE_VARIABLE}=0 asks for heuristics" in done.output
    assert kinds(tmp_path / "map.bsm") == {"kick"}
    monkeypatch.setenv(USE_VARIABLE, "1")
    monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path / "gone.pth"))
    assert f"{MODEL_VARIABLE}=" in refused(run(*words)) and "gone.pth" in refused(run(*words))


def test_a_model_may_be_a_folder_or_a_file_of_weights(tmp_path: Path, model: Path) -> None:
    song(tmp_path / "song.wav")
    torch.save(network().state_dict(), tmp_path / "weights.pth")
    for said in (model, model / "model.safetensors", tmp_path / "weights.pth"):
        done = run(tmp_path / "song.wav", "--overwrite", "-o", tmp_path / "map.bsm", "--model", said, "--device", "cpu")
        assert done.exit_code == 0, done.output
        assert model_in(tmp_path / "map.bsm").startswith(f"{Path(said).name} (")
    missing = refused(run(tmp_path / "song.wav", "-o", tmp_path / "b.bsm", "--model", tmp_path / "none.pth"))
    assert "none.pth" in missing
    assert not (tmp_path / "b.bsm").exists()
    wrong = refused(run(tmp_path / "song.wav", "-o", tmp_path / "b.bsm", "--model", model, "--device", "abacus"))
    assert "--device abacus" in wrong


def test_many_songs_go_into_a_folder_and_a_broken_one_does_not_stop_the_others(tmp_path: Path) -> None:
    song(tmp_path / "a.wav")
    song(tmp_path / "b.flac")
    song(tmp_path / "sub" / "a.wav")
    (tmp_path / "broken.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:100_000])
    (tmp_path / "text.wav").write_text("no sound")
    songs = [tmp_path / name for name in ("a.wav", "broken.wav", "text.wav", "b.flac", "sub/a.wav", "missing.wav")]
    out = tmp_path / "maps" / "of today"
    done = run(*songs, "-o", out)
    assert done.exit_code == 1
    assert sorted(path.name for path in out.iterdir()) == ["a.bsm", "b.bsm"]
    assert "put b.flac beside it" in done.output
    for words in ("4 not transcribed", "broken.wav: cut off", "text.wav: not sound", "missing.wav: no such file"):
        assert words in done.output
    assert "as " in done.output and "is; transcribe it apart" in done.output
    before = (out / "a.bsm").read_bytes()
    (out / "a.bsm").write_bytes(before + b"\n")
    again = run(tmp_path / "a.wav", "-o", out)
    assert again.exit_code == 0 and "is there already and stays as it is" in again.output
    assert (out / "a.bsm").read_bytes() == before + b"\n"
    run(tmp_path / "a.wav", "-o", out, "--overwrite")
    assert (out / "a.bsm").read_bytes() == before


def test_silence_becomes_an_empty_beatmap_and_is_said(tmp_path: Path, model: Path) -> None:
    soundfile.write(str(tmp_path / "silence.wav"), np.zeros(RATE), RATE)
    for best in (None, model):
        done = run(tmp_path / "silence.wav", "-o", tmp_path / "map.bsm", "--overwrite", best=best)
        assert done.exit_code == 0, done.output
        assert "silent from beginning to end: its beatmap is empty" in done.output
        said = read_beatmap(tmp_path / "map.bsm")
        assert (said.hitObjects, said.drumKit.components, said.metadata.difficulty) == ([], [], 0)
        assert said.audio.duration == 1000


def test_a_model_that_knows_no_drum_of_a_song_is_said_with_what_may(tmp_path: Path) -> None:
    deaf = network()
    with torch.no_grad():
        deaf.fc.weight.zero_()
        deaf.fc.bias.fill_(-4.0)
    torch.save(deaf.state_dict(), tmp_path / "deaf.pth")
    song(tmp_path / "song.wav", seconds=2.0)
    done = run(tmp_path / "song.wav", "-o", tmp_path / "map.bsm", "--model", tmp_path / "deaf.pth")
    assert done.exit_code == 0 and read_beatmap(tmp_path / "map.bsm").hitObjects == []
    assert "moments, but no drum was heard in it: its beatmap is empty" in done.output
    assert f"{USE_VARIABLE}=0 tells them apart by rules" in done.output


def test_what_cannot_be_is_a_sentence_and_writes_nothing(tmp_path: Path) -> None:
    song(tmp_path / "song.wav")
    song(tmp_path / "other.wav")
    (tmp_path / "mine.bsm").write_text("mine")
    both = (tmp_path / "song.wav", tmp_path / "other.wav")
    assert "--overwrite" in refused(run(both[0], "-o", tmp_path / "mine.bsm"))
    assert (tmp_path / "mine.bsm").read_text() == "mine"
    assert "is one beatmap, and there are 2 songs" in refused(run(*both, "-o", tmp_path / "new.bsm"))
    assert "is a file; name a folder" in refused(run(both[0], "-o", both[1], "--overwrite"))
    assert "is a folder" in refused(run(tmp_path, "-o", tmp_path / "new.bsm"))
    assert "--title is of one song" in refused(run(*both, "-o", tmp_path / "maps", "--title", "x"))
    assert run(both[0]).exit_code == 2, "-o is asked for"
    assert not (tmp_path / "new.bsm").exists() and not (tmp_path / "maps").exists()


def test_what_a_file_says_of_itself_is_taken_but_not_without_end(tmp_path: Path) -> None:
    for name, title in (("a", "Prawy do lewego"), ("b", "x" * 20_000), ("c", "  ")):
        with soundfile.SoundFile(str(tmp_path / f"{name}.flac"), "w", RATE, 1) as file:
            file.title = title
            file.write(drummed(seconds=2.0)[0])
        done = run(tmp_path / f"{name}.flac", "-o", tmp_path / f"{name}.bsm")
        assert done.exit_code == 0, done.output
    assert read_beatmap(tmp_path / "a.bsm").metadata.title == "Prawy do lewego"
    assert len(read_beatmap(tmp_path / "b.bsm").metadata.title) <= 500
    assert read_beatmap(tmp_path / "c.bsm").metadata.title == "c"
    run(tmp_path / "a.flac", "-o", tmp_path / "named.bsm", "--title", "Mine")
    assert read_beatmap(tmp_path / "named.bsm").metadata.title == "Mine"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_a_file_name_that_is_no_text_fails_alone(tmp_path: Path) -> None:
    song(tmp_path / "good.wav")
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xffd.wav"))
    bad.write_bytes((tmp_path / "good.wav").read_bytes())
    done = run(bad, tmp_path / "good.wav", "-o", tmp_path / "maps")
    assert done.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["good.bsm"]
    assert "1 not transcribed; the others are" in done.output and "its file name is no text" in done.output


@pytest.mark.skipif(sys.platform == "win32", reason="no file of Windows has such a name")
@pytest.mark.parametrize("name", ["a\\b", "A: side"])
def test_a_file_name_that_no_reader_would_take_is_refused(tmp_path: Path, name: str) -> None:
    song(tmp_path / f"{name}.wav", seconds=1.0)
    done = run(tmp_path / f"{name}.wav", "-o", tmp_path / "map.bsm")
    assert done.exit_code == 1 and "so no beatmap can name it; rename it" in done.output
    assert not (tmp_path / "map.bsm").exists()


def test_difficulty_follows_how_much_is_played() -> None:
    def played(count: int, seconds: float) -> list[Hit]:
        return [Hit(float(at), "kick", 1.0, 1.0) for at in np.linspace(0, seconds, count)]

    assert difficulty([]) == 0.0
    assert difficulty(played(56, 8)) == pytest.approx(2.8)
    assert difficulty(played(2000, 10)) == 10.0


def kinds(path: Path) -> set[str]:
    return {hit.component for hit in read_beatmap(path).hitObjects}


def model_in(path: Path) -> str:
    editor = read_beatmap(path).editor
    assert editor is not None
    return str(editor["aiGenerationMetadata"]["modelVersion"])
