"""AST: sized to its windows, loaded from safetensors alone, and a hub that cannot be reached."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ml.models.ast import (
    AstConfig,
    ModelUnavailable,
    build_ast,
    interpolate_positions,
    load_model,
    save_model,
    saved_extra,
    tokens,
)
from ml.models.hub import local_folder, weights_folder
from ml.studies.concert.config import ConcertTrial
from ml.studies.concert.study import CONCERT
from ml.studies.study import Trial

ROOT = Path(__file__).parents[3]
LABELS = ("APPLAUSE", "MUSIC", "PUBLIC")
TINY = AstConfig(pretrained=None, hidden=16, layers=2, heads=2, intermediate=32)


def tiny(frames: int = 64, mels: int = 48, labels: tuple[str, ...] = LABELS, seed: int = 5) -> nn.Module:
    return build_ast(TINY, frames=frames, mels=mels, labels=labels, seed=seed)


def embeddings(model: nn.Module) -> nn.Module:
    return model.audio_spectrogram_transformer.embeddings  # type: ignore[return-value,union-attr]


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return model.state_dict()


def saved(folder: Path, model: nn.Module) -> Path:
    folder.mkdir(parents=True)
    save_model(model, folder, {"note": "for a test"})
    return folder


@pytest.mark.parametrize(("frames", "expected"), [(297, 350), (279, 326), (1024, 1214)])
def test_tokens_of_the_base_model(frames: int, expected: int) -> None:
    assert tokens(frames, 128) == expected
    with torch.device("meta"):
        model = build_ast(AstConfig(pretrained=None), frames=frames, mels=128, labels=LABELS, seed=1)
        assert embeddings(model).position_embeddings.shape == (1, expected, 768)
        assert embeddings(model)(torch.empty(2, frames, 128)).shape == (2, expected, 768)


def test_the_base_model_has_the_size_of_the_paper() -> None:
    with torch.device("meta"):
        labels = [f"sound {number}" for number in range(527)]
        model = build_ast(AstConfig(pretrained=None), frames=1024, mels=128, labels=labels, seed=1)
    assert 86e6 < sum(parameter.numel() for parameter in model.parameters()) < 87e6


def test_from_scratch_it_is_seeded_uses_sdpa_and_answers_per_label() -> None:
    before = torch.get_rng_state()
    one, same, other = tiny(), tiny(), tiny(seed=6)
    assert torch.equal(torch.get_rng_state(), before), "building a model draws from a generator of its own"
    assert all(torch.equal(weights(one)[name], weights(same)[name]) for name in weights(one))
    assert not torch.equal(one.classifier.dense.weight, other.classifier.dense.weight)  # type: ignore[union-attr,arg-type]
    assert one.config._attn_implementation == "sdpa"  # type: ignore[union-attr]
    assert embeddings(one).position_embeddings.std() > 0.005, "patches can be told apart from the first step"
    assert one(torch.randn(2, 64, 48)).logits.shape == (2, 3)


def test_positions_of_the_same_size_are_the_same() -> None:
    positions = torch.randn(1, 2 + 12 * 101, 8)
    assert torch.equal(interpolate_positions(positions, (12, 101), (12, 101)), positions)


def test_positions_are_interpolated_in_place_and_tokens_are_kept() -> None:
    # An embedding that says where it is: first number the mel patch, second the time patch (0 to 1).
    mel, time_ = torch.meshgrid(torch.linspace(0, 1, 12), torch.linspace(0, 1, 101), indexing="ij")
    positions = torch.stack((mel.flatten(), time_.flatten()), dim=1)
    positions = torch.cat((torch.tensor([[7.0, 7.0], [8.0, 8.0]]), positions))[None]

    sized = interpolate_positions(positions, (12, 101), (12, 27))

    assert sized.shape == (1, 326, 2)
    assert torch.equal(sized[:, :2], positions[:, :2])
    grid = sized[0, 2:].reshape(12, 27, 2)
    torch.testing.assert_close(grid[:, :, 0], torch.linspace(0, 1, 12)[:, None].expand(12, 27))
    steps = grid[0, :, 1].diff()
    assert (steps > 0.03).all() and (steps < 0.045).all(), "evenly along the whole of the old time axis"


@pytest.mark.parametrize("frames", [64, 34, 120])
def test_a_local_folder_with_another_length_and_other_classes(tmp_path: Path, frames: int) -> None:
    first = tiny()
    folder = saved(tmp_path / "first", first)
    labels = ("a", "b", "c", "d", "e")
    config = AstConfig(pretrained=str(folder), dropout=0.1)

    model = build_ast(config, frames=frames, mels=48, labels=labels, seed=9)

    assert model(torch.randn(2, frames, 48)).logits.shape == (2, 5)
    assert model.config.id2label == dict(enumerate(labels))  # type: ignore[union-attr]
    kept = [name for name in weights(first) if "position" not in name and "classifier.dense" not in name]
    assert len(kept) > 30 and all(torch.equal(weights(model)[name], weights(first)[name]) for name in kept)
    ours, theirs = embeddings(model), embeddings(first)
    assert torch.equal(ours.position_embeddings[:, :2], theirs.position_embeddings[:, :2])  # type: ignore[index]
    if frames == 64:
        assert torch.equal(ours.position_embeddings, theirs.position_embeddings)  # type: ignore[arg-type]
    dropouts = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert dropouts and set(dropouts) == {0.1}
    again = build_ast(config, frames=frames, mels=48, labels=labels, seed=9)
    assert torch.equal(weights(model)["classifier.dense.weight"], weights(again)["classifier.dense.weight"])


def test_weights_with_the_names_that_the_hub_has_are_understood(tmp_path: Path) -> None:
    """The published checkpoint was written by an older transformers, with other names for the same weights."""
    first = tiny()
    folder = saved(tmp_path / "old", first)
    older = {
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "audio_spectrogram_transformer.layers.": "audio_spectrogram_transformer.encoder.layer.",
    }
    renamed = {}
    for name, tensor in weights(first).items():
        for new, old in older.items():
            name = name.replace(new, old)
        renamed[name] = tensor
    assert "audio_spectrogram_transformer.encoder.layer.1.attention.attention.query.weight" in renamed
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})

    model = build_ast(AstConfig(pretrained=str(folder)), frames=64, mels=48, labels=LABELS, seed=1)

    kept = [name for name in weights(first) if "classifier.dense" not in name]
    assert all(torch.equal(weights(model)[name], weights(first)[name]) for name in kept)


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    model = tiny(frames=40).eval()
    folder = tmp_path / "kept"
    folder.mkdir()
    extra = {"labels": list(LABELS), "mean": -4.27, "window_seconds": 2.97}
    save_model(model, folder, extra)

    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert saved_extra(folder) == extra
    loaded = load_model(folder)
    sound = torch.randn(2, 40, 48)
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(sound).logits, model(sound).logits)
    assert loaded.config.id2label == dict(enumerate(LABELS))  # type: ignore[union-attr]


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = saved(tmp_path / "pickled", tiny())
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"no model\.safetensors; pytorch_model\.bin is pickled.*not loaded"):
        build_ast(AstConfig(pretrained=str(folder)), frames=64, mels=48, labels=LABELS, seed=1)


def test_weights_that_are_missing_or_of_another_kind_are_not_made_up(tmp_path: Path) -> None:
    folder = saved(tmp_path / "part", tiny())
    whole = load_file(folder / "model.safetensors")
    gone = next(name for name in whole if "layernorm_before.weight" in name)
    save_file({name: tensor for name, tensor in whole.items() if name != gone}, folder / "model.safetensors")
    config = AstConfig(pretrained=str(folder))
    with pytest.raises(ModelUnavailable, match=r"1 weights are missing, the first is .*layernorm_before"):
        build_ast(config, frames=64, mels=48, labels=LABELS, seed=1)

    (folder / "model.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(ModelUnavailable, match="part holds no Audio Spectrogram Transformer that can be loaded"):
        build_ast(config, frames=64, mels=48, labels=LABELS, seed=1)

    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelUnavailable, match="part"):
        build_ast(config, frames=64, mels=48, labels=LABELS, seed=1)


@pytest.mark.parametrize("pretrained", ["no such folder", "./models/ast", "../ast", "models/mine/ast", "owner/", ""])
def test_what_is_neither_whole_path_nor_name(pretrained: str) -> None:
    with pytest.raises(ValueError, match=r"neither the whole path of a folder .*, nor a name on the hub"):
        AstConfig(pretrained=pretrained)


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = AstConfig(pretrained=str(tmp_path / "gone"))
    assert config.identity() == config.model_dump(mode="json"), "looking is allowed, training is not"
    with pytest.raises(ModelUnavailable, match="gone, which is not there; correct the path"):
        build_ast(config, frames=64, mels=48, labels=LABELS, seed=1)
    saved(tmp_path / "owner" / "name", tiny())
    monkeypatch.chdir(tmp_path)
    assert local_folder("owner/name") is None, "a name on the hub is one in whatever folder a program is started"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert weights_folder("~/owner/name") == tmp_path / "owner" / "name"


def test_local_weights_are_what_they_say_not_where_they_lie(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", tiny())
    other = shutil.copytree(one, tmp_path / "other")
    before = AstConfig(pretrained=str(one)).identity()
    assert AstConfig(pretrained=str(other)).identity() == before and str(one) not in str(before)

    changed = load_file(other / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in changed.items()}, other / "model.safetensors")
    os.utime(other / "model.safetensors", ns=(1, 1))
    after = AstConfig(pretrained=str(other)).identity()
    assert after != before and after.keys() == before.keys()
    (one / "config.json").write_text((one / "config.json").read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert AstConfig(pretrained=str(one)).identity() not in (before, after)

    trial = Trial("any", ConcertTrial(model=AstConfig(pretrained=str(one))), {}, "")
    moved = Trial("any", ConcertTrial(model=AstConfig(pretrained=str(one.rename(tmp_path / "moved")))), {}, "")
    marks = [CONCERT.trial_fingerprint(moved, "origin", "fp32"), CONCERT.trial_fingerprint(trial, "origin", "fp32")]
    assert marks[0] != marks[1], "the old place is empty now"
    back = Trial("any", ConcertTrial(model=AstConfig(pretrained=str((tmp_path / "moved").rename(one)))), {}, "")
    assert CONCERT.trial_fingerprint(back, "origin", "fp32") == marks[0]


UNREACHABLE = """
import time
from ml.models.ast_config import AstConfig
from ml.models.hub import ModelUnavailable, weights_folder
began = time.monotonic()
try:
    weights_folder(AstConfig().pretrained)
