from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from storage import durable
from storage.lab import MARKER, Lab, NotALab, lab_from
from storage.names import BadName, check_name

HOSTILE = ["../up", "/etc/passwd", "a\x00b", "a'b", 'a"b', "\u202egnp.exe", "a/b", "a\\b", "", ".", "..", ".hidden",
           "x..y", "a b", "ż", "-x", "NUL", "con.txt", "name.", "x" * 122, "a\n", "C:evil", "a;b"]  # fmt: skip


def test_a_new_lab_has_its_places_and_says_what_they_are(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "new" / "lab")
    for folder in (lab.dagster_home, lab.artifacts, lab.records, lab.reports, lab.locks):
        assert folder.is_dir()
        if sys.platform != "win32":
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "records/" in (lab.root / "README.txt").read_text()
    assert Lab.open(lab.root) == lab
    assert lab.experiments("any").parent == lab.root / "experiments"


def test_the_environment_names_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lab_from({"NOCTURNE_LAB": str(tmp_path / "there")}).root == tmp_path / "there"
    assert lab_from({}).root == tmp_path / "lab"


def test_what_a_person_writes_first_is_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text("concert: /music\n")
    (tmp_path / "experiments").mkdir()
    assert Lab.open(tmp_path).sources_file.read_text() == "concert: /music\n"


def test_a_folder_with_other_things_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(NotALab, match=r"not empty and is no lab \(it holds thesis.doc\)") as refused:
        Lab.open(tmp_path)
    assert "a new folder with NOCTURNE_LAB, or move the rest out" in str(refused.value)
    assert "nights.yaml, sources.yaml, studies.yaml; recordings stay where they are" in str(refused.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.doc"]
    with pytest.raises(NotALab, match="a file lies where"):
        Lab.open(tmp_path / "thesis.doc")


def test_what_a_killed_opening_leaves_does_not_bar_the_next(tmp_path: Path) -> None:
    (tmp_path / f"{durable.TEMPORARY}999999999-ab.tmp").write_text("half")
    (tmp_path / ".DS_Store").write_text("")
    lab = Lab.open(tmp_path)
    assert not list(lab.root.glob(f"{durable.TEMPORARY}*"))


def test_a_lab_of_a_newer_program_or_a_damaged_marker_is_refused(tmp_path: Path) -> None:
    lab = Lab.open(tmp_path / "lab")
    durable.write_sealed(lab.root / MARKER, {"format": 99})
    with pytest.raises(NotALab, match="format 99"):
        Lab.open(lab.root)
    marker = json.loads((lab.root / MARKER).read_text())
    (lab.root / MARKER).write_text(json.dumps(marker | {"body": {"format": 1}}))
    with pytest.raises(NotALab, match="damaged"):
        Lab.open(lab.root)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadName):
        check_name(name, "study")
    with pytest.raises(BadName):
        Lab(tmp_path).experiments(name)


def test_names_that_say_every_parameter_are_fit() -> None:
    for name in ("balance_0.50", "unet_bs=16_lr=1e-04+adam", "a"):
        assert check_name(name, "trial") == name
