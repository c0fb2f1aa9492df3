"""Hearing and deciding: the network sees what it was trained to see, thresholds decide, and wrong files are refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml.data.components import COMPONENTS
from ml.features.hit_config import HitPictureConfig
from ml.features.hits import HitPictures
from ml.inference.folded import FoldedDrumCNN
from ml.inference.transcriber import Heard, Transcriber, chosen, open_transcriber
from ml.metrics.events import matched_events
from ml.models.drumcnn import DrumCNN, build_drumcnn
from ml.models.drumcnn_config import DrumCNNConfig
from ml.models.hub import ModelUnavailable
from ml.models.saved import save_model
from tests.ml.inference.drummed import RATE, drummed
from tests.ml.inference.small import PROCESSOR, small_denoiser

SMALL = DrumCNNConfig(channels=(8, 8, 8, 16))
PICTURE = HitPictureConfig(mels=32, columns=24)
KICK, SNARE = COMPONENTS.index("kick"), COMPONENTS.index("snare")


def network(seed: int = 1) -> DrumCNN:
    """In eval mode, with batch norms that are not what they are at the beginning."""
    model, draws = build_drumcnn(SMALL, seed=seed), torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=draws)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 2.0, generator=draws)  # type: ignore[union-attr, operator]
            module.weight.data.uniform_(0.5, 1.5, generator=draws)
    return model.eval()


def test_heuristics_tell_kick_snare_and_hihat_apart() -> None:
    samples, hits = drummed()
    ours = Transcriber(None, None)
    said = ours.decide(ours.hear(samples, RATE))
    assert [hit.seconds for hit in said] == sorted(hit.seconds for hit in said)
    for name in ("kick", "snare"):
        found = np.array([hit.seconds for hit in said if hit.component == name])
        assert 2 * matched_events(hits[name], found) / (len(hits[name]) + len(found)) > 0.9
    hats = np.array([hit.seconds for hit in said if hit.component == "hihat_closed"])
    alone = np.setdiff1d(hits["hihat_closed"], np.concatenate([hits["kick"], hits["snare"]]))
    assert matched_events(alone, hats) > 0.8 * len(alone)
    assert all(0 < hit.velocity <= 1 and 0 <= hit.probability <= 1 for hit in said)


@pytest.mark.parametrize("loss", ["binary", "cross_entropy"])
def test_a_network_is_asked_about_the_pictures_that_it_was_trained_on(loss: str) -> None:
    samples, _ = drummed(seconds=3.0)
    model = network()
    heard = Transcriber(model, PROCESSOR, PICTURE, loss=loss).hear(samples, RATE)  # type: ignore[arg-type]
    pictures = HitPictures(PICTURE, RATE)
    places = np.rint(heard.onsets * RATE).astype(np.int64)
    clips = pictures.clips(samples).batch(places, np.zeros_like(places), np.full_like(places, len(samples)))
    with torch.inference_mode():
        logits = model(pictures.pictures(clips)).logits
    expected = logits.sigmoid() if loss == "binary" else logits.softmax(dim=1)
    assert len(heard.onsets) > 5
    assert heard.probabilities == pytest.approx(expected.numpy(), abs=1e-5)
    assert heard.probabilities.std() > 0.001


def test_folding_changes_nothing_and_leaves_the_network_as_it_is() -> None:
    model, seen = network(), torch.randn(3, 1, 32, 24, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        assert torch.allclose(FoldedDrumCNN(model)(seen), model(seen).logits, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_song_is_brought_to_the_rate_of_the_network() -> None:
    samples, _ = drummed(seconds=3.0, rate=48_000)
    there, _ = drummed(seconds=3.0)
    ours = Transcriber(network(), PROCESSOR, PICTURE)
    assert ours.hear(samples, 48_000).onsets == pytest.approx(ours.hear(there, RATE).onsets, abs=0.004)


def heard(onsets: list[float], levels: list[float], **said: list[float]) -> Heard:
    chances = np.zeros((len(onsets), 12), dtype=np.float32)
    for name, values in said.items():
        chances[:, COMPONENTS.index(name)] = values
    return Heard(np.array(onsets), chances, np.tile(np.array(levels, np.float32)[:, None], 12))


def test_thresholds_decide_and_several_components_may_sound_at_once() -> None:
    song = heard([1.0, 2.0, 3.0], [0.1, 0.2, 0.4], kick=[0.6, 0.4, 0.2], snare=[0.9, 0.1, 0.9])
    ours = Transcriber(None, None)
    assert [(hit.seconds, hit.component) for hit in ours.decide(song)] == [
        (1.0, "kick"),
        (1.0, "snare"),
        (3.0, "snare"),
    ]
    lower = np.full(12, 0.5)
    lower[KICK], lower[SNARE] = 0.3, 0.95
    said = ours.with_thresholds(lower).decide(song)
    assert [(hit.seconds, hit.component) for hit in said] == [(1.0, "kick"), (2.0, "kick")]
    assert said[0].velocity < said[1].velocity
    assert said[0].probability == pytest.approx(0.6)


def test_one_component_twice_at_once_is_one_hit_the_likelier() -> None:
    onsets = np.array([1.0, 1.02, 1.04, 2.0])
    assert chosen(onsets, np.array([0.6, 0.9, 0.7, 0.8]), 0.5).tolist() == [1, 3]
    assert chosen(onsets, np.array([0.9, 0.6, 0.7, 0.8]), 0.5).tolist() == [0, 2, 3]
    assert chosen(onsets, np.array([0.1, 0.1, 0.1, 0.1]), 0.5).tolist() == []


def test_silence_is_heard_as_nothing() -> None:
    ours = Transcriber(network(), PROCESSOR, PICTURE)
    found = ours.hear(np.zeros(RATE, np.float16), RATE)
    assert found.probabilities.shape == (0, 12)
    assert ours.decide(found) == []


def saved(folder: Path, **changed: object) -> Path:
    folder.mkdir()
    about = {
        "study": "drums",
        "components": list(COMPONENTS),
        "picture": PICTURE.model_dump(mode="json"),
        "sample_rate": 22_050,
        "loss": "binary",
        "thresholds": [0.3] * 12,
    }
    save_model(network(), folder, about | changed)
    return folder


def test_a_saved_model_says_how_it_hears(tmp_path: Path) -> None:
    ours = open_transcriber(saved(tmp_path / "model"), PROCESSOR)
    assert (ours.rate, ours.picture, ours.loss, ours.thresholds) == (22_050, PICTURE, "binary", (0.3,) * 12)
    samples, _ = drummed(seconds=2.0, rate=22_050)
    expected = Transcriber(network(), PROCESSOR, PICTURE, 22_050).hear(samples, 22_050).probabilities
    assert ours.hear(samples, 22_050).probabilities == pytest.approx(expected, abs=1e-6)


def test_weights_alone_are_used_with_what_is_said_beside_them_or_as_usual(tmp_path: Path) -> None:
    state = network().state_dict()
    alone = tmp_path / "alone.pth"
    torch.save(state, alone)
    assert open_transcriber(alone, PROCESSOR).picture == HitPictureConfig()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "other.safetensors")
    assert open_transcriber(tmp_path / "other.safetensors", PROCESSOR).thresholds == (0.5,) * 12
    folder = saved(tmp_path / "model")
    (tmp_path / "alone.json").write_bytes((folder / "config.json").read_bytes())  # as an export has it
    assert open_transcriber(alone, PROCESSOR).picture == PICTURE
    assert open_transcriber(folder / "model.safetensors", PROCESSOR).rate == 22_050


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(Path.cwd() / "taken over"),)


def test_a_pickled_exploit_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Exploit()}, tmp_path / "model.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Exploit()))
    for name in ("model.pth", "plain.pth"):
        with pytest.raises(ModelUnavailable, match=name):
            open_transcriber(tmp_path / name, PROCESSOR)
    assert not (tmp_path / "taken over").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"components": ["kick", "snare"]},
        {"thresholds": [0.5] * 3},
        {"thresholds": [float("nan")] * 12},
        {"thresholds": "high"},
        {"sample_rate": "fast"},
        {"sample_rate": 10**9},
        {"loss": "mean"},
        {"picture": {"mels": -1}},
        {"picture": [1]},
        {"components": 3},
    ],
)
def test_a_model_that_says_nonsense_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    with pytest.raises(ModelUnavailable, match="model"):
        open_transcriber(saved(tmp_path / "model", **changed), PROCESSOR)


def test_other_networks_and_things_that_are_no_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    save_model(small_denoiser(), tmp_path / "unet", {"sample_rate": 44_100})
    with pytest.raises(ModelUnavailable, match="knows no drums"):
        open_transcriber(tmp_path / "unet", PROCESSOR)
    with pytest.raises(ModelUnavailable, match=r"nowhere\.pth"):
        open_transcriber(tmp_path / "nowhere.pth", PROCESSOR)
    torch.save({"conv1.weight": torch.zeros(8, 1, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(ModelUnavailable, match="holds no DrumCNN"):
        open_transcriber(tmp_path / "part.pth", PROCESSOR)
    torch.save(network().state_dict(), tmp_path / "weights.pth")
    for unreadable in ("{ this is cut off", "[" * 100_000):
        (tmp_path / "weights.json").write_text(unreadable, encoding="utf-8")
        with pytest.raises(ModelUnavailable, match=r"weights\.json"):
            open_transcriber(tmp_path / "weights.pth", PROCESSOR)
    (tmp_path / "weights.json").write_text(json.dumps({"anything": "else"}), encoding="utf-8")
    assert open_transcriber(tmp_path / "weights.pth", PROCESSOR).rate == RATE
