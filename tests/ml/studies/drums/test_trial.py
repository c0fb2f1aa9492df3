"""Drums trials computed on small songs: what an item is, what is shared, what is judged, what the model is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ml.data.components import COMPONENTS
from ml.features.waveforms import open_waveforms
from ml.models.drumcnn import FIRST_BLOCKS, build_drumcnn
from ml.models.saved import load_model, saved_extra
from ml.studies.drums.config import AugmentationConfig, DrumsSettings, DrumsTrial
from ml.studies.drums.estimate import estimate
from ml.studies.drums.lesson import Changes, DrumsLesson, last_before_rest
from ml.studies.drums.material import Hits, hits_of
from ml.studies.drums.moments import POOL, balanced, moments, nothing_hit
from ml.studies.drums.study import DRUMS
from ml.studies.drums.trial import MONITOR, kept_for, recipe_of, run_trial
from ml.studies.experiments import load_trials
from ml.studies.study import Outcome, Trial
from ml.training.engine import EpochNote
from ml.training.state import load_weights
from tests.benchmarks.drums import MOST, NARROW, ratio
from tests.ml.studies.drums.training import RATE, job, machine, trial

CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "lr_1e-4": {"training.lr": 1e-4},
    "batch_64": {"training.batch_size": 64},
    "dropout_0.5": {"model.dropout": 0.5},
    "augmented": {"augmentation.probability": 0.5},
    "frozen_finetune": {"training.frozen_from": 0.6},
    "softmax": {"training.loss": "cross_entropy"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab whose trials share their epochs."""
    return tmp_path_factory.mktemp("lab")


def tuned() -> Trial:
    """As the small trial, but for its last two epochs of five."""
    return trial(training={"frozen_from": 0.6})


@pytest.fixture(scope="module")
def outcome(place: Path) -> Outcome:
    return run_trial(job(place, trial(), siblings=[trial(), tuned()]))


def lesson(place: Path, of: Trial) -> DrumsLesson:
    said = job(place, of)
    store = open_waveforms(said.features)
    config: DrumsTrial = of.config  # type: ignore[assignment]
    return DrumsLesson(config, store, hits_of(store, said.split, config.picture), machine())


def losses(outcome: Outcome) -> list[float]:
    return [note.train["loss"] for note in outcome.trained.history]


def test_the_trials_say_what_differs_in_the_order_of_the_phases() -> None:
    found = load_trials(DRUMS, DrumsSettings(), [DRUMS.experiments])
    assert found.problems == ()
    assert [one.name for one in found.trials] == [name for phase in DRUMS.phases for name in phase]
    assert {one.name: {key: after for key, (_, after) in one.changes.items()} for one in found.trials} == CHANGES
    assert all(len(one.config.purpose) > 40 for one in found.trials)


def hits(starts: list[tuple[int, int, str]]) -> Hits:
    """Hits of a store: recording's first sample, sample, component."""
    label = np.array([COMPONENTS.index(name) for _, _, name in starts])
    first, start = (np.array([row[column] for row in starts]) for column in (0, 1))
    together = np.zeros((len(starts), 12), dtype=bool)
    for row in range(len(starts)):
        near = (first == first[row]) & (abs(start - start[row]) <= 20)
        together[row, label[near]] = True
    zeros = np.zeros(len(starts), dtype=np.int64)
    return Hits(start, first, start + 1, label, zeros.astype(np.int8), zeros, together, together, [], ["a"])


def test_hits_that_sound_at_once_are_one_item_that_names_them_all() -> None:
    found = hits(
        [(0, 500, "kick"), (0, 100, "crash"), (0, 110, "kick"), (0, 119, "kick"), (0, 121, "snare"), (900, 501, "ride")]
    )
    items, targets = moments(found, np.arange(6), 20)
    assert items.tolist() == [0, 1, 4, 5], "the first of each moment, in the order of the hits"
    named = [{COMPONENTS[place] for place in np.flatnonzero(row)} for row in targets]
    assert named == [{"kick"}, {"crash", "kick"}, {"kick", "snare"}, {"ride"}]
    some, _ = moments(found, np.array([2, 3]), 20)
    assert some.tolist() == [2], "only of those that are asked for"


