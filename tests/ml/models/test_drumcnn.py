"""DrumCNN as it was specified: its layers, its size, its names; saved, found again, and begun from other weights."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ml.models.drumcnn import FIRST_BLOCKS, OUTPUTS, DrumCNN, build_drumcnn, from_state
from ml.models.drumcnn_config import DrumCNNConfig
from ml.models.hub import ModelUnavailable
from ml.models.saved import load_model, save_model, saved_extra

SMALL = DrumCNNConfig(channels=(8, 16, 16, 32))


def test_the_usual_network_has_the_parameters_of_its_layers() -> None:
    model = build_drumcnn(DrumCNNConfig(), seed=0)
    assert sum(weight.numel() for weight in model.parameters()) == 391_884
    layers = [name for name, _ in model.named_children()]
    assert layers == [
        "conv1",
        "bn1",
        "conv2",
        "bn2",
        "conv3",
        "bn3",
        "conv4",
        "bn4",
        "pool",
        "average",
        "dropout",
        "fc",
    ]
    assert model.dropout.p == 0.3 and OUTPUTS == 12


def test_it_computes_what_the_document_writes_out() -> None:
    model = build_drumcnn(SMALL, seed=1).eval()
    pictures = torch.randn(3, 1, 40, 24)
    blocks: list[nn.Module] = []
    for number in range(1, 5):
        pool = nn.MaxPool2d(2) if number < 4 else nn.AdaptiveAvgPool2d(1)
        blocks += [getattr(model, f"conv{number}"), getattr(model, f"bn{number}"), nn.ReLU(), pool]
    written_out = nn.Sequential(*blocks, nn.Flatten(), model.dropout, model.fc)
    with torch.inference_mode():
        assert torch.allclose(model(pictures).logits, written_out(pictures), atol=1e-6)


def test_the_seed_alone_decides_the_first_weights() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build_drumcnn(SMALL, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])
    assert torch.equal(before, torch.get_rng_state()), "nobody else's numbers are used up"


def test_what_rests_while_the_rest_is_tuned_are_the_first_two_blocks() -> None:
    names = [name for name, _ in build_drumcnn(SMALL, seed=0).named_parameters() if name.startswith(FIRST_BLOCKS)]
    assert {name.partition(".")[0] for name in names} == {"conv1", "bn1", "conv2", "bn2"}


def test_a_saved_network_is_the_same_and_says_what_was_said_of_it(tmp_path: Path) -> None:
    model = build_drumcnn(SMALL, seed=3)
    save_model(model, tmp_path, {"sample_rate": 44_100})
    found = load_model(tmp_path)
    assert isinstance(found, DrumCNN) and not found.training and found.config == SMALL
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())
    assert saved_extra(tmp_path) == {"sample_rate": 44_100}


def test_a_folder_that_is_no_whole_network_is_refused(tmp_path: Path) -> None:
    save_model(build_drumcnn(SMALL, seed=3), tmp_path, {})
    said = tmp_path / "config.json"
    whole = said.read_text()
    said.write_text(whole.replace('"dropout": 0.3', '"dropout": 3'))
    with pytest.raises(ModelUnavailable, match="dropout"):
        load_model(tmp_path)
    said.write_text(whole)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelUnavailable, match="no DrumCNN that can be loaded"):
        load_model(tmp_path)


def test_weights_alone_say_which_network_they_are_of() -> None:
    state = build_drumcnn(SMALL, seed=4).state_dict()
    without_counters = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    found = from_state(without_counters, "x.pth")
    assert found.config.channels == SMALL.channels and not found.training
    assert torch.equal(found.fc.weight, state["fc.weight"])
    for broken in ({}, {**state, "fc.weight": torch.zeros(3, 3)}, {**state, "conv1.weight": torch.zeros(())}):
        with pytest.raises(ModelUnavailable, match=r"^x\.pth holds no DrumCNN: "):
            from_state(broken, "x.pth")


def test_a_network_begins_with_what_fits_of_a_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = build_drumcnn(SMALL, seed=6)
    before.fc = nn.Linear(32, 5)
    torch.save(before.state_dict(), tmp_path / "others.pth")
    config = SMALL.model_copy(update={"checkpoint": str(tmp_path / "others.pth")})
    with caplog.at_level(logging.WARNING):
        model = build_drumcnn(config, seed=7)
    assert torch.equal(model.conv3.weight, before.conv3.weight)
    assert torch.equal(model.fc.weight, build_drumcnn(SMALL, seed=7).fc.weight)
    assert "fc.weight, fc.bias of another shape, left as drawn" in caplog.text
    save_model(model, tmp_path, {})
    (tmp_path / "others.pth").unlink()
    assert isinstance(load_model(tmp_path), DrumCNN), "a model needs nothing that it once began with"


def test_a_checkpoint_is_named_by_its_whole_path_and_stands_by_its_content(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="whole path"):
        DrumCNNConfig(checkpoint="weights.pth")
    for name, seed in (("a.pth", 1), ("b.pth", 1), ("c.pth", 2)):
        torch.save({"fc.bias": torch.full((12,), float(seed))}, tmp_path / name)
    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes())
    one, same, other = (
        DrumCNNConfig(checkpoint=str(tmp_path / name)).identity() for name in ("a.pth", "b.pth", "c.pth")
    )
    assert one == same != other
    gone = DrumCNNConfig(checkpoint=str(tmp_path / "gone.pth"))
    assert gone.identity()["checkpoint"] == str(tmp_path / "gone.pth")
    with pytest.raises(ModelUnavailable, match=r"gone\.pth is no file that is there"):
        build_drumcnn(gone, seed=0)
