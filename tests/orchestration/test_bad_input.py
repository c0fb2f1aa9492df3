"""What people's drives and files do: each a clear sentence, the right exit code, and nothing lost."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ml.studies.concert.study import CONCERT
from orchestration.resources import Bench
from storage.query import read
from tests.orchestration.commands import command
from tests.small_lab import small_lab, write_yaml

ONE_EPOCH = {"training": {"epochs": 1}}


@pytest.fixture
def recordings(tmp_path: Path, corpus: Path) -> Path:
    """A corpus of one's own, to be spoiled."""
    return shutil.copytree(corpus, tmp_path / "!_NAGRANIA żółć")


def noise(path: Path, seconds: float = 4.0, level: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(path.name)).standard_normal(int(22050 * seconds)) * level
    soundfile.write(path, samples.astype(np.float32), 22050, subtype="FLOAT")


def test_a_source_that_cannot_be_used(tmp_path: Path, recordings: Path) -> None:
    bench = small_lab(tmp_path / "lab", tmp_path / "not here")
    answer = command(bench, "run", "concert", "--yes")
    assert answer.code == 3 and "connect the drive or correct the path" in answer.err

    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no folder")
    for name, said in (("empty", "no audio files found; expected APPLAUSE"), ("text", "not a folder")):
        write_yaml(bench.lab.sources_file, {"concert": str(tmp_path / name)})
        answer = command(bench, "run", "concert", "--yes")
        assert answer.code == 1 and said in answer.err and str(tmp_path / name) in answer.err

    write_yaml(bench.lab.sources_file, {"concert": str(recordings)})
    aside = recordings / "TUNING"
    aside.rename(tmp_path / "TUNING")
    answer = command(bench, "run", "concert", "--yes")
    assert answer.code == 1 and "no usable file for the class TUNING" in answer.err

    aside.mkdir()
    for path in sorted((tmp_path / "TUNING").iterdir())[:2]:
        shutil.copy(path, aside)
    answer = command(bench, "run", "concert", "--yes")
    assert answer.code == 1
    assert "every class needs at least 3 recordings" in answer.err and "TUNING 2 (2 files)" in answer.err
    # Nothing of this was ever taken for a body of data.
    assert bench.records.noted("concert", "split") is None


@pytest.mark.slow
def test_odd_names_and_unknown_folders_are_listed_and_the_rest_is_used(tmp_path: Path, recordings: Path) -> None:
    noise(recordings / "BALLET" / "la mer.wav")
    noise(recordings / "beside the classes.wav")
    odd = "zażółć gęślą! jaźń.wav" if sys.platform == "win32" else "zażółć\ngęślą! jaźń.wav"
    noise(recordings / "MUSIC" / odd)
    (recordings / "SPEECH" / "notes.wav").write_text("a text under a false name")
    bench = small_lab(tmp_path / "lab", recordings, trial=ONE_EPOCH)
    said = command(bench, "run", "concert", "balance_0.00", "--yes")
    assert said.code == 0, said.err
    assert "note: BALLET: not a class of this study, ignored" in said.out
    assert "left out: SPEECH/notes.wav: " in said.out
    files = read(bench.lab, "files").set_index("path")
    assert files.loc[f"MUSIC/{odd}", "state"] == "ok"
    assert not any(path.startswith("BALLET") for path in files.index)
    assert command(bench, "run", "concert", "balance_0.00").code == 0, "the second look trusts what did not change"


