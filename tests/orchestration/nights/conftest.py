"""What several tests of nights share: labs that are made once, and a night that goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest

from ml.studies.concert.study import CONCERT
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.nights.cleaned import lab_of_two_trials
from tests.orchestration.nights.evenings import Evening
from tests.orchestration.nights.made_up import look
from tests.small_lab import small_lab


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


@pytest.fixture(scope="session")
def looked_at(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """The root of a lab whose features are built; tests take copies of it."""
    bench = small_lab(tmp_path_factory.mktemp("looked-at") / "lab", corpus)
    look(bench, CONCERT)
    bench.machine()
    return bench.lab.root


@pytest.fixture(scope="module")
def built(looked_at: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A copy of it for the tests of one file."""
    return Bench(Lab.open(shutil.copytree(looked_at, tmp_path_factory.mktemp("built") / "lab")))


@pytest.fixture
def evening(built: Bench, instance: dg.DagsterInstance) -> Evening:
    """A night of that lab, which began an hour ago."""
    return Evening(built, instance)