def test_rare_components_are_drawn_more_often_where_that_is_wanted() -> None:
    targets = np.zeros((5, 12), dtype=bool)
    targets[:4, 0], targets[3:, 4] = True, True  # four kicks, two crashes, of which one is both
    assert balanced(targets, 0.0).tolist() == [1.0] * 5
    weights = balanced(targets, 1.0)
    assert np.allclose(weights, [0.75, 0.75, 0.75, 1.5, 1.5])


def test_binary_trains_moments_and_softmax_trains_every_hit(place: Path) -> None:
    split = pd.read_json(Path(job(place, trial()).features).parent / "split.json")
    training = split[split["part"] == "train"]
    at_once = training.assign(at=training["path"].str.rpartition(" ")[0])["at"].nunique()
    binary = lesson(place, trial(training={"background": 0.0}))
    softmax = lesson(place, trial(training={"loss": "cross_entropy"}))
    assert len(training) > at_once
    batch = 16
    for one, count in ((binary, at_once), (softmax, len(training))):
        order = one.order(1)
        assert len(order) == len(set(order.tolist())) == count - (count % batch == 1)
        assert not np.array_equal(order, one.order(2)) and np.array_equal(order, one.order(1))
    assert sum(binary.draws(np.arange(0)).values()) == 0
    counted = training["label"].value_counts()
    drawn = softmax.draws(softmax._items)
    assert {name: count for name, count in drawn.items() if count} == counted.to_dict()


def test_moments_without_a_hit_lie_between_hits_of_a_song_and_away_from_them() -> None:
    found = hits([(0, 1000, "kick"), (0, 1200, "snare"), (0, 1310, "kick"), (5000, 5100, "ride"), (9000, 9900, "ride")])
    start, first, last = nothing_hit(found, np.arange(5), 1000)
    assert start.tolist() == [1060, 1080, 1100, 1120, 1140], "not 60 ms from any hit, nor outside of what is mapped"
    assert set(first) == {0} and set(last) == {1001}
    assert nothing_hit(found, np.arange(0), 1000).shape == (3, 0) == nothing_hit(found, np.array([3, 4]), 1000).shape


def test_of_very_many_moments_without_a_hit_a_part_is_drawn_from() -> None:
    long = hits([(0, 0, "kick"), (0, 10_000_000, "kick")])
    start, _, _ = nothing_hit(long, np.arange(2), 1000)
    assert POOL // 2 < len(start) <= POOL and start.max() > 9_900_000


def test_moments_without_a_hit_are_drawn_anew_and_trained_as_nothing(place: Path) -> None:
    one = lesson(place, trial(training={"background": 0.5}))
    empty = [order[order >= len(one.hits)] for order in (one.order(1), one.order(2))]
    assert all(len(drawn) == round(0.5 * len(one._items)) for drawn in empty)
    assert not np.array_equal(*empty)
    assert one.draws(one.order(1)) == one.draws(one._items)
    model = one.model()
    for bias, right in ((-9.0, 1.0), (9.0, 0.0)):
        torch.nn.init.constant_(model.fc.bias, bias)  # type: ignore[union-attr, arg-type]
        loss, said = one.loss(model.eval(), empty[0], torch.Generator())
        assert float(said["accuracy"]) == right * len(empty[0])
        assert (float(loss.detach()) < 1) == (right == 1)


def test_hits_in_company_are_left_out_of_training_where_that_is_wanted(place: Path) -> None:
    whole, alone = lesson(place, trial()), lesson(place, trial(training={"overlapping": False}))
    assert len(alone._items) < len(whole._items)
    assert not alone.hits.companions[alone._items].any()


