"""The emotion study against its document: the twelve experiments, the document's own file, what a step really does."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from ml.config import ConfigError
from ml.data.windows import class_weights
from ml.studies.emotion.config import ALIASES, CLASSES, EmotionSettings, EmotionTrial
from ml.studies.emotion.estimate import estimate
from ml.studies.emotion.study import EMOTION
from ml.studies.emotion.trial import EmotionLesson, _without_a_lone_last
from ml.studies.experiments import load_trials, read_settings
from ml.studies.study import Trial, TrialJob
from ml.training.machine import Machine
from orchestration import data, trials
from orchestration.resources import Bench
from storage.query import query
from tests.small_lab import small_lab

MACHINE = Machine(device="cpu", precision="fp32", threads=1, name="any", bf16=False)

CHANGES: dict[str, dict[str, Any]] = {
    "baseline": {},
    "lr_low": {"training.lr": 1e-4},
    "lr_high": {"training.lr": 1e-3},
    "epochs_10": {"training.epochs": 10},
    "epochs_50": {"training.epochs": 50, "training.patience": 10},
    "batch_64": {"training.batch_size": 64},
    "batch_256": {"training.batch_size": 256},
    "loss_focal": {"loss.type": "focal"},
    "aug_none": {"augmentation.mixup_alpha": 0.0},
    "aug_heavy": {"augmentation.mixup_alpha": 0.4, "augmentation.random_erasing": 0.3},
    "balance_no_weights": {"loss.use_class_weights": False},
    "balance_weighted_sampler": {"data.weighted_sampler": True},
}
"""As the document lists them; where it names a value that the baseline has already, nothing changes."""

DOCUMENT = """
name: my_experiment
description: Testing something new

model:
  arch: resnet18
  dropout: 0.3
  pretrained: true

training:
  epochs: 30
  batch_size: 128
  eval_batch_size: 256
  lr: 0.0003
  weight_decay: 0.05
  optimizer: adamw
  freeze_epochs: 0
  onecycle_pct_start: 0.3

loss:
  type: ce  # or 'focal'
  label_smoothing: 0.1
  focal_gamma: 2.0
  use_class_weights: true

augmentation:
  mixup_alpha: 0.2
  random_erasing: 0.0

data:
  img_size: 224
  weighted_sampler: false

other:
  patience: 7
  seed: 42
  workers: 8
