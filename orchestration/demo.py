"""`nocturne demo`: a lab like any other, only that its files are made up and its settings small."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ml.config import read_yaml
from ml.studies.registry import ALL_STUDIES
from orchestration.asking import elapsed
from orchestration.resources import Bench
from orchestration.running import INTERRUPTED, Asked, run_study
from storage.durable import write_beside
from storage.lab import Lab

MACHINE = {"precision": "fp32"}
"""Networks as small as the demo's gain nothing from bf16, and so the numbers are alike on more machines."""


def run_demo(folder: Path) -> int:
    """Make the lab where it is missing, run every study in it, print what a person reads in the morning."""
    since = time.monotonic()
    bench = Bench(Lab.open(folder))
    prepare(bench)
    worst = 0
    for study in ALL_STUDIES:
        code = run_study(bench, study, Asked(mode=study.demo_mode, yes=True))
        worst = max(worst, code)
        if code == INTERRUPTED:
            break
        if code == 0:
            from orchestration.answers import standing
            from orchestration.models import find_model

            print(f"\n{study.summary(standing(bench, study))}\n")
            tried = study.after_demo(bench.lab.root / "tried" / study.name, partial(find_model, bench, study))
            if tried:
                print(f"{tried}\n")
    if worst == INTERRUPTED:
        return worst
    lab = bench.lab.root
    print(f"database: {bench.lab.results}")
    print(f"models:   {bench.lab.artifacts / 'models'}  (as plain files: nocturne export STUDY DIR)")
    print(f"UI:       NOCTURNE_LAB={_quoted(lab)} ./nocturne up, then http://127.0.0.1:3000")
    print(f"{elapsed(since)}; again takes seconds, and deleting {lab} removes everything")
    return worst


def prepare(bench: Bench) -> None:
    """Corpora, `sources.yaml` and `studies.yaml`; what is there already is left as it is."""
    sources: dict[str, str] = {}
    settings: dict[str, Any] = {}
    for study in ALL_STUDIES:
        corpus = bench.lab.root / "corpus" / study.name
        if not corpus.is_dir():
            print(f"making up a corpus in {corpus}")
        settings[study.name] = _corpus(study, corpus)
        sources[study.name] = str(Path("corpus") / study.name)
    _add_what_is_missing(bench.lab.sources_file, sources)
    _add_what_is_missing(bench.lab.studies_file, settings)
    if not bench.lab.machine_file.exists():
        _add_what_is_missing(bench.lab.machine_file, MACHINE)


def _add_what_is_missing(path: Path, said: dict[str, Any]) -> None:
    """A lab made before there was a further study gets that study's lines; what it says already stays as it is."""
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    known = read_yaml(path) if there else {}
    missing = {name: value for name, value in said.items() if name not in known}
    if not missing:
        return
    text = (there if there.endswith("\n") or not there else f"{there}\n") + yaml.safe_dump(missing, sort_keys=False)

    def write(beside: Path) -> None:
        beside.write_bytes(text.encode())

    write_beside(path, write)


def _corpus(study: Any, corpus: Path) -> dict[str, Any]:
    """Filled beside and renamed: a corpus is there whole or not at all."""
    if corpus.is_dir():
        return dict(study.demo_settings())
    beside = corpus.with_name(f".{corpus.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    study.write_demo(beside)
    beside.rename(corpus)
    return dict(study.demo_settings())


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
