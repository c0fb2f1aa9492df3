"""`nocturne compare`: the best of each column, differences, warnings; and nothing that was never measured."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest

from ml.studies.concert.study import CONCERT
from ml.studies.scores import Scores
from orchestration import answers
from orchestration.resources import Bench
from storage.lab import Lab
from storage.results import publish
from tests.orchestration.commands import Said, command
from tests.storage import night

TWICE = "changes 2 settings at once (seed, training.lr): what made the difference cannot be told apart"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab after a night: five strengths, one more that changes two settings, one that failed."""
    lab = Lab.open(tmp_path_factory.mktemp("compared") / "lab")
    records = night.write_night(lab)
    changes = {"seed": [42, 7], "training.lr": [3e-4, 1e-4]}
    night.finish(records, "double", 0.4, changes=changes, remarks=[TWICE], purpose="Both, at once")
    answers.compare(_published(lab), CONCERT)
    return lab.root


@pytest.fixture
def bench(whole: Path, tmp_path: Path) -> Bench:
    """A copy, to be changed at will."""
    return Bench(Lab.open(shutil.copytree(whole, tmp_path / "lab")))


def _published(lab: Lab) -> Bench:
    publish(lab)
    return Bench(lab)


def rows(said: Said, title: str) -> dict[str, list[str]]:
    """Trial to its cells, of the table whose head begins `trial` below the line that begins with `title`."""
    lines = said.out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(title)) + 1
    assert lines[start].startswith("trial ")
    end = next(
        n for n in range(start, len(lines) + 1) if n == len(lines) or not lines[n] or lines[n][:11] == "difference:"
    )
    return {line.split()[0]: line.split()[1:] for line in lines[start:end]}


def test_the_best_of_each_column_is_marked_and_the_difference_is_to_the_baseline(bench: Bench) -> None:
    said = command(bench, "compare", "concert", "--split", "test")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(CONCERT.question) and "; shares in percent, the best" in said.out
    table = rows(said, "test: 6 trials")
    assert list(table)[1:] == [f"balance_{s}" for s in ("0.75", "1.00", "0.50")] + [
        "double",
        "balance_0.25",
        "balance_0.00",
    ]
    board = answers.standing(bench, CONCERT).leaderboard.set_index("trial")
    column = table["trial"].index("accuracy")
    shown = {name: cells[column] for name, cells in table.items() if name != "trial"}
    best = board["test_accuracy"].max()
    assert {name for name, cell in shown.items() if cell.endswith("*")} == set(
        board.index[board["test_accuracy"] == best]
    )
    for name, cell in shown.items():
        assert float(cell.rstrip("*")) == pytest.approx(100 * board.loc[name, "test_accuracy"], abs=0.051)
    differences = {name: cells[table["trial"].index("difference")] for name, cells in table.items()}
    assert differences["balance_0.50"] == "baseline"
    gained = 100 * (board.loc["balance_0.00", "test_macro_f1"] - board.loc["balance_0.50", "test_macro_f1"])
    assert float(differences["balance_0.00"]) == pytest.approx(gained, abs=0.051)
    assert "difference: of macro_f1 on test, to balance_0.50" in said.out
    assert "balance_strength: 0.5 -> 0.75" in said.out and "training.lr: 0.0003 -> " in said.out


def test_classes_verdicts_and_warnings(bench: Bench) -> None:
    said = command(bench, "compare", "concert", "--metric", "recall")
    table = rows(said, "recall of each class, validation")
    assert table["trial"] == sorted(night.CLASSES)
    per_class = answers.standing(bench, CONCERT).per_class
    own = per_class[(per_class["part"] == "validation") & (per_class["level"] == "window")]
    of_tuning = own[own["class"] == "TUNING"].set_index("trial")["recall"]
    marked = {name for name, cells in table.items() if cells[-1].endswith("*")}
    assert marked == set(of_tuning.index[of_tuning == of_tuning.max()])
    assert "against the leader, balance_0.75, on validation:\n  balance_1.00: " in said.out
    assert "not compared yet" not in said.out and "of 20 recordings" in said.out
    assert f"WARNING: double: {TWICE}" in said.out
    assert "WARNING: double: no file declares it any more" in said.out
    assert "WARNING: balance_0.75, balance_1.00, balance_0.50, balance_0.25, balance_0.00: stale, " in said.out
    assert rows(command(bench, "compare", "concert"), "f1 of each class, validation")["trial"] == sorted(night.CLASSES)


