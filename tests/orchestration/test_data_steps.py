"""The steps before any training, and what a lab's files say: looked at again, changed, and spoiled by a slip."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml.config import ConfigError
from ml.data import inventory
from ml.studies.concert.study import CONCERT
from orchestration import data, resources
from orchestration.definitions import build_definitions
from orchestration.resources import Bench, NotReady
from storage import durable
from tests.small_lab import TINY, small_lab, write_yaml


@pytest.fixture
def recordings(tmp_path: Path, corpus: Path) -> Path:
    """A corpus of one's own, to be changed."""
    return shutil.copytree(corpus, tmp_path / "recordings")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were opened, look after look."""
    opened: list[str] = []
    examined = inventory._examined

    def counted(source: Path, unread: list[Any], *more: Any) -> Any:
        opened.extend(entry.path for entry in unread)
        return examined(source, unread, *more)

    monkeypatch.setattr(inventory, "_examined", counted)
    return opened


def look(bench: Bench) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The split, and what leaks in it."""
    data.take_inventory(bench, CONCERT, lambda share, words: None)
    return data.divide(bench, CONCERT)


def parts(split: pd.DataFrame) -> dict[str, str]:
    return dict(zip(split["path"], split["part"], strict=True))


def test_files_are_read_again_only_once_after_their_times_changed(
    tmp_path: Path, recordings: Path, read: list[str]
) -> None:
    bench = small_lab(tmp_path / "lab", recordings)
    look(bench)
    before = bench.data(CONCERT)
    whole = len(read)
    assert whole >= 10
    for path in recordings.rglob("*.*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    read.clear()
    look(bench)
    assert len(read) == whole
    read.clear()
    look(bench)
    # What rests on circumstances is looked at each time; nothing that could be read is.
    files = bench.data(CONCERT).files.set_index("path")
    assert not [path for path in read if files.loc[path, "state"] != "rejected"]
    assert bench.data(CONCERT).fingerprint == before.fingerprint, "nothing is stale"


def test_other_settings_of_the_inventory_do_not_read_the_files_again(
    tmp_path: Path, recordings: Path, read: list[str]
) -> None:
    bench = small_lab(tmp_path / "lab", recordings)
    look(bench)
    read.clear()
    small_lab(tmp_path / "lab", recordings, inventory={"max_rejected_share": 0.4})
    look(bench)
    files = bench.data(CONCERT).files.set_index("path")
    assert not [path for path in read if files.loc[path, "state"] != "rejected"]


def test_another_group_pattern_divides_anew(tmp_path: Path, recordings: Path) -> None:
    bench = small_lab(tmp_path / "lab", recordings)
    split, _ = look(bench)
    rule = bench.records.noted("concert", "split").account["rule"]
    small_lab(tmp_path / "lab", recordings, inventory={"group_pattern": "(?P<group>.+)"})
    again, leaks = look(bench)
    assert not len(leaks)
    assert bench.records.noted("concert", "split").account["rule"] != rule
    assert set(again["group"]) != set(split["group"])


def test_a_file_that_was_away_for_one_look_keeps_its_part(tmp_path: Path, recordings: Path) -> None:
    bench = small_lab(tmp_path / "lab", recordings, split={"seed": 3})
    first, _ = look(bench)
    gone = str(first[(first["label"] == "MUSIC") & (first["part"] == "train")]["path"].iloc[0])
    (recordings / gone).rename(tmp_path / "away")
    assert gone not in parts(look(bench)[0])
    (tmp_path / "away").rename(recordings / gone)
    # Forgotten, it would be placed by what its class lacks now; the frozen part is asked of every account.
    frozen = data._frozen(bench, CONCERT, bench.records.noted("concert", "split").account["rule"])
    assert frozen is not None and set(first["group"]) <= set(frozen["group"])
    again, _ = look(bench)
    assert parts(again) == parts(first)


def test_a_leaking_split_names_what_can_be_done(tmp_path: Path, recordings: Path) -> None:
    bench = small_lab(tmp_path / "lab", recordings)
    split, _ = look(bench)
    music = split[split["label"] == "MUSIC"].set_index("part")
    heard, group = Path(music.loc[["test"], "path"].iloc[0]), music.loc[["train"], "group"].iloc[0]
    shutil.copy(recordings / heard, recordings / "MUSIC" / f"{Path(group).name}{heard.suffix}")
    _, leaks = look(bench)
    assert len(leaks)
    with pytest.raises(NotReady, match=r"Remove the copy, or divide anew with another `split: \{seed: …\}` in .*yaml"):
        bench.data(CONCERT)


@pytest.mark.parametrize("name", ["a..b", "a...b", "nul", "con.1", "dot."])
def test_a_name_that_storage_refuses_costs_itself_alone(tmp_path: Path, corpus: Path, name: str) -> None:
    bench = small_lab(tmp_path / "lab", corpus)
    folder = bench.lab.experiments("concert")
    write_yaml(folder / f"{name}.yaml", {"seed": 7})
    write_yaml(folder / "own.yaml", {"seed": 8})
    trials = bench.trials(CONCERT)
    assert "own" in {trial.name for trial in trials.trials} and name not in {trial.name for trial in trials.trials}
    assert any(f"{name}.yaml" in said for said in trials.problems)
    build_definitions(bench).resolve_asset_graph()


def test_of_two_names_that_differ_in_case_one_is_left_out(tmp_path: Path, corpus: Path) -> None:
    bench = small_lab(tmp_path / "lab", corpus)
    folder = bench.lab.experiments("concert")
    for name in ("Twin", "twin", "BALANCE_0.50"):
        write_yaml(folder / f"{name}.yaml", {"seed": 7})
    trials = bench.trials(CONCERT)
    names = [trial.name for trial in trials.trials]
    assert "balance_0.50" in names and "BALANCE_0.50" not in names, "the one that comes with the study stays"
    assert len({"Twin", "twin"} & set(names)) == 1 or len(list(folder.iterdir())) == 2
    assert any("BALANCE_0.50.yaml: its name differs in case only from" in said for said in trials.problems)


def test_a_key_that_is_no_study_is_refused(tmp_path: Path, corpus: Path) -> None:
    bench = small_lab(tmp_path / "lab", corpus)
    write_yaml(bench.lab.studies_file, {"Concert": TINY})
    with pytest.raises(ConfigError, match=r"studies\.yaml: unknown key `Concert`; the studies are: .*concert"):
        bench.settings(CONCERT)
    write_yaml(bench.lab.sources_file, {"concert": str(corpus), "machine": "cpu"})
    with pytest.raises(ConfigError, match=r"sources\.yaml: unknown key `machine`"):
        bench.source(CONCERT, {})


def test_a_gpu_that_came_is_found_and_the_precision_stays(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = small_lab(tmp_path / "lab", corpus)
    write_yaml(bench.lab.machine_file, {"threads": 1})
    resolved = bench.lab.root / "machine-resolved.json"
    monkeypatch.setattr(resources, "_gpus", lambda: ["nvidia0", "all"])
    bench.machine()
    # As it was written while there was a card that is gone now.
    known = durable.read_sealed(resolved)
    known["machine"] |= {"device": "cuda:7", "precision": "bf16"}
    durable.write_sealed(resolved, known)
    assert bench.machine().device == "cuda:7"
    monkeypatch.setattr(resources, "_gpus", lambda: ["all"])
    assert bench.machine().device != "cuda:7" and bench.machine().precision == "bf16"
    monkeypatch.setattr(resources, "version", lambda name: "another")
    before = durable.read_sealed(resolved)["for"]
    bench.machine()
    assert durable.read_sealed(resolved)["for"] != before
