"""`nocturne plan`: what a person reads in the evening."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ml.studies.concert.study import CONCERT
from ml.studies.denoise.study import DENOISE
from orchestration.nights import telling_plan
from orchestration.nights.confounds import confounds
from orchestration.nights.planning import plan_nights
from orchestration.nights.telling_plan import as_markdown, told
from orchestration.resources import Bench
from storage.lab import Lab
from tests.orchestration.commands import command
from tests.orchestration.nights.made_up import attempt, look, measured
from tests.small_lab import small_lab, write_yaml

NIGHT = {"timezone": "UTC", "starts": "17:00", "ends": "10:00"}
AT = dt.datetime(2026, 11, 21, 18, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Bench:
    bench = small_lab(tmp_path_factory.mktemp("told") / "lab", corpus, night=NIGHT)
    look(bench, CONCERT)
    measured(bench, CONCERT, "balance_1.00", 5.5 * 3600.0)
    attempt(bench, CONCERT, "balance_0.75", "diverged", error="loss is NaN in epoch 1")
    return bench


def test_a_person_reads_times_disk_what_does_not_fit_and_why(bench: Bench):
    found = plan_nights(bench, AT, (CONCERT,), foresee=True)[0]
    lines = told(bench, found, AT)
    assert lines[1:3] == [
        "the present night: 2026-11-21, 17:00 until 10:00 (Sun 22 Nov), in 16.0 h",
        "3 trials from 18:00, until about 10:00 (Sun 22 Nov), the last goes on next night, 1 given up, 1 done",
    ]
    row = {line.split("balance_")[1][:4]: line for line in lines if "balance_" in line and "note" not in line}
    assert (
        row["0.00"].startswith("18:00 ") and "missing" in row["0.00"] and "5.5 h" in row["0.00"] and "MB" in row["0.00"]
    )
    assert row["0.25"].startswith("23:30 ")
    assert "goes on next night from there" in row["0.50"]
    assert row["0.75"].startswith("given up ") and "loss is NaN in epoch 1; would diverge again" in row["0.75"]
    assert "1.00" not in row, "what is done is counted and not listed"
    assert "together tonight" in "\n".join(lines)
    assert "time is epochs of this network measured on this machine" in lines


def test_before_the_night_the_next_one_is_told(bench: Bench):
    noon = AT.replace(hour=12)
    lines = told(bench, plan_nights(bench, noon, (CONCERT,), foresee=True)[0], noon)
    assert lines[1] == "the next night: 2026-11-21, 17:00 until 10:00 (Sun 22 Nov)"
    assert lines[2].startswith("3 trials from 17:00, ")


def test_a_night_after_midnight_is_told_with_its_day(bench: Bench):
    early = small_lab(bench.lab.root, bench.source(CONCERT), night=NIGHT | {"starts": "01:00", "ends": "05:00"})
    try:
        lines = told(early, plan_nights(early, AT, (CONCERT,))[0], AT)
        assert lines[1] == "the next night: 2026-11-22 (evening of 2026-11-21), 01:00 until 05:00"
    finally:
        small_lab(bench.lab.root, bench.source(CONCERT), night=NIGHT)


def test_what_will_not_go_so_by_itself_is_said_and_what_waits_for_a_reload_has_no_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(telling_plan, "not_loaded", lambda bench, studies: {"concert": {"balance_0.50"}})
    drive = bench.source(CONCERT)
    away = drive.rename(drive.with_name("away"))
    try:
        said = command(bench, "plan", "concert").out
    finally:
        away.rename(drive)
    assert f"but {drive}: no such folder; connect the drive or correct the path" in said
    assert "but balance_0.50 is new since the definitions were loaded: Reload on the page" in said
    assert not [line for line in said.splitlines() if " balance_0.50 " in line and line[2:3] == ":"]


def test_before_the_first_look_no_disk_is_made_up(tmp_path: Path, corpus: Path):
    fresh = small_lab(tmp_path / "lab", corpus, night=NIGHT)
    said = command(fresh, "plan")
    assert (
        "0 MB" not in said.out and "what concert may need is not known before the source has been looked at" in said.out
    )
    assert said.out.count("begun in order: how long it takes is not known") == 1 and said.code == 0
    write_yaml(fresh.lab.studies_file, {"concert": {"nigth": {}}})
    refused = command(fresh, "plan")
    assert refused.code == 2 and "unknown key `nigth`" in refused.out


def test_the_page_shows_the_same_as_a_table(bench: Bench):
    text = as_markdown(plan_nights(bench, AT, (CONCERT,), foresee=True)[0], ["a note"])
    assert text.endswith("\n\n- a note")
    assert text.splitlines()[0].startswith("3 trials from 18:00")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[1] for row in rows[2:]] == [f"balance_{each}" for each in ("0.00", "0.25", "0.50", "0.75")]
    assert len({row.count("|") for row in rows}) == 1


def test_of_a_large_grid_the_first_of_each_kind_are_listed(bench: Bench, tmp_path: Path):
    corpus = next(iter(bench.source(CONCERT).parents))
    large = small_lab(tmp_path / "lab", corpus, "denoise", night=NIGHT)
    found = plan_nights(large, AT, (DENOISE,), foresee=True)[0]
    lines = told(large, found, AT)
    assert sum(line.startswith(("18:00", "then")) for line in lines) == 8
    assert f"… and {len(found.entries) - 8} more" in lines


def test_confounds_are_named_before_the_night(bench: Bench):
    own = bench.lab.experiments("concert")
    write_yaml(own / "two.yaml", {"balance_strength": 0.3, "seed": 7})
    write_yaml(own / "waits.yaml", {"training": {"patience": 2}})
    write_yaml(own / "half.yaml", {"balance_strength": 0.5, "name": "half_again"})
    try:
        said = confounds(bench, CONCERT, bench.trials(CONCERT).trials)
        few = confounds(bench, CONCERT, [bench.trials(CONCERT).named("balance_0.00")], points=50)
    finally:
        for path in own.glob("*.yaml"):
            path.unlink()
    assert any(one.startswith("two: changes 2 settings at once (") for one in said)
    assert any(
        one.startswith("waits: cannot stop early: its patience of 2 is not less than its 2 epochs") for one in said
    )
    assert "half_again says the same as balance_0.50: it costs no epochs, and shows no difference" in said
    assert any(one.startswith("validation has ") for one in said) and any(one.startswith("test has ") for one in said)
    assert all("says the same" not in one and "settings at once" not in one for one in few), "of others nothing is said"


def test_what_is_said_of_many_trials_is_said_once(bench: Bench):
    own = bench.lab.experiments("concert")
    for number in range(5):
        write_yaml(own / f"waits_{number}.yaml", {"seed": number, "training": {"patience": 9}})
    try:
        said = confounds(bench, CONCERT, bench.trials(CONCERT).trials)
    finally:
        for path in own.glob("*.yaml"):
            path.unlink()
    assert sum("cannot stop early" in one for one in said) == 1
    assert any(one.startswith("waits_0, waits_1, waits_2 and 2 more: cannot stop early") for one in said)


def test_the_command_plans_every_study_and_one(bench: Bench):
    answer = command(bench, "plan")
    assert answer.code == 0, answer.err
    for study in ("emotion", "denoise", "drums"):
        assert f"{study}: no source folder is set" in answer.out
    assert "balance_0.00" in answer.out and "disk: " in answer.out
    one = command(bench, "plan", "concert", "--difference", "90")
    assert one.code == 0 and "emotion" not in one.out
    assert command(bench, "plan", "emotion").code == 3
    assert command(bench, "plan", "dance").code == 2


def test_a_mistake_in_the_night_is_told_with_its_file(bench: Bench, tmp_path: Path, corpus: Path):
    wrong = small_lab(tmp_path / "lab", corpus, night={"starts": "25:00"})
    answer = command(wrong, "plan", "concert")
    assert answer.code == 2 and "`night.starts` is '25:00'" in answer.err and "studies.yaml" in answer.err
    assert "`night.starts` is '25:00'" in command(wrong, "plan").out, "the other studies are planned all the same"
    assert Lab.open(tmp_path / "lab").studies_file.is_file()


def test_a_mistake_in_what_holds_for_all_nights_is_said_of_every_study(bench: Bench):
    write_yaml(bench.lab.nights_file, {"keep_free": 5})
    try:
        plans = plan_nights(bench, AT)
        answer = command(bench, "plan")
    finally:
        bench.lab.nights_file.unlink()
    assert all(found.night is None and "unknown key `keep_free`" in found.sentence for found in plans)
    assert answer.code == 2 and "nights.yaml: unknown key `keep_free`; allowed here: " in answer.err
