"""Which trials a request means, and what is said of the source: in files where there are no minutes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from ml.config import ConfigError
from ml.studies.concert.study import CONCERT, ConcertStudy
from orchestration import demo, plan, showing
from orchestration.amounts import class_amounts
from orchestration.asking import say_shared, wanted_trials
from orchestration.reading import print_recordings, print_studies
from orchestration.resources import Bench
from tests.orchestration.commands import command
from tests.small_lab import small_lab, write_yaml
from tests.storage import night

PHASES = (("balance_1.00", "balance_0.50"), ("balance_0.25",))


@pytest.fixture
def bench(tmp_path: Path, corpus: Path) -> Bench:
    return small_lab(tmp_path / "lab", corpus)


@pytest.fixture
def in_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study as if it had phases."""
    monkeypatch.setattr(ConcertStudy, "phases", PHASES)


def names(bench: Bench, *asked: str, part: str | None = None, phase: int | None = None) -> list[str]:
    return [trial.name for trial in wanted_trials(CONCERT, bench.trials(CONCERT), asked, part, phase)]


def test_a_phase_is_a_part_of_the_study_in_its_order(bench: Bench, in_phases: None) -> None:
    assert names(bench) == ["balance_1.00", "balance_0.50", "balance_0.25", "balance_0.00", "balance_0.75"]
    assert names(bench, phase=1) == ["balance_1.00", "balance_0.50"]
    assert names(bench, phase=2) == ["balance_0.25"]
    assert names(bench, part="0.5", phase=1) == ["balance_0.50"]
    assert names(bench, "balance_1.00", "balance_0.00", phase=1) == ["balance_1.00"]
    with pytest.raises(ConfigError, match=r"no trial matches --filter '0.00' and --phase 1; there are: balance_1.00, "):
        names(bench, part="0.00", phase=1)
    for phase in (0, 3, -1):
        with pytest.raises(ConfigError, match=rf"--phase {phase}: the study concert has the phases 1: balance_1.00, "):
            names(bench, phase=phase)
    states = plan.trial_states(bench, CONCERT)
    assert [state.trial.name for state in states] == names(bench)


def test_studies_are_listed_by_phase(bench: Bench, in_phases: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_studies(bench) == 0
    said = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    begin = said.index(["phase", "1"])
    assert [first for first, *_ in said[begin : begin + 8]] == [
        *("phase", "balance_1.00", "balance_0.50", "phase", "balance_0.25", "in", "balance_0.00", "balance_0.75"),
    ]


def test_a_study_without_phases_says_so(bench: Bench) -> None:
    answer = command(bench, "run", "concert", "--phase", "1")
    assert answer.code == 2 and "the study concert has no phases; leave --phase out, or name trials" in answer.err


def test_equal_settings_are_said_even_where_one_of_them_is_asked_for(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yaml(bench.lab.experiments("concert") / "half.yaml", {"balance_strength": 0.5, "name": "half_again"})
    trials = bench.trials(CONCERT)
    for asked in ("half_again", "balance_0.50"):
        say_shared(trials, [trials.named(asked)])
        said = capsys.readouterr().out
        assert said == "note: half_again says the same as balance_0.50; its epochs are shared, not trained twice\n"
    say_shared(trials, [trials.named("balance_0.25")])
    assert capsys.readouterr().out == ""


def test_pictures_are_counted_in_files_and_sound_in_minutes() -> None:
    mixed = class_amounts(night.pictures_table())
    assert (mixed.unit, mixed.belonging, mixed.smallest, mixed.largest) == ("files", "groups", "disgusted", "angry")
    assert mixed.sentence() == "disgusted is the smallest; angry has 2.3 times its files"
    assert mixed.classes["minutes"].dropna().to_dict() == {"angry": 0.2} and mixed.with_minutes
    pictures = class_amounts(night.pictures_table().assign(seconds=0.0))
    assert (pictures.unit, pictures.with_minutes) == ("files", False)
    sound = class_amounts(night.files_table())
    assert (sound.unit, sound.belonging, sound.smallest) == ("minutes", "recordings", "TUNING")
    assert sound.ratio == pytest.approx(87.4 / 2.5)
    alike = night.files_table().assign(seconds=0.0).groupby("label").tail(1)
    assert class_amounts(alike).sentence() == ""


@pytest.mark.parametrize("clips", [True, False])
def test_what_is_shown_of_pictures_speaks_of_no_minutes(
    bench: Bench, clips: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    files = night.pictures_table() if clips else night.pictures_table().assign(seconds=0.0)
    bench.records.note("concert", "inventory", {"fingerprint": "p", "notes": ["a note"]}, {"files": files})
    print_recordings(bench, CONCERT)
    said = capsys.readouterr().out.strip().splitlines()
    assert said[0].split() == ["class", "files", "groups"] + ["minutes"] * clips
    assert said[1].split() == ["angry", "7", "5"] + ["0.20"] * clips
    assert said[2].split() == ["disgusted", "3", "3"]
    assert said[4].split()[:3] == ["together", "14", "5"], "a person is in several classes and counts once"
    assert said[5:7] == ["disgusted is the smallest; angry has 2.3 times its files", "note: a note"]
    shown = showing.inventory(files, []).metadata or {}
    assert ("minutes" in shown) is clips and "largest_to_smallest_in_files" in shown
    assert shown["largest_to_smallest_in_files"] == 2.3
    assert ("minutes" in shown["classes"].value) is clips and "nan" not in shown["classes"].value  # type: ignore[union-attr]


def test_an_older_demo_gets_the_lines_of_a_further_study(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text("# mine\nconcert: /mnt/y/!_A B")
    demo._add_what_is_missing(path, {"concert": "corpus/concert", "further": "corpus/further"})
    text = path.read_text()
    assert text.startswith("# mine\nconcert: /mnt/y/!_A B\n")
    assert yaml.safe_load(text) == {"concert": "/mnt/y/!_A B", "further": "corpus/further"}
    before = path.stat().st_mtime_ns
    demo._add_what_is_missing(path, {"concert": "corpus/concert"})
    assert path.stat().st_mtime_ns == before and path.read_text() == text


def test_nothing_in_a_table_breaks_out_of_it() -> None:
    assert showing.bullets(["a | b\n<script>"], "none").value == "- a \\| b⏎&lt;script>"
    assert showing.bullets([], "none").value == "none"
    assert showing.markdown(pd.DataFrame({"a": [float("nan")]})).splitlines()[-1] == "|  |"
