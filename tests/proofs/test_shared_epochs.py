"""Trials that share epochs come to exactly what each of them comes to alone.

Forty trials drawn from a grid of 1,458 (`tests/denoise_grid.py`), the study's own lesson and recipe; "exactly" is every
rate, every loss, the last epoch, and every bit of the best weights. `NOCTURNE_TEST_TRIALS=400` draws more.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from ml.studies.denoise.config import DenoiseTrial
from ml.studies.study import Trial
from storage.artifacts import Shelf
from tests.benchmarks import stage_tree
from tests.denoise_grid import Told, digest, lesson_of, run, told
from tests.ml.training.shelf import FolderShelf
from tests.proofs import sharing
from tests.proofs.sharing import GRID, HEARD, answers, trained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SEED = int(os.environ.get("NOCTURNE_TEST_SEED", "20261121"))
TRIALS = int(os.environ.get("NOCTURNE_TEST_TRIALS", "40"))
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
KILLS = 6 if FORKS else 2
"""Where every start imports torch anew, a kill costs ten seconds."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """Each trial with a memory of its own and no siblings."""
    torch.set_num_threads(1)
    names = random.Random(SEED).sample(sorted(GRID), TRIALS)
    root = tmp_path_factory.mktemp("alone")
    return {name: told(GRID[name], run(GRID[name], [], FolderShelf(root / name), HEARD)) for name in names}


def rates(said: Told) -> int:
    """How many different ones a trial had."""
    return len({rate for rate, _, _ in said.epochs})


def by_hand(trial: Trial) -> Told:
    """The loop of the guide, with torch's own optimizer, scheduler and clipping."""
    config: DenoiseTrial = trial.config  # type: ignore[assignment]
    said, lesson = config.training, lesson_of(config, HEARD)
    mixtures = lesson._mixtures
    model = lesson.model().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if said.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), lr=said.lr, fused=True)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=said.lr, weight_decay=0.01, fused=True)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min", factor=said.scheduler_factor, patience=said.scheduler_patience, min_lr=1e-7
    )
    epochs, best, best_epoch, weights, waited = [], float("inf"), 0, "", 0
    for epoch in range(1, said.epochs + 1):
        rate, total = optimizer.param_groups[0]["lr"], 0.0
        order = mixtures.order(epoch)
        model.train()
        for start in range(0, len(order), said.batch_size):
            noisy, clean = mixtures.batch(order[start : start + said.batch_size])
            loss = (model(noisy) - clean).square().mean(dim=1).sum()
            optimizer.zero_grad()
            (loss / len(noisy)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            noisy, clean = mixtures.fixed(torch.arange(mixtures.validation).numpy())
            validation = (model(noisy) - clean).square().mean(dim=1).double().sum().item() / mixtures.validation
        epochs.append((rate, total / len(order), validation))
        scheduler.step(validation)
        if validation < best:
            best, best_epoch, weights, waited = validation, epoch, digest(model), 0
        else:
            waited += 1
            if waited >= said.early_stop:
                break
    return Told(tuple(epochs), best_epoch, weights)


def test_alone_they_are_what_a_loop_written_by_hand_comes_to(alone: dict[str, Told]) -> None:
    chosen = sorted(alone, key=lambda name: rates(alone[name]))[:: -max(1, len(alone) // 10)]
    assert {GRID[name].config.training.optimizer for name in chosen} == {"adam", "adamw"}  # type: ignore[attr-defined]
    assert rates(alone[chosen[0]]) > 2, "a rate falls twice"
    for name in chosen:
        assert alone[name] == by_hand(GRID[name]), name


def test_the_forty_differ(alone: dict[str, Told]) -> None:
    """Else that they are equal to something would show nothing."""
    assert len({said.weights for said in alone.values()}) > TRIALS // 5
    assert len({len(said.epochs) for said in alone.values()}) > 3
    stopped = sum(len(said.epochs) < GRID[name].config.training.epochs for name, said in alone.items())  # type: ignore[attr-defined]
    assert 0 < stopped < TRIALS
    assert sum(rates(said) > 1 for said in alone.values()) > TRIALS // 5


@pytest.mark.parametrize("order", ["drawn", "shortest first", "longest first"])
def test_in_any_order_the_shared_equal_the_independent(tmp_path: Path, alone: dict[str, Told], order: str) -> None:
    names = list(alone)
    if order != "drawn":
        names.sort(key=lambda name: (len(alone[name].epochs), name), reverse=order == "longest first")
    sharing.answer(tmp_path, names)
    assert answers(tmp_path) == alone
    epochs = trained(tmp_path)
    assert len(epochs) == len(set(epochs)), "an epoch was trained twice"
    separate = sum(len(said.epochs) for said in alone.values())
    print(f"{order}: {len(epochs)} epochs trained, {separate} alone")
    assert len(epochs) < separate


def start(work: Callable[..., None], *arguments: object) -> BaseProcess:
    processes = multiprocessing.get_context("forkserver" if FORKS else "spawn")
    if FORKS:
        processes.set_forkserver_preload(["tests.proofs.sharing"])
    process = processes.Process(target=work, args=arguments)
    process.start()
    return process


def test_killed_at_random_moments_they_are_the_same(tmp_path: Path, alone: dict[str, Told]) -> None:
    print(f"seed={SEED}")
    rng, kills = random.Random(SEED), 0
    while kills < KILLS:
        before = len(trained(tmp_path))
        process = start(sharing.answer, tmp_path, list(alone))
        while len(trained(tmp_path)) == before and process.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        kills += 1
    assert kills >= KILLS // 2, "too few kills to show anything"
    last = start(sharing.answer, tmp_path, list(alone))
    last.join()
    assert last.exitcode == 0 and answers(tmp_path) == alone
    assert max(Counter(key for _, key in trained(tmp_path)).values()) == 1, "an epoch that was told was trained again"


def test_two_processes_at_once_train_no_epoch_twice_and_come_to_the_same(
    tmp_path: Path, alone: dict[str, Told]
) -> None:
    names = list(alone)
    others = names[len(names) // 3 :] + names[: len(names) // 3]
    both = start(sharing.answer, tmp_path, names), start(sharing.answer, tmp_path, others)
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert answers(tmp_path) == alone
    epochs = trained(tmp_path)
    assert max(Counter(key for _, key in epochs).values()) == 1
    assert len(Counter(process for process, _ in epochs)) == 2, "both trained some"


@dataclass(frozen=True)
class Fork:
    """Two trials whose rates fall differently after some epochs, and what each comes to alone."""

    one: Trial
    other: Trial
    alone: Told
    """Of the other."""
    last_shared: int


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Fork:
    root = tmp_path_factory.mktemp("fork")
    for beginning in ("8_0.1_adam", "8_0.4_adam", "12_0.1_adam", "8_0.1_adamw", "12_0.4_adamw"):
        pair = GRID[f"{beginning}_0_0.5_12_5"], GRID[f"{beginning}_2_0.5_12_5"]
        one, other = (run(trial, [], FolderShelf(root / trial.name), HEARD) for trial in pair)
        shared = sum(a.key == b.key for a, b in zip(one.history, other.history, strict=False))
        if 0 < shared < min(len(one.history), len(other.history)) - 1:
            return Fork(*pair, told(pair[1], other), shared)
    raise AssertionError("none of these pairs parts on its way")


@pytest.mark.parametrize("file", ["weights", "optimizer"])
@pytest.mark.parametrize("damage", ["cut short", "a bit flipped", "gone"])
def test_a_damaged_fork_is_never_loaded_but_made_again(tmp_path: Path, fork: Fork, file: str, damage: str) -> None:
    family = [fork.one, fork.other]
    first = run(fork.one, family, Shelf(tmp_path, "states"), HEARD)
    key = first.history[fork.last_shared - 1].key
    place = tmp_path / "states" / key / "files" / f"{file}.safetensors"
    content = bytearray(place.read_bytes())
    if damage == "gone":
        place.unlink()
    else:
        content[-100] ^= 1
        place.write_bytes(content[:-100] if damage == "cut short" else content)

    second = run(fork.other, family, Shelf(tmp_path, "states"), HEARD)
    assert told(fork.other, second) == fork.alone
    assert (tmp_path / "states" / f".damaged-{key}").is_dir()
    assert second.epochs_trained > len(second.history) - fork.last_shared, "the fork was trained again"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_where_no_state_can_be_written_it_says_so_and_nothing_is_lost(tmp_path: Path, fork: Fork) -> None:
    family, states = [fork.one, fork.other], Shelf(tmp_path, "states")
    first = run(fork.one, family, states, HEARD)
    kept = states.keys()

    process = start(sharing.answer_without_room, tmp_path, fork.other.name, fork.one.name)
    process.join()
    said = (tmp_path / "said").read_text()
    assert "no room to write" in said and "goes on where it stopped" in said, said
    assert states.keys() == kept and all(states.note(note.key) for note in first.history)

    second = run(fork.other, family, states, HEARD)
    assert told(fork.other, second) == fork.alone
    assert second.epochs_trained == len(second.history) - fork.last_shared


def test_the_benchmark_counts_what_is_shared_and_finds_no_difference() -> None:
    made, alone = stage_tree.measure("quick", steady=True, sample=1, families=1)
    assert (made.epochs_trained, made.epochs_alone, len(made.results)) == (50, 80, 2), "epochs 30 and 50, none stops"
    assert (alone.trials, alone.different) == (1, 0) and alone.epochs in (30, 50)
    assert 1 <= made.left_states <= 2 and 0 < made.peak_states < 5, "the last and the best of the one chain stay"
    assert made.seconds_alone > made.seconds_trained > 0