"""


def test_the_twelve_experiments_say_what_differs_in_the_order_of_the_phases() -> None:
    found = load_trials(EMOTION, EmotionSettings(), [EMOTION.experiments])
    assert found.problems == ()
    assert [trial.name for trial in found.trials] == [name for phase in EMOTION.phases for name in phase]
    said = {t.name: {key: after for key, (_, after) in t.changes.items()} for t in found.trials}
    assert said == CHANGES


def test_the_documents_own_file_is_an_experiment_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "anything.yaml").write_text(DOCUMENT, encoding="utf-8")
    found = load_trials(EMOTION, EmotionSettings(), [EMOTION.experiments, tmp_path])
    assert found.problems == ()
    own = found.trials[-1]
    assert (own.name, own.config.purpose, own.changes) == ("my_experiment", "Testing something new", {})
    assert own.config.identity() == EmotionTrial().identity(), "the document's values are the baseline's"
    assert any("workers" in note for note in found.notes)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("training: {epochs: 0}", "`training.epochs` is 0: expected at least 1"),
        ("training: {lr: fast}", "`training.lr` is 'fast'"),
        ("training: {lrate: 0.1}", "unknown key `training.lrate`; allowed here: batch_size, epochs"),
        ("loss: {type: hinge}", "`loss.type` is 'hinge'"),
        ("data: {img_size: 96}", "share it (224)"),
    ],
)
def test_a_wrong_file_is_named_with_key_value_and_what_is_allowed(tmp_path: Path, said: str, sentence: str) -> None:
    (tmp_path / "wrong.yaml").write_text(said, encoding="utf-8")
    found = load_trials(EMOTION, EmotionSettings(), [tmp_path])
    assert found.trials == () and len(found.problems) == 1
    assert "wrong.yaml" in found.problems[0] and sentence in found.problems[0]


def test_what_a_lab_says_of_the_inventory_is_laid_over_the_studys_own(tmp_path: Path) -> None:
    (tmp_path / "studies.yaml").write_text("emotion: {inventory: {group_pattern: '(?P<group>p[0-9]+)_'}}\n")
    settings = read_settings(EMOTION, tmp_path / "studies.yaml")
    assert settings.inventory.classes == CLASSES and settings.inventory.aliases == ALIASES
    assert settings.inventory.group_pattern == "(?P<group>p[0-9]+)_"
    (tmp_path / "studies.yaml").write_text("emotion: {inventory: {clases: [a]}}\n")
    with pytest.raises(ConfigError, match="clases"):
        read_settings(EMOTION, tmp_path / "studies.yaml")


def trial(**said: Any) -> Trial:
    return Trial("any", EmotionTrial.model_validate_json(json.dumps(said)), {}, "")


def test_remarks_name_what_cannot_be_concluded() -> None:
    found = load_trials(EMOTION, EmotionSettings(), [EMOTION.experiments])
    assert EMOTION.remarks(found.named("baseline")) == []
    (two,) = EMOTION.remarks(found.named("epochs_50"))
    assert two.startswith("changes 2 settings at once (training.epochs, training.patience)")
    (twice,) = EMOTION.remarks(found.named("balance_weighted_sampler"))
    assert twice.startswith("corrects imbalance twice")
    (late,) = EMOTION.remarks(trial(training={"epochs": 5, "patience": 5}))
    assert "patience of 5 is not less than its 5 epochs" in late
    assert EMOTION.remarks(trial(training={"epochs": 8, "patience": 7})) == []


def test_a_model_says_its_experiment_and_when_it_was_made() -> None:
    named = Trial("lr_low", EmotionTrial(), {}, "")
    assert EMOTION.model_name(named, dt.datetime(2025, 10, 6, 17, 5, 30)) == "resnet18_lr_low_20251006_170530"


def picture_corpus(folder: Path, layout: dict[str, int], seed: int = 0) -> Path:
    """`FOLDER/NN.png`: so many noisy pictures in each folder, a bright bar where the class says."""
    from PIL import Image

    random = np.random.default_rng(seed)
    for place, count in layout.items():
        (folder / place).mkdir(parents=True)
        row = 4 * (sum(map(ord, place.rpartition("/")[2].lower()[:2])) % 7)
        for number in range(count):
            pixels = random.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[row : row + 4] += 120
            Image.fromarray(pixels).save(folder / place / f"{number:02d}.png")
    return folder


def prepared(bench: Bench) -> Bench:
    data.take_inventory(bench, EMOTION, lambda share, words: None)
    data.divide(bench, EMOTION)
    data.build_features(bench, EMOTION, lambda share, words: None)
    return bench


def answered(bench: Bench, name: str) -> trials.Answer:
    return trials.run_trial(bench, EMOTION, name, run_id="by hand", forced_by=None, say=lambda said: None)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Two classes, one four times the other, named as people name them."""
    place = tmp_path_factory.mktemp("pictures")
    corpus = picture_corpus(place / "corpus", {"Happy": 40, "DISGUST": 10})
    return prepared(small_lab(place / "lab", corpus, "emotion"))


def lesson(bench: Bench, **said: Any) -> EmotionLesson:
    from ml.features.pictures import open_pictures
    from ml.studies.emotion.features import windows_of

    settings = bench.settings(EMOTION)
    body = bench.data(EMOTION)
    folder = bench.shelf("features").find(body.features_key)
    assert folder is not None
    config = EmotionTrial.model_validate(settings.trial.model_dump() | said)
    job: Any = TrialJob(
        trial=Trial("any", config, {}, ""),
        settings=settings,
        split=body.split,
        features=folder,
        states=None,  # type: ignore[arg-type]
        evaluations=None,  # type: ignore[arg-type]
        machine=MACHINE,
        origin="",
        report=lambda note: None,
    )
    classes = EMOTION.classes(settings, body.split)
    assert classes == ["disgusted", "happy"]
    store = open_pictures(folder)
    return EmotionLesson(job, config, classes, store, windows_of(store, body.split, classes))


