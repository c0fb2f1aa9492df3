"""What computes: resolved by rules, threads by measurement."""

from __future__ import annotations

import json

import pytest
import torch

from ml.config import ConfigError, read_config
from ml.training.machine import (
    Machine,
    MachineConfig,
    MachineError,
    fastest,
    measure_threads,
    processor_has_bf16,
    processors,
    resolve_machine,
)


def test_resolved_on_a_processor_it_says_all_there_is_to_know() -> None:
    machine = resolve_machine(MachineConfig(device="cpu", threads=1))
    assert (machine.device, machine.device_type, machine.threads) == ("cpu", "cpu", 1)
    assert machine.bf16 == processor_has_bf16()
    assert machine.precision == ("bf16" if machine.bf16 else "fp32"), "a rule, no measurement: it changes numbers"
    assert machine.name in machine.describe() and "no GPU" in machine.describe() and "1 thread" in machine.describe()


def test_threads_are_measured_and_torch_is_left_as_it_was() -> None:
    torch.set_num_threads(1)
    measured = measure_threads("fp32", budget_seconds=0.2)
    assert torch.get_num_threads() == 1
    assert set(measured) <= set(range(1, processors() + 1)) and 1 in measured
    assert processors() == 1 or all(seconds > 0 for seconds in measured.values())
    assert 1 <= resolve_machine(MachineConfig(device="cpu", precision="fp32")).threads <= processors()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 1.0, 2: 0.55, 4: 0.3}, 4),
        ({1: 1.0, 2: 0.95, 4: 0.97}, 1),
        ({1: 1.0, 2: 9.0}, 1),
        ({1: 1.0, 2: 0.6, 4: 0.55, 8: 2.0}, 2),
        ({1: 0.0}, 1),
    ],
)
def test_more_threads_only_where_they_pay(seconds: dict[int, float], expected: int) -> None:
    assert fastest(seconds) == expected


def test_written_down_and_read_again_it_is_the_same() -> None:
    machine = Machine(device="cuda:1", precision="bf16", threads=4, name="A GPU", bf16=True)
    assert Machine.from_json(json.loads(json.dumps(machine.as_json()))) == machine
    assert machine.device_type == "cuda" and "no GPU" not in machine.describe()


def test_autocast_follows_the_precision() -> None:
    one, other = torch.ones(2, 2), torch.ones(2, 2)
    for precision, expected in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        machine = resolve_machine(MachineConfig(device="cpu", threads=1, precision=precision))  # type: ignore[arg-type]
        with machine.autocast():
            assert (one @ other).dtype == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_with_the_remedy() -> None:
    with pytest.raises(MachineError, match=r"device is cuda, but torch .* finds no GPU: .*set device to auto"):
        resolve_machine(MachineConfig(device="cuda"))


@pytest.mark.parametrize("said", [{"device": "gpu"}, {"precision": "fp16"}, {"threads": "many"}])
def test_misspelled_settings_are_refused(said: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(said))):
        read_config(MachineConfig, said, "machine.yaml")


def test_no_threads_at_all_are_refused() -> None:
    with pytest.raises(MachineError, match="threads is 0: at least 1"):
        resolve_machine(MachineConfig(device="cpu", threads=0))
