"""The store of samples is what decoding each file gives, and it is whole or it is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ml.data.audio import read_mono
from ml.data.children import map_in_children
from ml.features.extraction import KnownFile, NoRows
from ml.features.store import StoreDamaged
from ml.features.waveforms import LEVELS, WaveformConfig, build_waveforms, open_waveforms, samples_of
from tests.ml.data.sounds import noise, write

CONFIG = WaveformConfig(sample_rate=16_000)


def known(*paths: Path) -> list[tuple[str, Path]]:
    return [(hashlib.sha256(path.read_bytes()).hexdigest(), path) for path in paths]


def build(folder: Path, files: list[tuple[str, Path]], config: WaveformConfig = CONFIG, reuse: tuple[Path, ...] = ()):
    folder.mkdir()
    return build_waveforms(folder, files, config, decode=read_mono, run=map_in_children, workers=1, reuse=reuse)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """The model's rate, another rate and stereo, and three samples."""
    place = tmp_path_factory.mktemp("sounds")
    return known(
        write(place / "plain.wav", noise(0.5)),
        write(place / "stereo.flac", noise(0.7, 44_100, channels=2, seed=1), 44_100),
        write(place / "short.wav", noise(3 / 16_000, seed=2)),
    )


@pytest.fixture(scope="module")
def folder(files: list[tuple[str, Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store") / "waveforms"
    account = build(place, files)
    assert (account["files"], account["decoded"]) == (3, 3)
    assert account["samples"] == 8000 + 11_200 + 3 and account["bytes"] == 2 * account["samples"]
    return place


def test_every_recording_is_there_as_decoded(folder: Path, files: list[tuple[str, Path]]) -> None:
    store = open_waveforms(folder)
    assert store.config == CONFIG and store.samples.dtype == np.float16
    for key, path in files:
        first, length = store.places[key]
        expected = np.concatenate(list(read_mono(path, 16_000)))
        assert length == len(expected)
        np.testing.assert_allclose(store.samples[first : first + length], expected, rtol=2**-11, atol=2**-24)
        assert store.levels[key] == pytest.approx(np.sqrt(np.mean(expected.astype(float) ** 2)), rel=1e-3)


def test_what_is_known_is_copied(folder: Path, files: list[tuple[str, Path]], tmp_path: Path) -> None:
    more = known(write(tmp_path / "more.wav", noise(0.1, seed=3)))
    account = build(tmp_path / "second", files + more, reuse=(folder,))
    assert (account["decoded"], account["reused"]) == (1, 3)
    first, second = open_waveforms(folder), open_waveforms(tmp_path / "second")
    assert second.levels.keys() == second.places.keys() and len(second.places) == 4
    for key, (begin, length) in first.places.items():
        again = second.places[key][0]
        assert np.array_equal(first.samples[begin : begin + length], second.samples[again : again + length])
        assert first.levels[key] == second.levels[key]


@pytest.mark.parametrize("damage", ["", "{", '{"a": 1.0}'])
def test_a_store_without_the_right_levels_is_none(tmp_path: Path, damage: str) -> None:
    build(tmp_path / "store", known(write(tmp_path / "one.wav")))
    (tmp_path / "store" / LEVELS).write_text(damage)
    with pytest.raises(StoreDamaged, match="build it again"):
        open_waveforms(tmp_path / "store")
    (tmp_path / "store" / LEVELS).unlink()
    with pytest.raises(StoreDamaged, match="levels"):
        open_waveforms(tmp_path / "store")


def test_a_file_without_a_sample_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "empty.wav", np.zeros((0, 1)))
    with pytest.raises(NoRows, match="shorter than one sample"):
        list(samples_of(KnownFile("key", path), config=CONFIG, decode=read_mono))


@pytest.mark.parametrize("rate", [0, 300, 44_100.0, 10**6])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValidationError):
        WaveformConfig(sample_rate=rate)
