"""A model of one-shots against rules of thumb, on sample packs that it never heard: python -m tests.benchmarks.packs

Without `--source` the packs are made up, each on a kit of its own; with it they are PACK/COMPONENT/file of a folder.
Every pack is held out once: a small network learns from the others (one of them chooses the epoch), names its hits, and
is held against rules of thumb that hear the same. Prints a table and ends with exit code 1 where the rules are better.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ml.studies.drums.demo import write_pack
from ml.studies.drums.study import DRUMS
from orchestration import data, trials
from orchestration.resources import Bench
from storage.lab import Lab
from storage.query import query
from tests.small_lab import write_yaml

TRIAL = "augmented"
PACKS = 6
SMALL = {
    "model": {"channels": [16, 32, 64, 96]},
    "training": {"batch_size": 16, "lr": 2e-3, "scheduler_patience": 2, "early_stop": 8},
    "picture": {"mels": 48, "columns": 32},
}


def packs_of(source: Path | None, folder: Path) -> list[Path]:
    """The packs of `source`, else made-up ones, written into `folder`."""
    if source is not None:
        return sorted(path for path in source.iterdir() if path.is_dir())
    for number in range(PACKS):
        write_pack(folder / f"pack {number}", (7, number), {}, strokes=8)
    return sorted(folder.iterdir())


def held_out(packs: Sequence[Path], number: int, place: Path, epochs: int) -> tuple[float, float, float, float]:
    """Accuracy and macro F1 of the model, then of the rules, on the pack `number`."""
    chooses = (number + 1) % len(packs)
    for own, pack in enumerate(packs):
        part = "test" if own == number else "val" if own == chooses else "train"
        shutil.copytree(pack, place / "source" / part / pack.name)
    bench = Bench(Lab.open(place / "lab"))
    write_yaml(bench.lab.sources_file, {"drums": str(place / "source")})
    trial = SMALL | {"training": {**SMALL["training"], "epochs": epochs}}
    write_yaml(bench.lab.studies_file, {"drums": {"trial": trial}})
    write_yaml(bench.lab.machine_file, {"device": "cpu", "precision": "fp32"})
    data.take_inventory(bench, DRUMS, lambda share, words: None)
    data.divide(bench, DRUMS)
    data.build_features(bench, DRUMS, lambda share, words: None)
    trials.run_trial(bench, DRUMS, TRIAL, run_id="packs", forced_by=None, say=lambda sentence: None)
    rows = query(
        bench.lab, "select metric, value from metrics where part = 'test' and level = 'window' and class is null"
    )
    said = dict(zip(rows["metric"], rows["value"], strict=True))
    return said["accuracy"], said["macro_f1"], said["accuracy_heuristics"], said["macro_f1_heuristics"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where the rules are better over all packs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="a folder of packs: PACK/COMPONENT/file")
    parser.add_argument("--epochs", type=int, default=40)
    said = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        packs = packs_of(said.source, Path(place) / "made up")
        print(f"{'held out':<24}{'accuracy':>10}{'macro F1':>10}{'rules: accuracy':>18}{'macro F1':>10}")
        found = []
        for number, pack in enumerate(packs):
            found.append(held_out(packs, number, Path(place) / str(number), said.epochs))
            _print(pack.name, found[-1])
        means = np.mean(found, axis=0)
        _print("mean", tuple(means))
    return 0 if means[1] > means[3] else 1


def _print(name: str, figures: Sequence[float]) -> None:
    first, second, third, fourth = (100 * figure for figure in figures)
    print(f"{name:<24}{first:>9.1f}%{second:>9.1f}%{third:>17.1f}%{fourth:>9.1f}%", flush=True)


if __name__ == "__main__":
    sys.exit(main())
