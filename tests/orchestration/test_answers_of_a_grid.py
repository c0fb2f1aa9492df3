"""What the finished trials of a grid say together: compared by their scores, weighed by their settings, shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.studies.denoise.study import DENOISE
from orchestration import answers, comparing, showing
from orchestration.resources import Bench
from storage.lab import Lab
from storage.query import query
from storage.records import Records
from storage.results import publish
from tests.storage import grid

BEST = "bs16_lr0.0001_ep50"
POINT = {"training.batch_size": 16, "training.lr": 1e-4, "training.epochs": 50}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A grid of sixteen and a trial that ended with the model of the best."""
    lab = Lab.open(tmp_path_factory.mktemp("grid") / "lab")
    grid.write_grid(lab, grid.SMALL | {"training.optimizer": ("adam", "adamw")})
    with Records(lab).begin(grid.STUDY, "twin", "r") as attempt:
        attempt.commit(grid.account("twin", POINT), grid.tables(POINT))
    publish(lab)
    return Bench(lab)


def test_trials_are_compared_by_the_gain_of_their_files(bench: Bench) -> None:
    now = answers.compare(bench, DENOISE)
    leader = now.leaderboard.iloc[0]["trial"]
    assert leader.startswith(BEST) and len(now.comparisons) == 16
    rows = now.comparisons.set_index("trial")
    assert set(rows["against"]) == {leader} and set(rows["part"]) == {"validation"}
    assert set(rows["recordings"]) == {grid.SPEAKERS}, "two files of a speaker are one"
    twin = rows.loc["twin" if leader != "twin" else BEST]
    assert twin["verdict"] == "the same model as the leader" or twin["difference"] != 0
    last = rows.loc[now.leaderboard.iloc[-1]["trial"]]
    means = query(
        bench.lab,
        "select trial, avg(value) as gain from scores where metric = 'si_sdr_improvement' and part = 'validation' "
        "group by trial",
    ).set_index("trial")["gain"]
    assert last["difference"] == pytest.approx(means[last.name] - means[leader])
    assert last["verdict"].startswith("worse than the leader: si_sdr_improvement -")
    assert " dB on average" in last["verdict"]


def test_the_importance_is_kept_with_the_comparison(bench: Bench) -> None:
    now = answers.compare(bench, DENOISE)
    kept = now.ask("importance").set_index("setting")
    assert set(kept.index) == {"training.batch_size", "training.lr", "training.epochs", "training.optimizer"}
    assert kept["whole"].all() and (kept["trials"] == 17).all()
    assert bench.records.last_noted(DENOISE.name, "comparison") == 2, "noted by the fixture, and once more"


def test_a_trial_alone_is_compared_with_nobody_and_that_is_noted(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    with Records(lab).begin(grid.STUDY, "default", "r") as attempt:
        attempt.commit(grid.account("default", POINT), grid.tables(POINT))
    publish(lab)
    alone = Bench(lab)
    assert not len(answers.compare(alone, DENOISE).comparisons)
    alone.records.note(DENOISE.name, "best_model", {"fingerprint": "b"}, {})
    assert answers.is_compared(alone, DENOISE)


def test_configurations_come_from_the_database_as_they_were_recorded(bench: Bench) -> None:
    board = answers.standing(bench, DENOISE).leaderboard.set_index("trial")
    (record,) = bench.records.history(DENOISE.name, "twin")
    assert board.loc["twin", "config"] == record.account["config"]


def test_the_page_shows_decibels_and_no_column_without_anything(bench: Bench) -> None:
    said = showing.leaderboard(DENOISE, answers.compare(bench, DENOISE)).metadata
    assert said is not None
    head = str(said["leaderboard"].value).splitlines()[0]  # type: ignore[union-attr]
    assert "test, dB gained" in head and "worst_class" not in head and "verdict" in head
    assert "TOP 5 DIFFERENT RESULTS" in str(said["analysis"].value)  # type: ignore[union-attr]


def test_the_evaluation_of_a_trial_without_classes_is_shown(bench: Bench) -> None:
    (record,) = bench.records.history(DENOISE.name, "twin")
    shown = showing.trial(DENOISE, "evaluation", record, False)
    assert "classes" not in shown and shown["test_silent_references_recordings"] == 1
    gain = bench.records.history(DENOISE.name, "twin")[0].table("metrics")
    mean = gain[(gain["part"] == "test") & (gain["metric"] == "si_sdr_improvement")]["value"].iloc[0]
    assert shown["test_si_sdr_improvement_recordings"] == pytest.approx(mean, abs=1e-4)


def test_a_large_grid_is_compared_by_its_best(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers.compare(bench, DENOISE)
    monkeypatch.setattr(comparing, "FEW", 5)
    monkeypatch.setattr(comparing, "NAMED", 2)
    target = tmp_path / "all.csv"
    assert comparing.print_comparison(bench, DENOISE, "val", None, target) == 0
    said = capsys.readouterr().out
    assert "validation: 17 trials, the best on validation first" in said
    assert "trials: how many ended with this model, the first of them is shown; --export FILE.csv has all" in said
    table = [line.split() for line in said.splitlines()[4:9]]
    assert [cells[0] for cells in table].count("twin") + [cells[0] for cells in table].count(BEST + "_adam") == 1
    assert "2" in table[0] and "1" in table[1], "two trials are one model"
    assert "of all 16: 15 worse than the leader, 1 the same model as the leader" in said
    head = said.splitlines()[3].split()
    assert head[:3] == ["trial", "validation_loss", "si_sdr"], "scores of whole files stand beside the loss"
    assert "and 15 more: no file declares it any more" in said
    assert len(target.read_text(encoding="utf-8").splitlines()) == 18


def test_what_is_the_same_in_a_grid_is_said_once_and_grids_that_nobody_began_are_not_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Lab.open(tmp_path / "lab")
    mine = "grid: {training.lr: [1.0e-4, 5.0e-4], training.batch_size: [8, 16]}\ntraining: {epochs: 3}\n"
    alone = Bench(lab)
    folder = lab.experiments(DENOISE.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.yaml").write_text(mine, encoding="utf-8")
    own = [trial for trial in alone.trials(DENOISE).trials if trial.mode == "mine"]
    for trial in own[:3]:
        point = {"training.epochs": 3, "training.lr": 1e-4, "training.batch_size": 8}
        changes = {setting: list(pair) for setting, pair in trial.changes.items()}
        with Records(lab).begin(grid.STUDY, trial.name, "r") as attempt:
            attempt.commit(grid.account(trial.name, point, changes=changes), grid.tables(point))
    publish(lab)
    assert comparing.print_comparison(alone, DENOISE, "val", None, None) == 0
    said = capsys.readouterr().out
    assert said.count("training.epochs: 75 -> 3") == 1
    assert "mine: all its trials here change training.epochs: 75 -> 3" in said
    (missing,) = [line for line in said.splitlines() if line.startswith("without a result: ")]
    assert own[3].name in missing and " more" not in missing
