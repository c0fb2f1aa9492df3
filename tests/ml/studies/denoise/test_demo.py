"""The demo's corpus: what a person would find in it, that the study takes it as it is, that there is much to gain."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ml.features.waveforms import open_waveforms
from ml.metrics.denoising import si_sdr
from ml.models.unet1d import build_unet1d
from ml.studies.denoise.config import DenoiseSettings
from ml.studies.denoise.demo import BROKEN, RATE, write_corpus
from ml.studies.denoise.features import build
from ml.studies.denoise.mixing import Mixtures
from ml.studies.denoise.sources import divide, leaks, take
from ml.studies.denoise.study import DEMO_LAB, DENOISE
from ml.studies.experiments import read_settings
from ml.training.optimizers import adam
from tests.small_lab import write_yaml

NAME = re.compile(r"(clean/(voice|song)|noise/(hiss|rain|whine|fan|scratches))_[a-z] part[12]\.(wav|flac)")


def contents(folder: Path) -> dict[str, str]:
    """Path below `folder` to what the file holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as `nocturne demo` writes it."""
    folder = tmp_path_factory.mktemp("sounds")
    before = time.process_time()
    write_corpus(folder)
    assert time.process_time() - before < 5
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As few recordings as can be divided."""
    folder = tmp_path_factory.mktemp("few")
    write_corpus(folder, seed=3, scale=0.1)
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> DenoiseSettings:
    """As in the lab of the demo."""
    path = tmp_path_factory.mktemp("lab") / "studies.yaml"
    write_yaml(path, {"denoise": DEMO_LAB})
    return read_settings(DENOISE, path)


def test_the_corpus_is_small_and_audible(whole: Path) -> None:
    files = sorted(path for path in whole.rglob("*") if path.is_file() and path.name != BROKEN)
    assert sum(path.stat().st_size for path in files) < 8_000_000
    assert len(files) == 120 and all(NAME.fullmatch(path.relative_to(whole).as_posix()) for path in files)
    for path in files:
        samples, rate = soundfile.read(path)
        assert rate == RATE and 0.8 < len(samples) / rate < 1.0
        assert 0.02 < np.abs(samples).max() <= 0.9, "neither silent nor clipped"


def test_the_same_seed_gives_the_same_files_and_another_one_others(whole: Path, small: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path, seed=3, scale=0.1)
    assert contents(tmp_path) == contents(small)
    assert not set(contents(small).values()) & set(contents(whole).values())


@pytest.mark.parametrize(("corpus", "recordings"), [("small", 7 * 3), ("whole", 60)])
def test_the_study_takes_the_corpus_as_it_is(
    corpus: str, recordings: int, settings: DenoiseSettings, request: pytest.FixtureRequest
) -> None:
    found = take(request.getfixturevalue(corpus), settings, None, None)
    refused = found.files[found.files["state"] == "rejected"]
    assert list(refused["path"]) == [f"clean/{BROKEN}"]
    assert (found.files.loc[found.files["state"] != "rejected", "problem"] == "").all()
    split = divide(found.files, settings, None)
    assert split.groupby("label")["part"].nunique().eq(3).all() and leaks(found.files, split).empty
    parts = split.groupby("group")["part"].nunique()
    assert len(parts) == recordings and parts.eq(1).all(), "what was cut from one recording is in one part"


@pytest.mark.slow
def test_the_demo_gains_more_than_five_db_on_noise_that_training_never_heard(
    whole: Path, settings: DenoiseSettings, tmp_path: Path
) -> None:
    found = take(whole, settings, None, None)
    split = divide(found.files, settings, None)
    build(tmp_path, whole, found.files, split, settings, [], None)
    torch.set_num_threads(1)
    mixed = Mixtures(open_waveforms(tmp_path), split, settings.trial.mix, seed=42, device="cpu")
    network = build_unet1d(settings.trial.model, seed=42).to(memory_format=torch.channels_last)
    optimizer = adam(network, lr=2e-3)
    for epoch in range(1, 9):
        order = mixed.order(epoch)
        for first in range(0, len(order), 8):
            noisy, clean = mixed.batch(order[first : first + 8])
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(network(noisy), clean).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    network.eval()
    gains = []
    with torch.inference_mode():
        for file in mixed.files("test"):
            denoised = network(torch.from_numpy(file.noisy)[None])[0].numpy()
            gains.append(si_sdr(denoised, file.clean) - si_sdr(file.noisy, file.clean))
    assert np.mean(gains) > 5
