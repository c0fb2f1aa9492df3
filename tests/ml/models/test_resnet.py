"""ResNet18: the network of the paper, whatever its classes; loaded from safetensors alone, its dropout kept."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForImageClassification
from transformers import ResNetConfig as Architecture

from ml.config import ConfigError, read_config
from ml.models.hub import ModelUnavailable
from ml.models.resnet import BACKBONE, DroppingResNet, build_resnet
from ml.models.resnet_config import PUBLISHED, ResNetConfig
from ml.models.saved import load_model, save_model, saved_extra
from tests.ml.models.written_out import WrittenOut, as_written_out

ROOT = Path(__file__).parents[3]
LABELS = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")
TINY = ResNetConfig(pretrained=None, widths=(16, 32, 32, 48))


def tiny(config: ResNetConfig = TINY, labels: tuple[str, ...] = LABELS, seed: int = 5) -> nn.Module:
    return build_resnet(config, labels=labels, seed=seed)


def saved(folder: Path, model: nn.Module) -> Path:
    folder.mkdir(parents=True)
    save_model(model, folder, {"note": "for a test"})
    return folder


def pictures(count: int = 3, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(2))


def dropouts(model: nn.Module) -> list[float]:
    return [module.p for module in model.modules() if isinstance(module, nn.Dropout)]


def test_it_has_the_parameters_of_resnet18() -> None:
    with torch.device("meta"):
        model = build_resnet(ResNetConfig(pretrained=None), labels=LABELS, seed=1)
        reference = WrittenOut((64, 128, 256, 512), len(LABELS))
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_180_103
    shapes = {as_written_out(name): value.shape for name, value in model.state_dict().items()}
    assert shapes == {name: value.shape for name, value in reference.state_dict().items()}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("side", [32, 75])
def test_with_the_same_weights_it_says_and_learns_what_the_network_of_the_paper_does(training: bool, side: int) -> None:
    model = tiny(TINY.model_copy(update={"dropout": 0.0})).train(training)
    reference = WrittenOut(TINY.widths, len(LABELS)).train(training)
    reference.load_state_dict({as_written_out(name): value for name, value in model.state_dict().items()})
    batch, labels = pictures(4, side), torch.tensor([0, 3, 6, 1])

    said, expected = model(batch).logits, reference(batch)

    torch.testing.assert_close(said, expected)
    functional.cross_entropy(said, labels).backward()
    functional.cross_entropy(expected, labels).backward()
    gradients = {name: parameter.grad for name, parameter in reference.named_parameters()}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[as_written_out(name)], rtol=1e-3, atol=1e-5)
    statistics = reference.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, statistics[as_written_out(name)])


def test_random_weights_are_seeded_and_drawn_as_the_paper_says() -> None:
    before = torch.get_rng_state()
    one, same, other = (tiny(ResNetConfig(pretrained=None), seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before), "building a model draws from a generator of its own"
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in one.state_dict().items())
    assert not torch.equal(one.classifier[1].weight, other.classifier[1].weight)  # type: ignore[index,union-attr]
    for name, module in one.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
        if isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            assert 0.95 * bound < module.weight.abs().max() <= bound and 0 < module.bias.abs().max() <= bound


def test_dropout_is_before_the_head_and_only_in_training() -> None:
    model = tiny(TINY.model_copy(update={"dropout": 0.5}))
    assert dropouts(model) == [0.5]
    before: list[Tensor] = []
    after: list[Tensor] = []
    model.classifier.register_forward_pre_hook(lambda module, given: before.append(given[0]))  # type: ignore[operator]
    model.classifier[1].register_forward_pre_hook(lambda module, given: after.append(given[0]))  # type: ignore[index,union-attr]
    model.train()(pictures(200, 32))
    model.eval()(pictures(200, 32))
    kept, whole = ((there.flatten(1) != 0, left != 0) for there, left in zip(before, after, strict=True))
    assert after[0].shape == (200, 48) and kept[1].sum() / kept[0].sum() == pytest.approx(0.5, abs=0.05)
    assert whole[0].any() and torch.equal(*whole), "nothing is dropped when it judges"


def test_the_backbone_is_all_but_the_head() -> None:
    names = [name for name, _ in tiny().named_parameters()]
    assert [name for name in names if not name.startswith(BACKBONE)] == ["classifier.1.weight", "classifier.1.bias"]


def test_saved_and_loaded_it_says_the_same_and_drops_the_same(tmp_path: Path) -> None:
    model = tiny().to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    model(pictures())
    extra = {"classes": list(LABELS), "mean": [0.485, 0.456, 0.406], "features": {"side": 224}}
    folder = tmp_path / "kept"
    folder.mkdir()
    save_model(model, folder, extra)

    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert saved_extra(folder) == extra
    loaded = load_model(folder)
    assert not loaded.training and dropouts(loaded) == [0.3]
    with torch.no_grad():
        torch.testing.assert_close(loaded(pictures()).logits, model(pictures()).logits)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    assert loaded.config.id2label == dict(enumerate(LABELS))  # type: ignore[union-attr]


def test_transformers_alone_can_load_the_folder(tmp_path: Path) -> None:
    model = tiny().eval()
    found = AutoModelForImageClassification.from_pretrained(saved(tmp_path / "kept", model))
    with torch.no_grad():
        assert torch.equal(found(pictures()).logits, model(pictures()).logits)


def test_a_local_folder_with_other_classes_and_another_dropout(tmp_path: Path) -> None:
    first = tiny()
    folder = saved(tmp_path / "first", first)
    config = ResNetConfig(pretrained=str(folder), dropout=0.1)

    model, again = (build_resnet(config, labels=("a", "b"), seed=9) for _ in range(2))

    assert model(pictures()).logits.shape == (3, 2) and dropouts(model) == [0.1]
    assert model.config.id2label == {0: "a", 1: "b"}  # type: ignore[union-attr]
    kept = [name for name in first.state_dict() if not name.startswith("classifier")]
    assert len(kept) > 100
    assert all(torch.equal(model.state_dict()[name], first.state_dict()[name]) for name in kept)
    heads = [net.state_dict()["classifier.1.weight"] for net in (model, again)]
    assert torch.equal(*heads)
    assert dropouts(load_model(saved(tmp_path / "second", model))) == [0.1]


def test_what_pretrained_means() -> None:
    assert (ResNetConfig().weights, ResNetConfig(pretrained=False).weights) == (PUBLISHED, None)
    assert ResNetConfig().identity() == ResNetConfig(pretrained=PUBLISHED).identity()
    assert ResNetConfig(pretrained=False).identity() == ResNetConfig(pretrained=None).identity()
    assert read_config(ResNetConfig, {"pretrained": True, "widths": [16, 16, 16, 16]}, "a file").widths == (
        16,
        16,
        16,
        16,
    )
    for said, sentence in (
        ({"pretrained": "models/mine"}, None),
        ({"pretrained": "./models/mine"}, "neither the whole path of a folder"),
        ({"arch": "resnet50"}, "expected resnet18"),
        ({"widths": [16, 16, 8, 16]}, "`widths` holds 8: expected a multiple of 16"),
        ({"dropout": 1.0}, "less than 1"),
    ):
        if sentence is None:
            assert read_config(ResNetConfig, said, "a file").weights == said["pretrained"]
            continue
        with pytest.raises(ConfigError, match=sentence):
            read_config(ResNetConfig, said, "a file")


def test_local_weights_are_what_they_say_not_where_they_lie(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", tiny())
    other = shutil.copytree(one, tmp_path / "other")
    before = ResNetConfig(pretrained=str(one)).identity()
    assert ResNetConfig(pretrained=str(other)).identity() == before and str(one) not in str(before)
    changed = load_file(other / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in changed.items()}, other / "model.safetensors")
    os.utime(other / "model.safetensors", ns=(1, 1))
    assert ResNetConfig(pretrained=str(other)).identity() != before


def test_a_folder_as_the_hub_has_it_says_nothing_of_dropout(tmp_path: Path) -> None:
    published = AutoModelForImageClassification.from_config(
        Architecture(embedding_size=16, hidden_sizes=[16, 16, 16, 16], depths=[2] * 4, layer_type="basic")
    )
    folder = saved(tmp_path / "hub", published)
    assert "dropout" not in (folder / "config.json").read_text(encoding="utf-8")
    model = build_resnet(ResNetConfig(pretrained=str(folder), dropout=0.4), labels=LABELS, seed=1)
    assert dropouts(model) == [0.4]
    for name, weight in published.state_dict().items():
        assert name.startswith("classifier") or torch.equal(model.state_dict()[name], weight)


def test_weights_that_are_missing_or_of_another_network_are_not_made_up(tmp_path: Path) -> None:
    folder = saved(tmp_path / "part", tiny())
    whole, config = load_file(folder / "model.safetensors"), ResNetConfig(pretrained=str(folder))
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    (folder / "config.json").write_text(json.dumps(written | {"depths": [2, 2, 2, 1]}))
    with pytest.raises(ModelUnavailable, match=r"\[2, 2, 2, 1\] basic blocks .*; resnet18 has \[2, 2, 2, 2\]"):
        build_resnet(config, labels=LABELS, seed=1)

    (folder / "config.json").write_text(json.dumps(written))
    thin = DroppingResNet(
        Architecture(embedding_size=16, hidden_sizes=[16, 8, 16, 16], depths=[2] * 4, layer_type="basic")
    )
    with pytest.raises(ModelUnavailable, match="8 channels in a stage; torch computes it safely in steps of 16 only"):
        build_resnet(ResNetConfig(pretrained=str(saved(tmp_path / "thin", thin))), labels=LABELS, seed=1)

    gone = next(name for name in whole if name.endswith("running_var"))
    save_file({name: tensor for name, tensor in whole.items() if name != gone}, folder / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"1 weights are missing, the first is .*running_var"):
        build_resnet(config, labels=LABELS, seed=1)

    (folder / "model.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(ModelUnavailable, match="part holds no ResNet that can be loaded"):
        build_resnet(config, labels=LABELS, seed=1)

    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelUnavailable, match="holds a network of the kind 'bert'; known are"):
        load_model(folder)


def test_sizes_without_effect_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = saved(tmp_path / "small", tiny())
    with caplog.at_level(logging.WARNING):
        build_resnet(ResNetConfig(pretrained=str(folder), widths=(16, 16, 16, 16)), labels=LABELS, seed=1)
    assert "model.widths has no effect" in caplog.text


UNREACHABLE = """
import sys
from ml.models.hub import ModelUnavailable, weights_folder
from ml.models.resnet_config import ResNetConfig
try:
    weights_folder(ResNetConfig(pretrained=True).weights)
except ModelUnavailable as problem:
    print(problem, "torch" in sys.modules)
"""


def test_imagenets_weights_that_cannot_be_had_are_said_with_the_remedies(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", UNREACHABLE],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert "'microsoft/resnet-18' are not on this machine" in ended.stdout
    assert "connect this machine to the internet once" in ended.stdout
    assert "into a folder and set model.pretrained to it" in ended.stdout and "random weights" in ended.stdout
    assert ended.stdout.strip().endswith("False"), "settings are read and refused without torch"