def test_a_trial_learns_and_says_so_of_hits_alone_and_in_company(outcome: Outcome) -> None:
    assert losses(outcome)[-1] < 0.7 * losses(outcome)[0]
    metrics = outcome.tables["metrics"]
    windows = metrics[(metrics["level"] == "window") & metrics["class"].isna()]
    for part in ("validation", "test"):
        own = windows[windows["part"] == part].set_index("metric")["value"]
        assert {"accuracy", "macro_f1", "accuracy_alone", "macro_f1_alone"} <= set(own.index)
    by_class = metrics[(metrics["metric"] == "f1_alone") & (metrics["part"] == "test")].set_index("class")["value"]
    assert list(by_class.index) == list(COMPONENTS) and np.isnan(by_class["china"])
    assert set(outcome.tables["epochs"]["metric"]) >= {"loss", "accuracy", "macro_f1", "lr"}


def test_predictions_are_one_for_each_hit_with_its_time(outcome: Outcome, place: Path) -> None:
    predictions = outcome.tables["predictions"]
    split = pd.read_json(place / "split.json")
    judged = split[split["part"] != "train"]
    assert sorted(predictions["path"]) == sorted(judged["path"]) and set(predictions["level"]) == {"recording"}
    times = predictions["path"].str.extract(r"#([\d.]+) ")[0].astype(float)
    assert np.allclose(predictions["start_seconds"], times, atol=1e-3)
    assert predictions["probabilities"].map(len).eq(12).all()


def test_components_that_are_known_to_sound_beside_it_are_not_asked_for(outcome: Outcome, place: Path) -> None:
    predictions = outcome.tables["predictions"]
    kicks = predictions[predictions["path"].str.endswith("#0.100 kick")]
    assert len(kicks) == 2, "with a closed hi-hat, in both songs"
    hihat = COMPONENTS.index("hihat_closed")
    assert all(row[hihat] == 0 and sum(row) == pytest.approx(1) for row in kicks["probabilities"])


def test_whole_songs_are_judged_and_the_model_knows_how_it_hears(outcome: Outcome, tmp_path: Path) -> None:
    scores, metrics = outcome.tables["scores"], outcome.tables["metrics"]
    pooled = metrics[(metrics["metric"] == "event_f1") & metrics["class"].isna()].set_index("part")["value"]
    assert (outcome.selection_metric, outcome.selection_value) == ("validation_event_f1", pooled["validation"])
    assert outcome.higher_is_better and outcome.trained.best is not None
    history = [note.validation[MONITOR] for note in outcome.trained.history]
    assert outcome.trained.best.validation[MONITOR] == max(history), "the epoch is chosen by hits, the trial by songs"
    assert set(scores["part"]) == {"validation", "test"} and "event_f1" in set(scores["metric"])
    assert outcome.save_model is not None
    outcome.save_model(tmp_path)
    said = saved_extra(tmp_path)
    assert (said["study"], said["components"], said["sample_rate"]) == ("drums", list(COMPONENTS), RATE)
    assert (said["loss"], said["picture"]["mels"]) == ("binary", 32)
    assert len(said["thresholds"]) == 12 and all(0 < value < 1 for value in said["thresholds"])
    load_model(tmp_path)


def test_without_songs_hits_alone_say_from_when_a_component_is_heard(tmp_path: Path) -> None:
    said = job(tmp_path, trial(training={"epochs": 1}))
    one_of_each = said.split.drop_duplicates("content_hash")
    alone = one_of_each.assign(path="packs/" + one_of_each["group"] + "/kick/1.wav", label="kick")
    found = run_trial(replace(said, split=alone))
    assert found.selection_metric == f"validation_{MONITOR}"
    assert found.tables["scores"].empty and set(found.tables["metrics"]["level"]) == {"window"}
    assert found.save_model is not None
    (tmp_path / "model").mkdir()
    found.save_model(tmp_path / "model")
    assert len(saved_extra(tmp_path / "model")["thresholds"]) == 12