def test_an_epoch_is_every_picture_once_or_every_class_equally_often(lab: Bench) -> None:
    plain, balanced = lesson(lab), lesson(lab, data={"img_size": 32, "weighted_sampler": True})
    own = np.flatnonzero(plain.windows.part == 0)
    orders = [plain.order(epoch) for epoch in (1, 2)]
    assert all(sorted(order) == list(own) for order in orders) and (orders[0] != orders[1]).any()
    assert (lesson(lab).order(1) == orders[0]).all(), "the same epoch is drawn alike again"
    drawn = np.concatenate([balanced.order(epoch) for epoch in range(1, 41)])
    share = (balanced.windows.label[drawn] == 0).mean()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / len(drawn) ** 0.5)


def test_no_epoch_ends_with_a_batch_of_one() -> None:
    assert [_without_a_lone_last(items, 16) for items in (1, 16, 17, 18, 33)] == [1, 16, 16, 18, 32]


def test_the_loss_of_a_batch_is_the_one_written_out(lab: Bench) -> None:
    """Weighted, smoothed cross-entropy of mixed pictures, computed again picture by picture."""
    taught = lesson(lab)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))

    class Answer(nn.Module):
        def forward(self, batch: torch.Tensor) -> Any:
            return type("Answer", (), {"logits": model(batch)})

    indices = taught.order(1)[:12]
    total, counts = taught.loss(Answer(), indices, torch.Generator().manual_seed(7))

    from ml.training.augmentation import mixup

    labels = torch.from_numpy(taught.windows.label[indices])
    mixed, partner, share = mixup(taught._batch(indices), torch.Generator().manual_seed(7), 0.2)
    logits = model(mixed).detach()
    train = taught.windows.label[taught.windows.part == 0]
    weights = len(train) / (2 * np.bincount(train))
    expected = 0.0
    for row, chances in enumerate(logits.log_softmax(dim=1).double().numpy()):
        for label, part in ((labels[row], float(share)), (labels[partner[row]], 1 - float(share))):
            # Smoothing 0.1 over two classes: 0.95 for the label and 0.05 for the other, each with its class's weight.
            target = np.full(2, 0.05)
            target[label] += 0.9
            expected -= part * float((weights * target * chances).sum())
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert 0 <= float(counts["accuracy"]) <= len(indices)
    assert weights == pytest.approx(class_weights(np.bincount(train), 1.0))