@pytest.mark.slow
def test_one_bad_trial_leaves_the_others(tmp_path: Path, recordings: Path) -> None:
    """Weights that are nowhere, and a loss that is no number: recorded, not tried again, and nothing else is lost."""
    bench = small_lab(tmp_path / "lab", recordings, trial=ONE_EPOCH, trials_per_run=2, retry_delay_seconds=60)
    hub = {"pretrained": "MIT/ast-finetuned-audioset-10-10-0.4593"}
    write_yaml(bench.lab.experiments("concert") / "balance_0.10.yaml", {"model": hub})
    since = time.monotonic()
    said = command(bench, "run", "concert", "balance_0.00", "balance_0.10", "--yes")
    assert time.monotonic() - since < 60, "what cannot pass is not waited for"
    assert (said.code, said.trained) == (1, ["balance_0.00"])
    assert "1 of 2 trials failed; the others stand:\n  balance_0.10: the pretrained weights" in said.err
    assert "cannot be reached" in said.err and "connect this machine" in said.err and "null" in said.err
    assert len(bench.records.history("concert", "balance_0.10")) == 1
    assert "balance_0.10            failed    the pretrained weights" in command(bench, "studies").out

    noise(recordings / "MUSIC" / "overflown.wav", seconds=60, level=1e25)
    said = command(bench, "run", "concert", "balance_0.50", "--yes")
    assert said.code == 1 and "balance_0.50: epoch 1: the loss is nan in step 1" in said.err
    assert "used with a warning: MUSIC/overflown.wav: its peak is" in said.out
    (record,) = bench.records.history("concert", "balance_0.50")
    assert record.account["status"] == "diverged"
    assert "balance_0.50            diverged" in command(bench, "studies").out

    (recordings / "MUSIC" / "overflown.wav").unlink()
    said = command(bench, "run", "concert", "balance_0.00", "balance_0.50", "--yes")
    assert (said.code, said.trained) == (0, ["balance_0.50"]), "the result of before is found again"


@pytest.mark.slow
def test_a_drive_that_goes_away_in_the_middle(
    tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = small_lab(tmp_path / "lab", recordings, trial=ONE_EPOCH, retries=2)
    away, looks = tmp_path / "unplugged", 0
    build = type(CONCERT).build_features

    def unplugged(*arguments: object) -> object:
        nonlocal looks
        looks += 1
        if recordings.exists():
            recordings.rename(away)
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(CONCERT), "build_features", unplugged)
    said = command(bench, "run", "concert", "balance_0.00", "--yes")
    assert said.code == 1 and said.trained == []
    assert looks == 3, "tried again twice: a drive may come back"
    assert str(recordings) in said.err
    assert bench.shelf("features").keys() == []
    assert command(bench, "run", "concert", "balance_0.00", "--yes").code == 3

    monkeypatch.undo()
    away.rename(recordings)
    said = command(bench, "run", "concert", "balance_0.00", "--yes")
    assert (said.code, said.trained) == (0, ["balance_0.00"])


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are of POSIX")
@pytest.mark.slow
def test_a_full_disk(tmp_path: Path, recordings: Path) -> None:
    """A limit on the size of files fails in the same calls as a full disk, and can be lifted again."""
    bench = small_lab(tmp_path / "lab", recordings, trial=ONE_EPOCH)
    wide = {"hidden": 192, "layers": 4, "heads": 2, "intermediate": 384}
    write_yaml(bench.lab.experiments("concert") / "wide.yaml", {"model": wide})
    with files_at_most(6_000_000):  # the features of the corpus need 9 MB
        said = command(bench, "run", "concert", "balance_0.00", "--yes")
    assert said.code == 1 and said.trained == []
    assert "no room to write" in said.err and "Free some space" in said.err
    assert bench.shelf("features").keys() == [] and leftovers(bench) == []

    assert command(bench, "run", "concert", "balance_0.00", "--yes").code == 0
    with files_at_most(8_000_000):  # an epoch of the wide network needs 15 MB
        said = command(bench, "run", "concert", "wide", "--yes")
    assert said.code == 1 and said.trained == []
    assert "wide: no room to write" in said.err and "Free some space" in said.err
    assert leftovers(bench) == []
    assert bench.records.history("concert", "wide")[-1].account["status"] == "failed"
    assert list(read(bench.lab, "leaderboard")["trial"]) == ["balance_0.00"], "what was there stands"

    said = command(bench, "run", "concert", "--filter", "wide", "--yes")
    assert (said.code, said.trained) == (0, ["wide"])


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def leftovers(bench: Bench) -> list[str]:
    """What is half-written in the artifacts."""
    return [str(path) for path in bench.lab.artifacts.rglob(".building-*")]
