"""What may go wrong in a night: each fault at a moment that the seed has drawn, to real processes and real files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from orchestration.up import ALREADY_UP, PART_DIED
from tests.faults.house import HOUR, House
from tests.orchestration.servers import kill, press_ctrl_c, start_python, wait_until
from tests.small_lab import write_yaml

SHELL = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "ro")
print(connection.execute("select count(*) from attempts").fetchone()[0], flush=True)
sys.stdin.readline()
"""


class TooLate(Exception):
    """The trials of the night were done before the fault could strike."""


@dataclass
class Night:
    """One night in which something goes wrong, and what is to be known of it afterwards."""

    house: House
    rng: random.Random
    most: int
    """After so many epochs at most comes the first strike, or the next."""
    until_the_end: ExitStack
    """What is undone when the trials of the night are done."""
    held: ExitStack = field(default_factory=ExitStack)
    """What holds the database open, until the next one does."""
    killed: int = 0
    strikes: int = 0
    poisoned: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def say(self, words: str) -> None:
        self.told.append(words)

    def sleep_into(self) -> None:
        """To some moment: while the data is being prepared, or after so many epochs more, whatever happens then."""
        number = self.rng.randint(-3, self.most)
        seconds = self.rng.uniform(0.0, 4.0 if number > 0 else 12.0)
        skip, names = len(self.house.epochs_told()), set(self.house.names)

        def begun() -> bool:
            if self.house.finished() == names:
                raise TooLate
            return sum(line.word == "begun" for line in self.house.epochs_told(skip)) >= number

        self.house.wait_for(begun, 300, f"{number} epochs more are begun")
        self.say(f"{max(0, number)} epochs and {seconds:.1f} s later")
        time.sleep(seconds)

    def in_an_epoch(self) -> int:
        """At some moment of one of the next epochs; the process that trains it."""
        number, into = self.rng.randint(1, self.house.epochs), self.rng.uniform(0.0, 1.0)
        skip = len(self.house.epochs_told())

        def begun() -> list[int]:
            return [line.pid for line in self.house.epochs_told(skip) if line.word == "begun"]

        pids = self.house.wait_for(lambda: begun() if len(begun()) >= number else None, 300, f"epoch {number} begins")
        time.sleep(into * 0.5)
        self.say(f"in epoch {number} from then")
        return pids[number - 1]

    def at_work(self) -> int:
        """The process of the run that works now, else of the next one."""
        return self.house.wait_for(self.house.working, 240, "a run of the night works")[0][1]


Fault = Callable[[Night], None]


def step(night: Night) -> None:
    """SIGKILL of the process that trains, in the middle of an epoch."""
    pid = night.in_an_epoch()
    night.killed += psutil.pid_exists(pid)
    kill(pid)


def worker(night: Night) -> None:
    """SIGKILL of the run's process at any moment: looking at the source, training, evaluating, publishing."""
    night.sleep_into()
    kill(night.at_work())
    night.killed += 1


def daemon(night: Night) -> None:
    """SIGKILL of the daemon; `up` ends and is started again. The run in progress goes on."""
    night.sleep_into()
    _kill_part(night, "dagster._daemon")


def parts(night: Night) -> None:
    """SIGKILL of the webserver or of the code server; `up` ends and is started again."""
    night.sleep_into()
    _kill_part(night, night.rng.choice(["orchestration.webserver", "code-server"]))


def _kill_part(night: Night, words: str) -> None:
    night.say(words)
    kill(night.house.part(words).pid)
    night.killed += 1
    assert night.house.up.wait(90) == PART_DIED, night.house.said()
    night.house.start()


def everything(night: Night) -> None:
    """SIGKILL of everything at once, as when the power goes; then `nocturne up` again."""
    night.sleep_into()
    night.killed += night.house.kill_everything()
    time.sleep(night.rng.uniform(0.0, 3.0))
    night.house.start()


def ctrl_c(night: Night) -> None:
    """Ctrl+C to `up` in the middle of the night, and `up` again: what runs and what waits goes on."""
    night.sleep_into()
    press_ctrl_c(night.house.up)
    assert night.house.up.wait(90) == 0, night.house.said()
    night.house.start()


def source(night: Night) -> None:
    """The source folder is gone for a while as the night begins."""
    house = night.house
    time.sleep(night.rng.uniform(0.0, 6.0))
    away, gone = house.folder / "unplugged", night.rng.uniform(10.0, 25.0)
    house.corpus.rename(away)
    night.until_the_end.callback(lambda: away.exists() and away.rename(house.corpus))
    night.say(f"gone for {gone:.0f} s")
    time.sleep(gone)
    away.rename(house.corpus)