def test_what_an_epoch_says_holds_the_whole_cycle_and_what_is_frozen(lab: Bench) -> None:
    taught = lesson(lab, training={"epochs": 4, "batch_size": 8, "freeze_epochs": 1, "lr": 0.01})
    steps = -(-int((taught.windows.part == 0).sum()) // 8)
    first, second = taught.settings(1, ()), taught.settings(2, ())
    assert first["lr"] == {"onecycle": {"max": 0.01, "pct_start": 0.3, "total_steps": 4 * steps, "first_step": 0}}
    assert second["lr"]["onecycle"]["first_step"] == steps
    assert first["frozen"] and "frozen" not in second and first["batch"] == 8


def test_trained_whole_and_found_again(lab: Bench) -> None:
    account = answered(lab, "baseline").record.account
    assert account["status"] == "finished" and account["selection_metric"] == "validation_macro_f1"
    metrics = query(lab.lab, "select * from metrics where trial = 'baseline'")
    measured = metrics[(metrics["part"] == "train") & metrics["class"].isna()].set_index("metric")["value"]
    assert {"accuracy", "macro_f1", "loss"} <= set(measured.index)
    rates = query(lab.lab, "select value from epochs where metric = 'lr' order by epoch")["value"]
    assert len(rates) == 2 and rates.iloc[-1] == pytest.approx(1e-3 / 25 / 1e4)
    # Only ten epochs are planned: another cycle from its first step on, so nothing is shared.
    shorter = answered(lab, "epochs_10").record.account
    assert shorter["epochs_trained"] == shorter["epochs_done"] > 0


def test_interrupted_and_gone_on_with_gives_the_same_numbers(lab: Bench, tmp_path: Path) -> None:
    answered(lab, "aug_heavy")
    corpus = picture_corpus(tmp_path / "corpus", {"Happy": 40, "DISGUST": 10})
    other = prepared(small_lab(tmp_path / "lab", corpus, "emotion"))

    def interrupt(said: str) -> None:
        if ": epoch 1" in said:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trials.run_trial(other, EMOTION, "aug_heavy", run_id="first", forced_by=None, say=interrupt)
    resumed = answered(other, "aug_heavy").record
    assert resumed.account["epochs_trained"] == 1 and resumed.account["epochs_done"] == 2
    straight = lab.records.latest("emotion", "aug_heavy")
    assert straight is not None
    for table in ("metrics", "predictions"):
        pd.testing.assert_frame_equal(resumed.table(table), straight.table(table))


def test_settings_said_twice_are_trained_once(lab: Bench) -> None:
    answered(lab, "baseline")
    (lab.lab.root / "experiments" / "emotion").mkdir(parents=True, exist_ok=True)
    own = lab.lab.root / "experiments" / "emotion" / "again.yaml"
    own.write_text("purpose: The same under another name.\nloss: {focal_gamma: 1.5}\n")
    again = answered(lab, "again").record.account
    assert again["status"] == "finished" and again["epochs_trained"] == 0, "gamma means nothing to cross-entropy"


def test_given_parts_without_a_test_part_give_no_test_metrics(tmp_path: Path) -> None:
    layout = {"train/Happy": 8, "train/sad": 8, "Val/happy": 4, "Val/sadness": 4}
    bench = prepared(small_lab(tmp_path / "lab", picture_corpus(tmp_path / "corpus", layout), "emotion"))
    split = bench.data(EMOTION).split
    assert split.groupby("part").size().to_dict() == {"train": 16, "validation": 8}
    answered(bench, "baseline")
    for table in ("metrics", "confusion", "predictions"):
        assert "test" not in set(query(bench.lab, f"select part from {table}")["part"])
    (row,) = query(bench.lab, "select * from leaderboard").to_dict("records")
    assert pd.isna(row["test_accuracy"]) and pd.isna(row["test_macro_f1"]) and row["validation_macro_f1"] >= 0


def test_the_estimate_counts_pictures_epochs_and_states() -> None:
    files = pd.DataFrame(
        {"path": ["sad/1.png", "sad/2.wav", "sad/3.png"], "label": "sad", "state": ["ok", "warned", "rejected"]}
    ).assign(seconds=[0.0, 8.0, 0.0])
    found = estimate(trial(model={"pretrained": False}), files, EmotionSettings(), MACHINE, 0.5)
    # One picture and a clip of two; 30 epochs of 80 % trained and 10 % judged at a third of the cost.
    assert found.seconds == pytest.approx(30 * 3 * (0.8 + 0.1 / 3) * 0.5)
    assert found.disk_bytes == 4 * 11_180_103 * (1 + 2 * 3)
    rough = estimate(trial(model={"widths": [16, 16, 16, 16]}), files, EmotionSettings(), MACHINE, None)
    assert rough.seconds and "timed just now" in rough.basis


def test_focal_loss_reaches_the_lesson(lab: Bench) -> None:
    plain = {"label_smoothing": 0.0, "use_class_weights": False}
    still = {"mixup_alpha": 0.0, "random_erasing": 0.0}
    focal = lesson(lab, loss=plain | {"type": "focal", "focal_gamma": 3.0}, augmentation=still)

    class Even(nn.Module):
        def forward(self, batch: torch.Tensor) -> Any:
            return type("Answer", (), {"logits": torch.zeros(len(batch), 2)})

    total, _ = focal.loss(Even(), focal.order(1)[:5], torch.Generator())
    even = functional.cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
    assert float(total) == pytest.approx(5 * float(even) * 0.5**3)
