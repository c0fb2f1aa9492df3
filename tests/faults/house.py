"""`nocturne up` on a small lab with short nights: a real webserver, daemon and code server, real runs."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from ml.config import merge
from ml.studies.concert.study import CONCERT
from orchestration.instance_home import prepare_instance
from orchestration.nights import marks
from orchestration.nights.runs import NightRun
from orchestration.reaper import process_of
from tests.orchestration.servers import answers, free_port, kill, press_ctrl_c, start_python, wait_until
from tests.small_lab import TINY, environment, small_corpus, small_lab, write_yaml

UP = """
import sys
from pathlib import Path
from orchestration.up import run_up
sys.exit(run_up(Path(sys.argv[1]), int(sys.argv[2]), "tests.faults.definitions"))
"""
MODE = "hour"
STARTS, GRACE = dt.time(17, 0, 1), 8.0
"""When the nights begin by the clock of the handles (no full minute, so that no schedule is waited for), and the
seconds of grace after the bell."""
HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True)
class EpochLine:
    """What was told of one epoch: begun, kept, or poisoned (then `key` is a trial)."""

    word: str
    key: str
    epoch: int
    pid: int
    at: float
    """Seconds since 1970."""


@dataclass
class House:
    """One lab, the `up` that serves it, and the clock on its wall."""

    folder: Path
    trials: int = 3
    epochs: int = 4
    attempts: int = 5
    grace: float = GRACE
    length: dt.timedelta = dt.timedelta(minutes=20)
    """From the beginning of a night to its bell."""
    port: int = field(default_factory=free_port)
    up: Any = None
    evening: dt.date = field(default_factory=lambda: dt.datetime.now(dt.UTC).date())
    seed: int = 0

    def __post_init__(self) -> None:
        self.handles.mkdir(parents=True)
        self.corpus = small_corpus(self.folder / "corpus")
        self.bench = small_lab(self.folder / "lab", self.corpus)
        self.new_work()
        write_yaml(self.bench.lab.nights_file, {"keep_free_gb": 0.0})
        self._write()

    @property
    def handles(self) -> Path:
        return self.folder / "handles"

    @property
    def names(self) -> list[str]:
        """The trials of the nights."""
        return [trial.name for trial in self.bench.trials(CONCERT).trials if trial.mode == MODE]

    # --- nights ----------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        window = {"seconds": 2.97, "hop_seconds": 0.7}  # many windows: an epoch takes a while
        training = {"epochs": self.epochs, "batch": 16, "learning_rate": 1e-3}
        said = {
            "night": self.hours() | {"mode": MODE},
            "trials_per_run": 2,
            "trial": {"window": window, "training": training},
        }
        write_yaml(self.bench.lab.studies_file, {"concert": merge(TINY, said)})

    def hours(self) -> dict[str, Any]:
        """A study's nights, as its settings say them."""
        ends = (dt.datetime.combine(self.evening, STARTS) + self.length).time()
        begins_and_ends = {"starts": f"{STARTS:%H:%M:%S}", "ends": f"{ends:%H:%M:%S}", "timezone": "UTC"}
        return begins_and_ends | {"attempts": self.attempts, "grace_seconds": self.grace}

    @property
    def bell(self) -> dt.datetime:
        """When the clock on the wall shows the end of this night."""
        return dt.datetime.combine(self.evening, STARTS, dt.UTC) + self.length

    def next_evening(self, before_seconds: float = 2.0) -> None:
        """So long before the next night begins, by the clock on the wall."""
        self.evening += dt.timedelta(days=1)
        self.set_clock(dt.datetime.combine(self.evening, STARTS, dt.UTC) - dt.timedelta(seconds=before_seconds))

    def new_work(self) -> None:
        """All trials of the nights are to be done, with a seed that no night had."""
        self.seed += 1
        strengths = [round(number / 100, 2) for number in range(self.trials)]
        said = {"seed": self.seed, "grid": {"balance_strength": strengths}}
        write_yaml(self.bench.lab.experiments("concert") / f"{MODE}.yaml", said)

    def ring(self) -> None:
        """It is the moment of the bell."""
        self.set_clock(self.bell)

    def set_clock(self, shows: dt.datetime) -> None:
        self._offset((shows - dt.datetime.now(dt.UTC)).total_seconds())

    def clock(self) -> dt.datetime:
        """What the clock on the wall shows."""
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=float((self.handles / "clock").read_text()))

    def move_clock(self, by: dt.timedelta) -> None:
        self._offset(float((self.handles / "clock").read_text()) + by.total_seconds())

    def _offset(self, seconds: float) -> None:
        beside = self.handles / "clock.new"
        beside.write_text(f"{seconds:.3f}")
        beside.replace(self.handles / "clock")

    # --- processes -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Until the page answers; what was killed with a lock in its hands may take a moment to be gone."""
        deadline = time.monotonic() + 120
        while True:
            self.up = self.another_up("up")
            wait_until(lambda: self.up.poll() is not None or "ready: " in self.said(), 180, "up is ready")
            if self.up.poll() is None:
                break
            assert time.monotonic() < deadline, self.said()
            time.sleep(1)
        assert answers(self.port)

    def another_up(self, output: str) -> subprocess.Popen[bytes]:
        (self.folder / f"{output}.txt").write_text("")
        arguments = ["-c", UP, str(self.bench.lab.root), str(self.port)]
        return start_python(arguments, self.folder / f"{output}.txt", self.surroundings())

    def surroundings(self) -> dict[str, str]:
        return environment(self.bench, NOCTURNE_FAULTS=str(self.handles), DAGSTER_HOME=str(self.bench.lab.dagster_home))

    def said(self, output: str = "up") -> str:
        return (self.folder / f"{output}.txt").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """As Ctrl+C does; whatever is left is killed."""
        if self.up is not None and self.up.poll() is None:
            press_ctrl_c(self.up)
            try:
                self.up.wait(60)
            except subprocess.TimeoutExpired:
                kill(self.up.pid)
                self.up.wait()
        self.kill_everything()

    def part(self, words: str) -> psutil.Process:
        """The child of `up` in whose command line `words` stand."""
        found = [one for one in psutil.Process(self.up.pid).children() if words in " ".join(one.cmdline())]
        assert len(found) == 1, f"{words}: {found}"
        return found[0]

    def processes(self) -> list[psutil.Process]:
        """Everything that works in this lab."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("NOCTURNE_LAB") == str(self.bench.lab.root):
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.pid != os.getpid()]

    def kill_everything(self) -> int:
        """Each by its id, first all stopped, so that none sees another die: as when the power goes."""
        found = self.processes()
        for process in found:
            try:
                process.suspend()
            except psutil.Error:
                continue
        for process in found:
            kill(process.pid)
        if self.up is not None:
            self.up.wait()
        return len(found)

    # --- books -----------------------------------------------------------------------------------------------------

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        prepare_instance(self.bench.lab.dagster_home)
        with dg.DagsterInstance.from_config(str(self.bench.lab.dagster_home)) as opened:
            yield opened

    def runs(self, evening: dt.date | None = None) -> list[NightRun]:
        """The runs of one night, this one's else, oldest first."""
        from orchestration.nights.runs import runs_of

        with self.instance() as instance:
            return runs_of(instance, f"concert {evening or self.evening}")

    def unfinished(self) -> list[dg.DagsterRun]:
        """Every run that Dagster believes to wait or to be at work."""
        with self.instance() as instance:
            return list(instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)))

    def working(self) -> list[tuple[dg.DagsterRun, int]]:
        """The runs of nights that a living process executes, and its id."""
        found = []
        with self.instance() as instance:
            started = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
            for run in instance.get_runs(dg.RunsFilter(statuses=started)):
                process = process_of(instance, run)
                if marks.NIGHT in run.tags and process is not None and psutil.pid_exists(process.pid):
                    found.append((run, process.pid))
        return found

    def epochs_told(self, skip: int = 0) -> list[EpochLine]:
        """What was told of epochs, but for the first so many lines."""
        path = self.handles / "epochs"
        lines = path.read_text().splitlines() if path.is_file() else []
        split = (line.split() for line in lines[skip:])
        return [EpochLine(word, key, int(epoch), int(pid), float(at)) for word, key, epoch, pid, at in split]

    def finished(self) -> set[str]:
        """The trials of the nights that are done as they are asked for now."""
        from orchestration.plan import trial_states

        return {one.trial.name for one in trial_states(self.bench, CONCERT) if one.state == "done"} & set(self.names)

    def wait_for(self, true: Callable[[], Any], seconds: float, what: str) -> Any:
        """As `wait_until`, and says what `up` said last where it does not come true."""
        try:
            return wait_until(true, seconds, what)
        except AssertionError as problem:
            last = "\n".join(self.said().splitlines()[-15:])
            raise AssertionError(f"{problem}\n{last}") from None


@contextmanager
def house_at(folder: Path, **more: Any) -> Iterator[House]:
    """A house that is up, and gone in the end."""
    made = House(folder, **more)
    try:
        made.start()
        yield made
    finally:
        made.stop()