def disk(night: Night) -> None:
    """The disk of the lab is full for a while."""
    night.sleep_into()
    full = night.rng.uniform(8.0, 20.0)
    ballast = night.house.bench.lab.root.parent / "ballast"
    night.until_the_end.callback(ballast.unlink, missing_ok=True)
    night.say(f"full for {full:.0f} s")
    end = time.monotonic() + full
    with ballast.open("wb") as handle:
        while time.monotonic() < end:  # whatever becomes free meanwhile is taken too
            try:
                os.write(handle.fileno(), bytes(1 << 16))
            except OSError:
                time.sleep(0.1)
    ballast.unlink()


def shell(night: Night) -> None:
    """`results.duckdb` is held open, for reading or for writing, from some moment on until the night is over."""
    night.sleep_into()
    results = night.house.bench.lab.results
    night.until_the_end.callback(night.held.close)
    if not results.is_file():
        night.house.wait_for(results.is_file, 120, "there is a database")
    night.held.close()  # one that writes is alone, as its own users know
    mode = night.rng.choice(["ro", "rw"])
    night.say(f"held {mode}")
    arguments = [sys.executable, "-c", SHELL, str(results), mode]
    held = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    night.held.callback(held.wait)
    night.held.callback(held.kill)
    assert held.stdout is not None and held.stdout.readline().strip().isdigit(), "the shell opened it"


def clock(night: Night) -> None:
    """The clock of the machine is moved by an hour, there or back, and set right after a while."""
    night.sleep_into()
    by, wrong = night.rng.choice([HOUR, -HOUR]), night.rng.uniform(4.0, 15.0)
    night.house.move_clock(by)
    night.say(f"moved by {by / HOUR:+.0f} h for {wrong:.0f} s")
    time.sleep(wrong)
    night.house.move_clock(-by)


def twice(night: Night) -> None:
    """The night is begun twice at once: a second daemon works on the same books, and a second `up` is refused."""
    house = night.house
    workspace = house.bench.lab.dagster_home / "up-workspace.yaml"
    arguments = ["-m", "dagster._daemon", "run", "--workspace", str(workspace)]
    second = start_python(arguments, house.folder / "second-daemon.txt", house.surroundings())
    night.until_the_end.callback(second.wait)
    night.until_the_end.callback(lambda: kill(second.pid))
    refused = house.another_up("second")
    assert refused.wait(120) == ALREADY_UP, house.said("second")
    house.wait_for(lambda: "Instance is configured" in house.said("second-daemon"), 60, "the second daemon works")


def poison(night: Night) -> None:
    """One trial takes its process with it, each time."""
    victim = night.rng.choice(night.house.names)
    (night.house.handles / "poison").write_text(victim)
    night.until_the_end.callback((night.house.handles / "poison").unlink)
    night.poisoned.add(victim)
    night.say(victim)


def hang(night: Night) -> None:
    """What trains stands still; the morning ends it, and the next night goes on from its last epoch."""
    pid = night.in_an_epoch()
    os.kill(pid, signal.SIGSTOP)
    night.house.ring()
    process = psutil.Process(pid)
    wait_until(lambda: is_gone(process), 120, f"the morning ends process {pid}\n{night.house.said()[-2000:]}")
    night.killed += 1
    wait_until(lambda: not night.house.unfinished(), 60, "no run is left in the morning")
    night.house.next_evening()


def still(night: Night) -> None:
    """What trains stands still in the middle of the night; it is noticed, killed and tried again."""
    nights = night.house.bench.lab.nights_file
    before = nights.read_text(encoding="utf-8")
    night.until_the_end.callback(nights.write_text, before, encoding="utf-8")
    write_yaml(nights, {"keep_free_gb": 0.0, "standstill_minutes": STILL_MINUTES})
    pid = night.in_an_epoch()
    os.kill(pid, signal.SIGSTOP)
    process = psutil.Process(pid)
    wait_until(lambda: is_gone(process), 180, f"process {pid} is ended in the night\n{night.house.said()[-2000:]}")
    night.killed += 1
    nights.write_text(before, encoding="utf-8")


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended, waited for or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def calm(night: Night) -> None:
    """Nothing goes wrong."""


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        step,
        worker,
        daemon,
        everything,
        source,
        disk,
        shell,
        clock,
        twice,
        poison,
        hang,
        still,
        parts,
        ctrl_c,
    )
}
BEFORE_THE_NIGHT = frozenset({"twice", "poison"})
ONCE_A_NIGHT = BEFORE_THE_NIGHT | {"source", "hang", "still"}
ON_A_DISK_OF_ITS_OWN = frozenset({"disk"})
DISK_MIB = 300
STILL_MINUTES = 0.25


@contextmanager
def own_disk(folder: Path) -> Iterator[Path]:
    """A small disk at `folder`; needs the right to mount one (root, on Linux)."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True)
    if made.returncode:
        raise PermissionError(f"no disk of its own can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
