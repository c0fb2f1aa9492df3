"""Weights of others: read in every usual form, never run, and laid over a network as far as they fit."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ml.models.checkpoint import load_checkpoint, transfer
from ml.models.hub import ModelUnavailable

STATE = {"one.weight": torch.arange(6.0).reshape(2, 3), "one.bias": torch.ones(2)}


class Exploit:
    """What a malicious file does when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"echo was here > '{self._trace}'",)


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    "whole",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model_state_dict": STATE},
        {f"module.{name}": value for name, value in STATE.items()},
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.pt"])
def test_a_state_dict_is_read_as_training_programs_write_it(tmp_path: Path, whole: Any, name: str) -> None:
    torch.save(whole, tmp_path / name)
    assert same(load_checkpoint(tmp_path / name))


def test_old_files_of_torch_are_read(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(load_checkpoint(tmp_path / "old.pth"))


def test_safetensors_and_the_folder_of_a_model_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    assert same(load_checkpoint(tmp_path / "model.safetensors")) and same(load_checkpoint(tmp_path))


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickled_exploit_is_refused_and_does_nothing(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    for name, write in (
        ("torch.pth", lambda where: torch.save({"a": Exploit(trace)}, where, pickle_protocol=protocol)),
        ("plain.pt", lambda where: where.write_bytes(pickle.dumps({"a": Exploit(trace)}, protocol=protocol))),
    ):
        write(tmp_path / name)
        with pytest.raises(ModelUnavailable, match=rf"{name} is pickled and holds more than weights.*run code") as told:
            load_checkpoint(tmp_path / name)
        assert "weights_only" not in str(told.value), "nobody is told how to switch the protection off"
        assert not trace.exists()
    # The exploit is a real one: it works where nothing protects.
    torch.load(tmp_path / "torch.pth", weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.pth", b"", "holds no weights that can be read"),
        ("text.pth", b"hello hello hello", "holds no weights that can be read"),
        ("text.safetensors", b"hello hello hello", "holds no weights that can be read"),
        ("model.onnx", b"x", r"ends in \.onnx; what can be read is"),
    ],
)
def test_what_holds_no_weights_is_refused_in_a_sentence(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelUnavailable, match=sentence):
        load_checkpoint(tmp_path / name)


def test_a_half_written_file_is_refused(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelUnavailable, match="damaged"):
        load_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("held", [torch.ones(3), {"a": 1}, {}, [torch.ones(2)], {1: torch.ones(2)}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, held: Any) -> None:
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(ModelUnavailable, match="no state dict"):
        load_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (torch.tensor([1.0, float("nan")]), "NaN"),
        (torch.tensor([float("inf")]), "infinite"),
        (torch.ones(2).to_sparse(), "no plain array"),
        (torch.ones(2, dtype=torch.complex64), "no plain array"),
        (torch.ones(2, device="meta"), "no plain array"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8), "no plain array"),
    ],
)
def test_weights_that_no_network_has_are_refused(tmp_path: Path, value: Tensor, sentence: str) -> None:
    torch.save({"a": torch.ones(1), "b": value}, tmp_path / "w.pth")
    with pytest.raises(ModelUnavailable, match=rf"w\.pth: b .*{sentence}"):
        load_checkpoint(tmp_path / "w.pth")


def test_a_folder_without_weights_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for place in (tmp_path, tmp_path / "pipe.pth", tmp_path / "gone.pth"):
        with pytest.raises(ModelUnavailable, match="is no file that is there"):
            load_checkpoint(place)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))


def test_what_fits_is_taken_and_what_does_not_is_said() -> None:
    model, before = network(), network().state_dict()
    model.load_state_dict(before)
    state = {"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(9), "2.bias": torch.ones(2), "head": torch.ones(1)}
    notes = transfer(model, state, "w.pth")
    assert notes == [
        "w.pth: 1.weight, 1.bias, 1.running_mean and 2 more missing in it, left as drawn",
        "w.pth: 0.bias of another shape, left as drawn",
        "w.pth: head unknown to this network, not used",
    ]
    now = model.state_dict()
    assert torch.equal(now["0.weight"], torch.ones(2, 3)) and torch.equal(now["2.bias"], torch.ones(2))
    assert all(torch.equal(now[name], before[name]) for name in ("0.bias", "1.weight", "2.weight"))


def test_the_same_network_fits_without_a_word() -> None:
    state = network().state_dict()
    del state["1.num_batches_tracked"]
    assert transfer(network(), state, "w.pth") == []


def test_another_network_altogether_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match=r"w\.pth holds 2 weights, of which none"):
        transfer(network(), STATE, "w.pth")
