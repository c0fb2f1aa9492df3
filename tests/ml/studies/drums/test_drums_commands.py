"""`nocturne drums`: what a person types, what is said, and with which code it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from ml.config import ConfigError
from ml.studies.commands import COMMANDS
from ml.studies.drums import collection as collecting
from ml.studies.drums.commands import add
from ml.studies.drums.sources import take
from ml.studies.surroundings import Surroundings
from tests.ml.data.maps import song
from tests.ml.studies.drums.test_cutting import corpus, settings_of

HITS = [(100, "kick"), (600, "snare"), (700, "cowbell")]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        collecting, "map_in_children", lambda function, items, **how: ((item, function(item)) for item in items)
    )


def run(folder: Path, *words: str, source: Path | None = None, files: pd.DataFrame | None = None) -> Result:
    """The command in a lab whose collection is `folder`."""
    app = typer.Typer(pretty_exceptions_enable=False)

    def no_model(said: str | None) -> Path:
        raise AssertionError("no model is asked for")

    here = source or (folder if folder.is_dir() else None)
    add(app, Surroundings(no_model, lambda: folder, lambda: here, settings_of, lambda: files))
    return CliRunner().invoke(app, ["drums", *words], catch_exceptions=True)


def refused(result: Result) -> str:
    assert isinstance(result.exception, ConfigError), result.output
    return str(result.exception)


def test_from_a_map_to_counts_to_files(tmp_path: Path) -> None:
    lab, source = tmp_path / "lab", corpus(tmp_path / "songs")
    assert "nothing is collected yet: nocturne drums extract FOLDER" in refused(run(lab, "stats"))
    assert "nothing is collected and no source is set" in refused(run(lab, "export", str(tmp_path / "out")))
    done = run(lab, "extract", str(source / "song 1" / "rock.bsm"))
    assert done.exit_code == 0 and "6 hits added: " in done.output
    done = run(lab, "extract", str(source))
    assert done.exit_code == 0 and "18 hits added, 6 were there already" in done.output
    done = run(lab, "add-sample", str(source / "pack1" / "kick" / "one.wav"), "0:00.03", "Bass Drum")
    assert done.exit_code == 0 and "1 hit added" in done.output
    said = run(lab, "stats").output
    assert "25 hits of 5 songs and sample packs" in said
    assert "  kick: 13 of at least 100 (recommended 500): 87 more needed\n" in said
    done = run(lab, "export", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert f"25 hits in {tmp_path / 'out'}" in done.output and (tmp_path / "out" / "labels.csv").is_file()


def test_a_folder_with_a_broken_map_ends_with_1_and_names_it(tmp_path: Path) -> None:
    song(tmp_path / "songs" / "good", HITS)
    song(tmp_path / "songs" / "bad", HITS, filename="../good/rock.wav")
    done = run(tmp_path / "lab", "extract", str(tmp_path / "songs"))
    assert done.exit_code == 1
    assert "2 hits added" in done.output and "1 'cowbell'" in done.output
    assert (
        "nocturne: 1 beatmaps of which nothing was taken:" in done.output and "leads out of the folder" in done.output
    )


def test_what_is_asked_for_wrongly_is_one_sentence(tmp_path: Path) -> None:
    beatmap = song(tmp_path / "songs", HITS)
    lab, audio = tmp_path / "lab", str(beatmap.with_suffix(".wav"))
    assert "is no time; say seconds (62.5)" in refused(run(lab, "add-sample", audio, "soon", "kick"))
    assert "there is nothing at 61 s" in refused(run(lab, "add-sample", audio, "1:01", "kick"))
    assert "leave out" in refused(run(lab, "extract", str(tmp_path / "songs"), audio))
    assert "no such file" in refused(run(lab, "extract", str(beatmap), str(tmp_path / "none.wav")))
    assert str(tmp_path / "none.bsm") in refused(run(lab, "extract", str(tmp_path / "none.bsm")))
    other = song(tmp_path / "other", HITS, seconds=1.0).with_suffix(".wav")
    assert "say --force" in refused(run(lab, "extract", str(beatmap), str(other)))
    done = run(lab, "extract", str(beatmap), str(other), "--force")
    assert done.exit_code == 0 and "audio.hash: the audio is another file" in done.output


def test_stats_count_the_source_too(tmp_path: Path) -> None:
    lab, source = tmp_path / "lab", corpus(tmp_path / "songs")
    said = run(lab, "stats", source=source).output
    assert "28 hits of 6 songs" in said and "has not listened to all of it yet" in said
    files = take(source, settings_of(), None, None).files
    said = run(lab, "stats", source=source, files=files).output
    assert "28 hits of 6 songs" in said and "has not listened" not in said
    other = song(tmp_path / "other", HITS).parent
    said = run(lab, "stats", source=other, files=files).output  # the inventory is of another source
    assert "2 hits of 1 song" in said and "has not listened to all of it yet" in said
    assert "no such folder" in str(run(lab, "stats", source=tmp_path / "none", files=files).exception)
    run(lab, "extract", str(song(tmp_path / "more", HITS)))
    said = run(lab, "stats", source=source, files=files).output
    assert "2 hits of 1 song" in said and "is used where no source is set" in said


def test_the_command_is_entered_and_imports_nothing_heavy() -> None:
    assert dict(COMMANDS)["drums"] is add
    program = "import sys, ml.studies.commands; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "pandas", "torch", "librosa", "soundfile"}.isdisjoint(loaded)