def test_without_a_test_part_nothing_is_made_up(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    bench = Bench(lab)
    for strength in (0.25, 0.75):
        tables = {
            name: frame[frame["part"] != "test"] if name != "epochs" and "part" in frame else frame
            for name, frame in night.tables(strength).items()
        }
        with bench.records.begin("concert", f"balance_{strength:.2f}", "run") as attempt:
            attempt.commit(night.account(strength), tables)
    publish(lab)
    said = command(bench, "compare", "concert", "--split", "test")
    assert said.code == 3 and said.out == ""
    assert said.err.strip() == (
        "nocturne: nothing of concert was measured on a test part; --split val shows the other one"
    )
    target = tmp_path / "results.csv"
    said = command(bench, "compare", "concert", "--export", str(target))
    assert said.code == 0 and "not compared yet" in said.out
    assert "to balance_0.75, the leader, because every trial here changes something" in said.out
    assert not [name for name in pd.read_csv(target).columns if name.startswith("test")]


def test_what_saw_other_data_is_left_out_and_said(bench: Bench) -> None:
    night.finish(bench.records, "balance_0.30", 0.3, data_fingerprint="d2", ended="2027-01-01T00:00:00+00:00")
    publish(bench.lab)
    said = command(bench, "compare", "concert")
    table = rows(said, "validation: 1 trial")
    assert set(table) == {"trial", "balance_0.30"} and "*" not in "".join(table["balance_0.30"])
    assert "6 trials of older data are left out; to refresh: nocturne run concert" in said.out


def test_lower_is_better_where_it_is_so_recorded(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    bench = Bench(lab)
    for name, loss in (("low", 0.01), ("high", 0.2)):
        metrics = pd.DataFrame(
            [("validation", "item", "loss", None, loss), ("validation", "item", "extra_error", None, loss)]
        )
        metrics.columns = ["part", "level", "metric", "class", "value"]
        said = {"selection_metric": "validation_loss", "selection_value": loss, "higher_is_better": False}
        with bench.records.begin("concert", name, "run") as attempt:
            attempt.commit(night.account(0.5, **said), {"metrics": metrics})
    publish(lab)
    answer = command(bench, "compare", "concert")
    table = rows(answer, "validation: 2 trials")
    assert table["low"][:2] == ["0.01*", "0.01*"] and table["high"][:3] == ["0.2", "0.2", "+0.19"]
    assert "of each class" not in answer.out
    wrong = command(bench, "compare", "concert", "--metric", "f1")
    assert wrong.code == 2 and "nothing of concert was measured so" in wrong.err
    assert "shares in percent" not in answer.out


def test_the_file_for_a_spreadsheet_has_all_settings_and_all_metrics(bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "für Excel" / "wyniki ż.csv"
    said = command(bench, "compare", "concert", "--export", str(target))
    assert said.code == 0 and said.out.endswith(f"written: {target}\n")
    assert [path.name for path in target.parent.iterdir()] == [target.name], "nothing is left beside it"
    table = list(csv.DictReader(io.StringIO(target.read_bytes().decode("utf-8"))))
    assert len(table) == 6 and len({row["trial"] for row in table}) == 6
    first = table[0]
    assert (first["trial"], first["rank"], first["is_best"]) == ("balance_0.75", "1", "True")
    assert {"balance_strength", "training.lr", "training.epochs", "labels"} <= set(first)
    for part in ("validation", "test"):
        for level in ("", "recording_"):
            assert {f"{part}_{level}accuracy", f"{part}_{level}macro_f1"} <= set(first)
        assert {f"{part}_{metric}_{name}" for metric in ("f1", "precision", "recall") for name in night.CLASSES} <= set(
            first
        )
    (double,) = [row for row in table if row["trial"] == "double"]
    assert (
        double["remarks"] == TWICE
        and double["purpose"] == "Both, at once"
        and double["seconds_if_run_alone"] == "12600.0"
    )
    board = answers.standing(bench, CONCERT).leaderboard.set_index("trial")
    for row in table:
        assert float(row["test_macro_f1"]) == board.loc[row["trial"], "test_macro_f1"], "every digit of it"
    before = target.read_bytes()
    assert command(bench, "compare", "concert", "--export", str(target)).code == 0 and target.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--split", "train"), 2, "--split train: it is val or test"),
        (("--metric", "luck"), 2, "--metric luck: no class has it; there are: f1, precision, recall"),
        (("--export", "."), 2, "--export .: this is a folder; name a file in it, such as results.csv"),
    ],
)
def test_a_wrong_request_is_refused(bench: Bench, arguments: tuple[str, ...], code: int, said: str) -> None:
    answer = command(bench, "compare", "concert", *arguments)
    assert (answer.code, answer.out) == (code, "") and said in answer.err


def test_nothing_to_compare_yet(tmp_path: Path) -> None:
    bench = Bench(Lab.open(tmp_path / "lab"))
    assert command(bench, "compare", "concert").code == 3
    night.fail(bench.records, "balance_0.30", 0.3, "the source vanished")
    publish(bench.lab)
    answer = command(bench, "compare", "concert")
    assert answer.code == 3 and "no finished trial yet" in answer.err


def test_recordings_and_windows_are_told_apart(bench: Bench) -> None:
    scores = Scores(answers.standing(bench, CONCERT))
    windows, recordings = (scores.overall("test", level) for level in ("window", "recording"))
    board = scores.board
    assert (windows["accuracy"] == board["test_accuracy"]).all()
    assert (recordings["accuracy"] == board["test_recording_accuracy"]).all()
    assert (windows["accuracy"] != recordings["accuracy"]).any()