def test_the_estimate_counts_what_is_trained_and_a_third_of_the_hits_of_validation() -> None:
    files = pd.DataFrame({"state": ["ok"] * 90 + ["rejected"] * 9, "path": [f"{n}.wav" for n in range(99)]})
    settings = DrumsSettings()
    measured = estimate(trial(), files, settings, machine(), 2.0)
    items = 5 * 90 * (1.2 * settings.split.train + settings.split.validation / 3)
    assert measured.seconds == pytest.approx(2.0 * items)
    divided = files.assign(path=[f"{'train' if n < 30 else 'val'}/kick/{n}.wav" for n in range(99)])
    of_folders = estimate(trial(), divided, settings, machine(), 2.0).seconds
    assert of_folders == pytest.approx(2.0 * 5 * (1.2 * 30 + 90 * settings.split.validation / 3))
    rough = estimate(trial(), files, settings, machine(), None)
    assert rough.seconds is not None and 0 < rough.seconds < 60 and rough.disk_bytes > 7 * 4 * 1500


def test_fine_tuning_shares_the_epochs_before_it_with_the_trial_that_has_none(outcome: Outcome, place: Path) -> None:
    trained: list[EpochNote] = []
    found = run_trial(job(place, tuned(), siblings=[trial(), tuned()], report=trained.append))
    assert [note.epoch for note in trained] == [4, 5], "the first three of five were there"
    keys = [[note.key for note in one.trained.history] for one in (outcome, found)]
    assert keys[0][:3] == keys[1][:3] and keys[0][3] != keys[1][3]
    said = found.trained.history[3].settings
    assert said["frozen"] == list(FIRST_BLOCKS) and said["lr"] == 1e-4


def test_a_trial_alone_comes_to_the_same_as_one_that_shares(place: Path, tmp_path: Path) -> None:
    shared, alone = run_trial(job(place, tuned())), run_trial(job(tmp_path, tuned()))
    assert losses(shared) == losses(alone)
    pd.testing.assert_frame_equal(shared.tables["predictions"], alone.tables["predictions"])


def test_the_first_blocks_rest_and_the_others_do_not(tmp_path: Path) -> None:
    states: dict[int, dict[str, torch.Tensor]] = {}

    def remember(note: EpochNote) -> None:
        folder, model = run.states.find(note.key), build_drumcnn(run.trial.config.model, seed=0)  # type: ignore[attr-defined]
        assert folder is not None
        load_weights(folder, model)
        states[note.epoch] = model.state_dict()

    run = job(tmp_path, tuned(), report=remember)
    run_trial(run)

    def moved(before: int, after: int) -> set[str]:
        return {name for name, value in states[before].items() if not torch.equal(value, states[after][name])}

    resting = {name for name in states[1] if name.startswith(FIRST_BLOCKS)}
    assert resting <= moved(1, 3), "until then they learn, and so do the statistics of their batch norm"
    assert moved(3, 5) == set(states[1]) - resting


def test_an_augmented_trial_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path) -> None:
    changed = trial(augmentation={"probability": 0.5})
    whole = run_trial(job(tmp_path / "whole", changed))
    seen: list[EpochNote] = []
    stopped = run_trial(job(tmp_path / "lab", changed, report=seen.append, stop=lambda: len(seen) >= 2))
    assert stopped.trained.status != "finished" and list(stopped.tables) == ["epochs"]
    again = run_trial(job(tmp_path / "lab", changed))
    assert losses(again) == losses(whole)
    assert again.trained.history[1].key == seen[1].key
    assert losses(whole) != losses(run_trial(job(tmp_path / "whole", trial())))


