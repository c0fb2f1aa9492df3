"""Who holds the GPU, asked of a stand-in for nvidia-smi with real processes; the room on a real disk; nights.yaml."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml.config import ConfigError
from orchestration.lease import machine_lease
from orchestration.nights.guards import disk_problem, gpu_problem, holdup
from orchestration.nights.lab_nights import NightsOfLab, nights_of_lab
from orchestration.plan import free_bytes
from orchestration.resources import Bench
from storage import durable
from storage.lab import Lab
from tests.small_lab import write_yaml

Holds = Callable[..., None]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A lab that computes on a GPU, as far as is written down there."""
    bench = Bench(Lab.open(tmp_path / "lab"))
    durable.write_sealed(bench.lab.root / "machine-resolved.json", {"for": "here", "machine": {"device": "cuda"}})
    write_yaml(bench.lab.nights_file, {"keep_free_gb": 0})
    return bench


@pytest.fixture
def holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Holds:
    """Makes nvidia-smi say who holds how many MiB of the GPU."""
    if os.name == "nt":
        pytest.skip("the stand-in is a script with a first line for the kernel")

    def say(*lines: tuple[int, str, str]) -> None:
        told = "\n".join(f"{pid}, {name}, {mib}" for pid, name, mib in lines)
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\nprint({told!r})\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return say


@pytest.fixture
def other(bench: Bench) -> Iterator[Callable[[Path | None], int]]:
    """Starts a process, that works in a lab where one is said; its id."""
    started: list[subprocess.Popen[bytes]] = []

    def start(lab: Path | None) -> int:
        environment = {name: value for name, value in os.environ.items() if name != "NOCTURNE_LAB"}
        environment |= {"NOCTURNE_LAB": str(lab)} if lab else {}
        code = "import sys; print(1, flush=True); sys.stdin.read()"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes))  # type: ignore[call-overload]
        assert started[-1].stdout is not None and started[-1].stdout.readline()
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_night_waits_for_a_large_stranger_and_says_for_whom(bench: Bench, holds: Holds, other: Callable) -> None:
    pid = other(None)
    holds((pid, "blender", "6000"))
    said = gpu_problem(bench)
    assert f"the GPU is held by blender (process {pid}, 6,000 MiB): the night waits until that has ended" in said
    assert holdup(bench) == said
    write_yaml(bench.lab.nights_file, {"gpu_wait": False, "keep_free_gb": 0})
    assert gpu_problem(bench) == "" and holdup(bench) == ""


def test_desktops_and_what_the_driver_does_not_tell_are_let_be(bench: Bench, holds: Holds, other: Callable) -> None:
    pid = other(None)
    holds((pid, "gnome-shell", "900"), (pid, "C:\\Games\\game.exe", "[N/A]"))
    assert gpu_problem(bench) == ""
    write_yaml(bench.lab.nights_file, {"gpu_spares_mib": 500})
    assert "gnome-shell" in gpu_problem(bench)


def test_processes_of_this_lab_are_no_strangers_and_those_of_another_are(
    bench: Bench, holds: Holds, other: Callable, tmp_path: Path
) -> None:
    own, another = other(bench.lab.root), other(tmp_path / "another")
    holds((own, "python", "6000"), (os.getpid(), "python", "6000"))
    assert gpu_problem(bench) == ""
    holds((own, "python", "6000"), (another, "python", "7000"))
    assert "7,000 MiB" in gpu_problem(bench) and "6,000" not in gpu_problem(bench)


def test_who_was_lent_the_machine_is_no_stranger_while_it_lives(bench: Bench, holds: Holds, other: Callable) -> None:
    pid = other(None)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    holder = {"what": "a trial", "pid": pid, "since": now}
    durable.write_sealed(bench.lab.machine_holder_file, holder)
    holds((pid, "python", "6000"))
    assert gpu_problem(bench) == ""
    durable.write_sealed(bench.lab.machine_holder_file, holder | {"since": "2020-01-01T00:00:00+00:00"})
    assert "python" in gpu_problem(bench), "the id was given again"


def test_the_lease_notes_what_the_guard_reads(bench: Bench, holds: Holds) -> None:
    from ml.training.machine import Machine

    cpu = Machine(device="cpu", precision="fp32", threads=1, name="a processor", bf16=False)
    with machine_lease(bench.lab, cpu, "a trial", print):
        said = durable.read_sealed(bench.lab.machine_holder_file)
    assert said["pid"] == os.getpid() and dt.datetime.fromisoformat(said["since"]).tzinfo is not None


def test_a_lab_without_a_gpu_asks_nobody(bench: Bench, holds: Holds, other: Callable) -> None:
    holds((other(None), "blender", "6000"))
    durable.write_sealed(bench.lab.root / "machine-resolved.json", {"for": "here", "machine": {"device": "cpu"}})
    assert gpu_problem(bench) == ""
    (bench.lab.root / "machine-resolved.json").unlink()
    assert "blender" in gpu_problem(bench), "before the first run nobody knows: rather wait"


def test_a_nearly_full_disk_holds_a_night_up_and_says_what_to_do(bench: Bench) -> None:
    free = free_bytes(bench.lab.root)
    assert disk_problem(bench) == ""
    write_yaml(bench.lab.nights_file, {"keep_free_gb": free / 1e9 * 2})
    said = disk_problem(bench)
    assert "are to stay free" in said and "nocturne clean" in said and str(bench.lab.nights_file) in said
    assert holdup(bench) == said


def test_nights_yaml_is_read_strictly_and_may_be_missing(bench: Bench) -> None:
    bench.lab.nights_file.unlink()
    assert nights_of_lab(bench.lab) == NightsOfLab()
    assert NightsOfLab().keep_free_bytes == 5_000_000_000 and NightsOfLab().budget_bytes is None
    write_yaml(bench.lab.nights_file, {"budget_gb": 40, "on_morning": "notify-send 'a night'"})
    said = nights_of_lab(bench.lab)
    assert said.budget_bytes == 40_000_000_000
    assert said.morning_command(Path("r.html")) == ["notify-send", "a night", "r.html"]
    assert NightsOfLab(on_morning=["a b", "c"]).morning_command(Path("r.html")) == ["a b", "c", "r.html"]
    assert NightsOfLab().morning_command(Path("r.html")) == []
    for wrong in ({"budget": 3}, {"budget_gb": 0}, {"keep_free_gb": -1}, {"gpu_wait": "no"}, {"on_morning": 3}):
        write_yaml(bench.lab.nights_file, wrong)
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            nights_of_lab(bench.lab)


def test_a_folder_in_which_nights_yaml_was_written_before_becomes_a_lab(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "nights.yaml").write_text("budget_gb: 4\n")
    assert nights_of_lab(Lab.open(tmp_path / "lab")).budget_gb == 4
