"""The whole graph against a small text that can be read in a review, and what loading it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

from ml.studies.registry import ALL_STUDIES
from orchestration.definitions import build_definitions
from orchestration.resources import Bench
from storage.lab import Lab
from tests.small_lab import ROOT

SNAPSHOT = Path(__file__).with_name("graph.txt")


def picture(defs: dg.Definitions) -> str:
    """One line per asset: key, partitions, pool, retries, what it stands on; then checks, sensors and schedules."""
    graph = defs.resolve_asset_graph()
    lines = []
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        traits = []
        if node.partitions_def:
            traits.append(f"{len(node.partitions_def.get_partition_keys())} trials")
        if node.backfill_policy and node.backfill_policy.max_partitions_per_run:
            traits.append(f"{node.backfill_policy.max_partitions_per_run} per run")
        if node.pools:
            traits.append(f"pool {', '.join(sorted(node.pools))}")
        if node.automation_condition:
            traits.append("follows by itself")
        below = ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys))
        lines.append(
            f"{key.to_user_string()}{' [' + '; '.join(traits) + ']' if traits else ''} <- {below or 'nothing'}"
        )
    for check in sorted(graph.asset_check_keys, key=str):
        blocking = " (blocking)" if graph.get(check).blocking else ""
        lines.append(f"check {check.name} of {check.asset_key.to_user_string()}{blocking}")
    lines += [f"sensor {sensor.name}" for sensor in defs.sensors or []]
    lines += [f"schedule {schedule.name}: {schedule.cron_schedule}" for schedule in defs.schedules or []]
    return "\n".join(lines) + "\n"


def test_the_graph_is_the_one_in_the_snapshot(tmp_path):
    drawn = picture(build_definitions(Bench(Lab.open(tmp_path / "lab"))))
    assert drawn == SNAPSHOT.read_text(encoding="utf-8"), f"if this is meant, write it to {SNAPSHOT.name}:\n{drawn}"


def test_every_asset_is_described_for_a_person(tmp_path):
    graph = build_definitions(Bench(Lab.open(tmp_path / "lab"))).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description and node.description[-1] in ".?", key
        assert node.group_name != "default", key
        assert node.owners and node.kinds, key
    assert {node.group_name for node in graph.asset_nodes} == {study.name for study in ALL_STUDIES} | {"results"}


def test_loading_the_definitions_imports_nothing_heavy(tmp_path):
    probe = (
        "import sys, orchestration.definitions; "
        "print(sorted({'torch', 'torchaudio', 'transformers', 'librosa', 'scipy', 'sklearn', 'matplotlib', "
        "'soundfile', 'soxr'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", probe],
        env={**os.environ, "NOCTURNE_LAB": str(tmp_path / "lab"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "[]"


def test_dagster_validates_the_workspace(tmp_path):
    said = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT,
        env={**os.environ, "NOCTURNE_LAB": str(tmp_path / "lab"), "DAGSTER_HOME": ""},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "All code locations passed validation" in said.stdout + said.stderr


def test_neither_orchestration_nor_storage_knows_a_study():
    """A further study touches no file of these rooms."""
    for room in ("orchestration", "storage"):
        for path in sorted((ROOT / room).rglob("*.*")):
            if path.suffix in (".py", ".sql", ".yaml"):
                text = path.read_text(encoding="utf-8").lower()
                named = [
                    name for name in ("concert", "emotion", "denoise", "drums", "tuning'", "applause") if name in text
                ]
                assert not named, f"{path.relative_to(ROOT)} names {named}"


def test_a_bad_yaml_costs_itself_alone(tmp_path):
    lab = Lab.open(tmp_path / "lab")
    study = ALL_STUDIES[0]
    folder = lab.experiments(study.name)
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("seed: [", encoding="utf-8")
    (folder / "typo.yaml").write_text("sede: 1", encoding="utf-8")
    (folder / "own.yaml").write_text("seed: 7", encoding="utf-8")
    graph = build_definitions(Bench(lab)).resolve_asset_graph()
    trials = graph.get(dg.AssetKey([study.name, "trained_model"])).partitions_def.get_partition_keys()
    assert "own" in trials
    assert not {"broken", "typo"} & set(trials)
    problems = Bench(lab).trials(study).problems
    assert any("broken.yaml" in said for said in problems)
    assert any("typo.yaml" in said and "`sede`" in said and "seed" in said for said in problems)