def test_what_is_done_to_hits_is_drawn_from_the_generator_alone() -> None:
    changes = Changes(AugmentationConfig(probability=0.5), 44_100, "cpu")
    clips = torch.zeros(2000, 50)

    def drawn(seed: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return changes.drawn(clips, torch.Generator().manual_seed(seed))

    (noisy, told), (again, _), (other, _) = drawn(1), drawn(1), drawn(2)
    assert torch.equal(noisy, again) and not torch.equal(noisy, other) and not clips.any()
    stretched = told["stretch"][told["stretch"] != 1]
    tuned = told["semitones"][told["semitones"] != 0]
    loud = noisy.abs().sum(dim=1) > 0
    for count in (len(stretched), len(tuned), int(loud.sum())):
        assert 900 < count < 1100, "each with one half"
    assert 0.9 <= float(stretched.min()) < 0.91 and 1.09 < float(stretched.max()) <= 1.1
    assert -2 <= float(tuned.min()) < -1.9 and 1.9 < float(tuned.max()) <= 2
    assert float(noisy[loud].std()) == pytest.approx(0.005, rel=0.05)
    assert float(told["shift"].abs().max()) == round(0.003 * 44_100)
    assert torch.equal(told["shift"], told["shift"].round())


def test_augmentation_costs_little_of_a_step() -> None:
    assert ratio(NARROW, machine(), rounds=2) <= MOST


def test_without_augmentation_hits_are_only_shifted() -> None:
    clips = torch.zeros(4, 50)
    same, told = Changes(AugmentationConfig(), 44_100, "cpu").drawn(clips, torch.Generator())
    assert same is clips and list(told) == ["shift"]
    assert Changes(AugmentationConfig(shift_ms=0), 44_100, "cpu").drawn(clips, torch.Generator())[1] == {}


@pytest.mark.parametrize(
    ("said", "shared"),
    [
        ({"training": {"frozen_from": 0.5}}, True),
        ({"training": {"epochs": 9, "early_stop": 3}}, True),
        ({"training": {"lr": 0.001}}, True),
        ({"training": {"evaluation_batch": 8}}, True),
        ({"model": {"dropout": 0.5}}, False),
        ({"training": {"loss": "cross_entropy"}}, False),
        ({"training": {"balance": 0.5}}, False),
        ({"training": {"overlapping": False}}, False),
        ({"training": {"background": 0.5}}, False),
        ({"training": {"weight_decay": 0.1}}, False),
        ({"augmentation": {"probability": 0.5}}, False),
        ({"seed": 7}, False),
    ],
)
def test_what_every_epoch_says_itself_is_no_part_of_the_origin(place: Path, said: dict[str, Any], shared: bool) -> None:
    origins = [recipe_of(job(place, one), one.config).origin for one in (trial(), trial(**said))]  # type: ignore[arg-type]
    assert (origins[0] == origins[1]) == shared


def test_kept_are_the_state_at_a_fork_and_the_best_up_to_it() -> None:
    def history(values: list[float]) -> list[EpochNote]:
        return [
            EpochNote(epoch, str(epoch), {}, {}, {MONITOR: value}, 0.0, 1, 1)
            for epoch, value in enumerate(values, start=1)
        ]

    keep, values = kept_for([3]), [0.1, 0.5, 0.4, 0.6, 0.5]
    assert [keep(epoch, history(values)) for epoch in range(1, 6)] == [False, True, True, False, False]
    assert not keep(2, history(values[:2])), "until then the engine keeps the best itself"
    assert not any(kept_for([])(epoch, history(values)) for epoch in range(1, 6))


@pytest.mark.parametrize(("share", "epochs", "last"), [(None, 50, None), (0.6, 50, 30), (0.0, 5, 0), (0.5, 3, 1)])
def test_the_last_epoch_in_which_all_is_trained(share: float | None, epochs: int, last: int | None) -> None:
    said = trial(training={"frozen_from": share, "epochs": epochs}).config
    assert last_before_rest(said) == last  # type: ignore[arg-type]
