"""Every command as a person types it: what it says, and the exit code that scripts get."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml.studies.concert.study import CONCERT
from orchestration import showing
from orchestration.resources import Bench
from storage.query import query, read
from tests.orchestration.commands import Said, command, forget_definitions
from tests.small_lab import ROOT, environment, small_lab, write_yaml

TABLES = ("files", "splits", "trials", "attempts", "epochs", "metrics", "confusion", "predictions", "draws", "classes")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Bench:
    return small_lab(tmp_path_factory.mktemp("commands") / "lab", corpus, trials_per_run=3)


@pytest.fixture(scope="module")
def first(lab: Bench) -> Said:
    """The first night: nothing was there before."""
    return command(lab, "run", "concert", "--yes")


def test_the_first_run_shows_the_recordings_the_plan_and_the_time_left(first: Said) -> None:
    assert first.code == 0, first.err
    lines = first.out.splitlines()
    assert next(line for line in lines if line.startswith("MUSIC")).split()[1:3] == ["5", "5"]
    assert any(line.startswith("TUNING is the smallest; MUSIC has") for line in lines)
    assert "left out: PUBLIC/przerwane nagranie.wav: cut off" in first.out
    for name in ("balance_0.00", "balance_1.00"):
        state, *cost = next(line for line in lines if line.startswith(name)).split()[1:]
        assert state == "missing" and cost[1] == "s" and cost[3] == "MB"
    assert any(line.startswith("features, built first") for line in lines)
    assert "3 of 5 trials ended; about" in first.out
    assert first.trained == [f"balance_{strength}" for strength in ("0.00", "0.25", "0.50", "0.75", "1.00")]
    assert first.err == ""


def test_a_second_run_trains_nothing(lab: Bench, first: Said) -> None:
    since = time.monotonic()
    again = command(lab, "run", "concert")
    assert (again.code, again.trained) == (0, [])
    assert "5 trials, all done; nothing to train" in again.out
    assert time.monotonic() - since < 10, "a second run takes seconds"


def test_only_the_new_file_is_trained_and_a_bad_one_costs_itself_alone(lab: Bench, first: Said) -> None:
    folder = lab.lab.experiments("concert")
    write_yaml(folder / "balance_0.30.yaml", {"balance_strength": 0.3, "seed": 41})
    write_yaml(folder / "too_strong.yaml", {"balance_strength": 1.7})
    write_yaml(folder / "misspelled.yaml", {"balanse": 0.3})
    try:
        said = command(lab, "run", "concert", "--yes")
        assert (said.code, said.trained) == (2, ["balance_0.30"])
        assert "note: balance_0.30: changes 2 settings at once (seed, balance_strength): " in said.out
        strong, misspelled = (next(one for one in said.err.splitlines() if name in one) for name in ("strong", "miss"))
        assert "`balance_strength` is 1.7" in strong and "expected at most 1" in strong
        assert "unknown key `balanse`; allowed here: balance_strength, model" in misspelled
        again = command(lab, "run", "concert", "balance_0.30")
        assert (again.code, again.trained) == (0, []), "nothing is wrong with what was asked for"
        finished = next(line for line in again.out.splitlines() if line.startswith("balance_0.30 is finished since 20"))
        assert "with --force it is, and the older result stays in the history" in finished
        listed = command(lab, "studies")
        assert listed.code == 2 and "6 done" in listed.out and "misspelled.yaml" in listed.err
    finally:
        for name in ("too_strong", "misspelled"):
            (folder / f"{name}.yaml").unlink()


def test_what_a_trial_changes_and_what_is_to_know_of_it_is_shown_everywhere(lab: Bench, first: Said) -> None:
    changes = "balance_strength: 0.5 -> 0.3"
    (row,) = query(lab.lab, "select changes, remarks from leaderboard where trial = 'balance_0.30'").to_dict("records")
    assert row["changes"] == f"{changes}; seed: 42 -> 41" and row["remarks"].startswith("changes 2 settings at once")
    record = lab.records.latest("concert", "balance_0.30")
    assert record is not None
    shown = showing.trial(CONCERT, "trained_model", record, True)
    assert shown["changes_from_baseline"].value == f"- seed: 42 -> 41\n- {changes}"
    assert shown["remarks"].value == f"- {row['remarks']}"
    baseline = lab.records.latest("concert", "balance_0.50")
    assert baseline is not None
    shown = showing.trial(CONCERT, "trained_model", baseline, True)
    assert shown["changes_from_baseline"].value == "none: this is the baseline" and "remarks" not in shown
    compared = command(lab, "compare", "concert", "--split", "test")
    assert (compared.code, compared.err) == (0, "") and f"{changes}; seed: 42 -> 41" in compared.out
    assert f"WARNING: balance_0.30: {row['remarks']}" in compared.out
    assert "stale" not in compared.out and "not compared yet" not in compared.out


def test_force_trains_again_and_keeps_the_older_result(lab: Bench, first: Said) -> None:
    before = read(lab.lab, "leaderboard").set_index("trial")
    said = command(lab, "run", "concert", "balance_0.50", "--force", "--yes")
    assert (said.code, said.trained) == (0, ["balance_0.50"])
    assert next(line for line in said.out.splitlines() if line.startswith("balance_0.50")).split()[1] == "done"
    attempts = lab.records.history("concert", "balance_0.50")
    assert [record.account["status"] for record in attempts] == ["finished", "finished"]
    assert [record.account["epochs_trained"] for record in attempts] == [2, 2]
    after = read(lab.lab, "leaderboard").set_index("trial")
    assert after.loc["balance_0.50", "attempts"] == 2 and after.loc["balance_0.25", "attempts"] == 1
    # The same seed on the same processor: trained anew, and equal.
    assert after.loc["balance_0.50", "selection_value"] == before.loc["balance_0.50", "selection_value"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "concerto"), 2, "no study named 'concerto'; there are: concert"),
        (("run", "concert", "balance_9"), 2, "no trial named 'balance_9'; there are: balance_0.00, balance_0.25"),
        (("run", "concert", "--filter", "drums"), 2, "no trial matches --filter 'drums'; there are: balance_0.00"),
        (("run", "concert", "--filter", "0.5", "--force"), 2, "1 trial would run; nobody is here to ask, so say --yes"),
        (("studies", "concerto"), 2, "no study named 'concerto'; there are: concert"),
        (("run", "--colour"), 2, "No such option: --colour"),
        (("run",), 2, "Missing argument 'STUDY'"),
        (("dance",), 2, "No such command 'dance'"),
        (("sql", "selec 1"), 2, 'syntax error at or near "selec"'),
        (("sql", "drop table trials"), 2, "read-only"),
        (("sql", "select * from read_csv('/etc/hosts')"), 2, "disabled by configuration"),
        (("sql", " "), 2, "no statement"),
        (("export", "concert", "there", "--format", "pdf"), 2, "--format pdf: there is `document` only"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(
    lab: Bench, first: Said, arguments: tuple[str, ...], code: int, said: str
) -> None:
    answer = command(lab, *arguments)
    assert answer.code == code
    assert said in answer.err


def test_what_is_not_there_yet_has_a_code_of_its_own(tmp_path: Path, corpus: Path) -> None:
    empty = small_lab(tmp_path / "lab", corpus)
    for arguments in (("summary", "concert"), ("sql", "select 1"), ("export", "concert", str(tmp_path / "to"))):
        answer = command(empty, *arguments)
        assert answer.code == 3 and "run a study" in answer.err
    empty.lab.sources_file.unlink()
    answer = command(empty, "run", "concert")
    assert answer.code == 3 and "NOCTURNE_CONCERT_SOURCE" in answer.err and "sources.yaml" in answer.err
    assert "NOCTURNE_CONCERT_SOURCE" in command(empty, "studies").out
    one = command(empty, "studies", "concert")
    assert (one.code, one.err) == (0, "") and "balance_0.00" in one.out and "5 missing" in one.out
    assert "\nemotion: " not in one.out and "\nemotion: " in command(empty, "studies").out
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    answer = command(empty, "studies", variables={"NOCTURNE_LAB": str(tmp_path / "full")})
    assert answer.code == 2 and "thesis.txt" in answer.err
    assert [entry.name for entry in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_the_source_variable_wins_and_a_relative_path_begins_at_the_lab(tmp_path: Path, corpus: Path) -> None:
    bench = small_lab(tmp_path / "lab", corpus)
    write_yaml(bench.lab.sources_file, {"concert": "corpus/concert"})
    assert bench.source(CONCERT, {}) == bench.lab.root / "corpus" / "concert"
    assert bench.source(CONCERT, {"NOCTURNE_CONCERT_SOURCE": "/mnt/y/!_A B"}) == Path("/mnt/y/!_A B")
    other = tmp_path / "gone!"
    answer = command(bench, "run", "concert", variables={"NOCTURNE_CONCERT_SOURCE": str(other)})
    assert answer.code == 3 and f"{other}: no such folder; connect the drive or correct the path" in answer.err


def test_studies_says_why_a_trial_is_stale(lab: Bench, first: Said) -> None:
    before = lab.lab.studies_file.read_text(encoding="utf-8")
    try:
        lab.lab.studies_file.write_text(before.replace("epochs: 2", "epochs: 3"), encoding="utf-8")
        listed = command(lab, "studies").out
        assert "stale     settings changed since it was trained" in listed
        lab.lab.studies_file.write_text("concert: {trial: {training: {epoks: 3}}}\n", encoding="utf-8")
        wrong = command(lab, "studies")
        assert wrong.code == 2 and "unknown key `trial.training.epoks`; allowed here: batch" in wrong.err
        assert command(lab, "run", "concert").code == 2
    finally:
        lab.lab.studies_file.write_text(before, encoding="utf-8")
    assert "stale" not in command(lab, "studies").out


def test_summary_sql_rebuild_and_export(lab: Bench, first: Said, tmp_path: Path) -> None:
    summary = command(lab, "summary", "concert")
    assert summary.code == 0 and summary.out.startswith("=== EXPERIMENT SUMMARY ===")
    assert "BEST MODEL (chosen on validation)" in summary.out

    table = command(lab, "sql", "select trial, [1, 2] as pair, null as nothing from trials order by trial")
    assert table.code == 0 and table.out.splitlines()[0].split(" │ ")[0].strip() == "trial"
    assert table.out.splitlines()[-1].endswith("rows") and "[1, 2]" in table.out
    rows = list(csv.DictReader(io.StringIO(command(lab, "sql", "--csv", "select * from leaderboard").out)))
    assert {"study", "trial", "rank"} <= set(rows[0]) and rows[0]["rank"] == "1"

    before = {name: read(lab.lab, name) for name in TABLES}
    lab.lab.results.unlink()
    rebuilt = command(lab, "db", "rebuild")
    assert rebuilt.code == 0 and rebuilt.out
    for name, frame in before.items():
        after = read(lab.lab, name)
        assert len(after) == len(frame) and list(after.columns) == list(frame.columns)
        assert sorted(map(repr, after.to_numpy().tolist())) == sorted(map(repr, frame.to_numpy().tolist())), name

    there = tmp_path / "for others"
    exported = command(lab, "export", "concert", str(there), "--pth")
    assert exported.code == 0
    assert {Path(line) for line in exported.out.splitlines()} == set(there.iterdir())
    results = json.loads((there / "experiment_results.json").read_text(encoding="utf-8"))
    assert len(results) == len(rows) and sum(path.suffix == ".pth" for path in there.iterdir()) == len(rows)


def test_an_unexpected_error_is_one_sentence_that_says_how_to_see_more(lab: Bench, first: Said, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    answer = command(lab, "export", "concert", str(tmp_path / "a file"))
    assert answer.code == 1 and str(tmp_path / "a file") in answer.err and len(answer.err.splitlines()) == 1
    machine = lab.lab.root / "machine-resolved.json"
    whole = machine.read_bytes()
    try:
        machine.write_bytes(whole[:-20])
        answer = command(lab, "run", "concert", "--force", "--yes")
        assert answer.code == 1 and str(machine) in answer.err and "NOCTURNE_DEBUG=1 shows where" in answer.err
        with pytest.raises(ValueError, match="sealed"):
            command(lab, "run", "concert", "--force", "--yes", variables={"NOCTURNE_DEBUG": "1"})
    finally:
        machine.write_bytes(whole)
        forget_definitions()


def test_help_and_studies_import_nothing_heavy(lab: Bench, first: Said) -> None:
    watch = (
        "import sys; sys.argv = ['nocturne', 'ARGUMENT']; from orchestration import cli; code = cli.main();"
        "heavy = {'torch', 'dagster', 'transformers', 'librosa', 'matplotlib', 'scipy'} & set(sys.modules);"
        "print('pandas' in sys.modules, sorted(heavy), code)"
    )
    for argument, pandas in (("--help", False), ("studies", True)):
        done = subprocess.run(
            [sys.executable, "-c", watch.replace("ARGUMENT", argument)],
            env=environment(lab),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == f"{pandas} [] 0"
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="process groups and their signals are of POSIX")
@pytest.mark.slow
def test_ctrl_c_keeps_the_finished_epochs_and_the_same_command_goes_on(lab: Bench, first: Said) -> None:
    write_yaml(lab.lab.experiments("concert") / "long.yaml", {"seed": 7, "training": {"epochs": 25}})
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", "run", "concert", "long", "--yes"],
        env=environment(lab),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "epoch 2 of" in line or "epoch 2 in" in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    since = time.monotonic()
    said.append(process.communicate(timeout=60)[0])
    took = time.monotonic() - since
    text = "".join(said)
    assert process.returncode == 130, text
    assert took < 10
    assert "Traceback" not in text and "FAILED" not in text
    assert "interrupted: 0 of 1 trials are done and kept; long is paused after its last finished epoch" in text
    (paused,) = lab.records.history("concert", "long")
    assert paused.account["status"] == "paused" and 2 <= paused.account["epochs_done"] < 25
    assert "paused    interrupted" in command(lab, "studies").out

    done = paused.account["epochs_done"]
    rest = command(lab, "run", "concert", "long", "--yes")
    assert rest.code == 0 and rest.trained == ["long"]
    finished = lab.records.history("concert", "long")[-1].account
    assert (finished["status"], finished["epochs_done"]) == ("finished", 25)
    assert finished["epochs_trained"] == 25 - done
    (lab.lab.experiments("concert") / "long.yaml").unlink()


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are of POSIX")
@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code", "trained"), [("n", 130, False), ("", 0, True)])
def test_a_person_is_asked(lab: Bench, first: Said, answer: str, code: int, trained: bool) -> None:
    import pty

    write_yaml(lab.lab.experiments("concert") / "asked.yaml", {"seed": 8})
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - the command
        os.chdir(ROOT)
        os.execve(
            sys.executable, [sys.executable, "-m", "orchestration.cli", "run", "concert", "asked"], environment(lab)
        )
    said = b""
    while b"[Y/n]" not in said:
        said += os.read(terminal, 4096)
    assert b"asked " in said and b"together" in said and b"run 1 trial?" in said
    os.write(terminal, answer.encode() + b"\n")
    try:
        while more := os.read(terminal, 4096):
            said += more
    except OSError:  # how Linux says that the other side is gone
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code, said.decode()
    assert (b"nothing was started" in said) is not trained
    assert bool(lab.records.history("concert", "asked")) is trained
