"""What a lab may say of a night, and what is said of a mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.config import ConfigError
from ml.studies.experiments import read_settings
from ml.studies.night import NightConfig
from ml.studies.registry import ALL_STUDIES
from ml.studies.study import Study


def _night(tmp_path: Path, said: str) -> NightConfig:
    study = ALL_STUDIES[0]
    file = tmp_path / "studies.yaml"
    file.write_text(f"{study.name}: {{night: {{{said}}}}}\n")
    found: NightConfig = read_settings(study, file).night
    return found


@pytest.mark.parametrize("study", ALL_STUDIES, ids=lambda study: study.name)
def test_every_study_has_nights_from_five_to_ten(study: Study, tmp_path: Path):
    night = read_settings(study, tmp_path / "none.yaml").night
    assert (night.on, night.starts, night.ends, len(night.days)) == (True, "17:00", "10:00", 7)


@pytest.mark.parametrize(
    ("said", "starts", "ends"),
    [
        ('starts: "22:30"', "22:30", "10:00"),
        ("starts: 22:30, ends: 6:00", "22:30", "06:00"),  # YAML takes them for the numbers 1350 and 360
        ("starts: 17:00:10, ends: 17:03:00", "17:00:10", "17:03:00"),
        ("starts: 1:00, ends: 23:59:59", "01:00", "23:59:59"),
        ("starts: 00:00, ends: 0:30", "00:00", "0:30"),
    ],
)
def test_times_may_stand_without_quotes(tmp_path: Path, said: str, starts: str, ends: str):
    night = _night(tmp_path, said)
    assert (night.starts, night.ends) == (starts, ends)
    assert night.begins_at.isoformat().startswith(starts.zfill(5))


def test_nights_are_turned_off_and_on_without_quotes(tmp_path: Path):
    assert _night(tmp_path, "on: false").on is False
    assert _night(tmp_path, "on: true, order: smart").on is True
    with pytest.raises(ConfigError, match=r"`off` is text here; write false"):
        _night(tmp_path, "on: off")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('starts: "25:00"', 'written "17:00"'),
        ("starts: 24:00", "`night.starts` is 1440"),
        ("ends: noon", 'written "17:00"'),
        ("timezone: Mars/Olympus", "like Europe/Berlin"),
        ("timezone: ../../etc/passwd", "like Europe/Berlin"),
        ("days: [monday]", "expected mon, tue"),
        ("days: []", "at least 1"),
        ("begin: 17:00", "unknown key `night.begin`"),
        ("order: best", "expected declared or smart"),
        ("attempts: 0", "expected at least 1"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(tmp_path: Path, said: str, told: str):
    with pytest.raises(ConfigError) as problem:
        _night(tmp_path, said)
    assert told in str(problem.value)
    assert "studies.yaml" in str(problem.value)