except ModelUnavailable as problem:
    print(f"{time.monotonic() - began:.3f} {problem}")
"""


@pytest.mark.parametrize(
    "environment",
    [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}],
    ids=["offline", "refused"],
)
def test_a_hub_that_cannot_be_reached_is_said_at_once_with_both_remedies(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", UNREACHABLE],
        cwd=ROOT,
        env={**os.environ, **environment, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    seconds, _, sentence = ended.stdout.partition(" ")
    assert float(seconds) < 8, "no retries: one question, five seconds"
    assert "'MIT/ast-finetuned-audioset-10-10-0.4593' are not on this machine" in sentence
    assert "connect this machine to the internet once" in sentence
    assert "into a folder and set model.pretrained to it" in sentence


def test_a_name_that_was_downloaded_before_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    snapshot = tmp_path / "models--owner--tiny-ast" / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.parent.mkdir(parents=True)
    first = tiny()
    saved(snapshot, first)
    refs = tmp_path / "models--owner--tiny-ast" / "refs"
    refs.mkdir()
    (refs / "main").write_text(snapshot.name)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    began = time.monotonic()
    model = build_ast(AstConfig(pretrained="owner/tiny-ast"), frames=64, mels=48, labels=LABELS, seed=1)

    assert time.monotonic() - began < 5
    assert torch.equal(embeddings(model).cls_token, embeddings(first).cls_token)  # type: ignore[arg-type]


def test_settings_without_effect_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = saved(tmp_path / "small", tiny())
    with caplog.at_level(logging.WARNING):
        build_ast(AstConfig(pretrained=str(folder), layers=3, stride=8), frames=64, mels=48, labels=LABELS, seed=1)
    assert "model.layers, model.stride has no effect" in caplog.text


@pytest.mark.parametrize(
    ("config", "frames", "sentence"),
    [
        (TINY, 15, "window of 15 frames and 48 mels is smaller than one patch of 16 x 16"),
        (AstConfig(pretrained=None, hidden=16, heads=3), 64, r"heads is 3, which does not divide model.hidden \(16\)"),
    ],
)
def test_sizes_that_do_not_fit(config: AstConfig, frames: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_ast(config, frames=frames, mels=48, labels=LABELS, seed=1)
