"""What several tests of nights share: a lab with the answers of two trials, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ml.studies.concert.study import CONCERT
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.nights.cleaned import lab_of_two_trials


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """The root of a lab with the answers of two trials, which are all that it has; tests take copies of it."""
    return lab_of_two_trials(tmp_path_factory.mktemp("cleaning") / "lab", corpus)


@pytest.fixture
def lab(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A copy of it, in which the study has no other trials than those two."""
    shutil.copytree(trained, tmp_path / "lab")
    monkeypatch.setattr(type(CONCERT), "experiments", tmp_path / "none")
    return Bench(Lab.open(tmp_path / "lab"))
