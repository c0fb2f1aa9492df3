"""`nocturne up` with its real webserver, daemon and code server, through a night with everything that can happen."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import psutil
import pytest

from ml.studies.night import NightConfig
from orchestration.nights import marks
from orchestration.nights.window import Night
from orchestration.parts import worth_showing
from orchestration.up import ALREADY_UP, PART_DIED, PORT_TAKEN, run_up, told_of_runs
from tests.orchestration.servers import (
    MODULE,
    answers,
    free_port,
    graphql,
    kill,
    launch,
    press_ctrl_c,
    runs,
    start_python,
    wait_until,
)

UP = """
import sys
from pathlib import Path
from orchestration.up import run_up
sys.exit(run_up(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@dataclass
class House:
    """One lab, and the `up` that serves it now."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: Any = None

    @property
    def lab(self) -> Path:
        return self.folder / "lab"

    def start(self) -> None:
        """Until the page answers."""
        self.process = self.another("up")
        wait_until(lambda: self.process.poll() is not None or "ready: " in self.said(), 120, "up is ready")
        assert self.process.poll() is None, self.said()
        assert answers(self.port)

    def another(self, output: str) -> subprocess.Popen[bytes]:
        (self.folder / f"{output}.txt").write_text("")
        surroundings = {"HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "elsewhere")}
        arguments = ["-c", UP, str(self.lab), str(self.port), MODULE]
        return start_python(arguments, self.folder / f"{output}.txt", surroundings)

    def said(self, output: str = "up") -> str:
        return (self.folder / f"{output}.txt").read_text()

    def parts(self) -> dict[str, psutil.Process]:
        found = {}
        for child in psutil.Process(self.process.pid).children():
            line = " ".join(child.cmdline())
            for name in ("orchestration.webserver", "dagster._daemon", "code-server"):
                if name in line:
                    found[name] = child
        return found

    def status(self, run_id: str) -> str:
        """From the books, also while nothing is up."""
        with dg.DagsterInstance.from_config(str(self.lab / "dagster")) as instance:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            return run.status.value

    def becomes(self, run_id: str, status: str, seconds: float = 60) -> None:
        wait_until(lambda: self.status(run_id) == status, seconds, f"{run_id} becomes {status}\n{self.said()}")

    def began(self) -> list[int]:
        """Ids of the processes that began the slow asset, oldest first."""
        return [int(path.read_text() or 0) for path in sorted(self.lab.glob("slow-began-*.txt"))]

    def kill_processes_of_the_lab(self) -> None:
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("NOCTURNE_LAB") == str(self.lab):
                    kill(process.pid)
            except psutil.Error:
                continue


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("up"))
    for name in ("home", "elsewhere"):
        (made.folder / name).mkdir()
    try:
        yield made
    finally:
        if made.process is not None:
            kill(made.process.pid)
            made.process.wait()
        made.kill_processes_of_the_lab()


def gone(processes: dict[str, psutil.Process]) -> Callable[[], bool]:
    return lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes.values())


@pytest.mark.slow
def test_ctrl_c_ends_it_and_neither_what_runs_nor_what_waits(house: House) -> None:
    house.start()
    parts = house.parts()
    assert set(parts) == {"orchestration.webserver", "dagster._daemon", "code-server"}
    assert f"ready: http://127.0.0.1:{house.port}" in house.said()

    # A second one on the same lab is refused, and says which one is up.
    second = house.another("second")
    assert second.wait(timeout=60) == ALREADY_UP
    assert f"process {house.process.pid} at http://127.0.0.1:{house.port}" in house.said("second")

    # Only this machine can reach it.
    everyone = [house.process.pid, *(one.pid for one in psutil.Process(house.process.pid).children(recursive=True))]
    listening = [
        (connection.laddr.ip, connection.laddr.port)
        for pid in everyone
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", house.port)]

    running, waiting = launch(house.port, "slow_job"), launch(house.port, "slow_job")
    house.becomes(running, "STARTED")
    wait_until(house.began, 60, "the asset began")
    assert house.status(waiting) == "QUEUED", "the pool lets one of them work"
    told = f"run {running[:8]} slow: waits for the word to go"
    wait_until(lambda: told in house.said(), 10, "up shows what the run says")

    press_ctrl_c(house.process)
    assert house.process.wait(timeout=60) == 0, house.said()
    assert "1 run is still working: left alone, and seen again at the next `nocturne up`." in house.said()
    assert f"run {running[:8]} (slow_job) goes on until it is done" in house.said()
    assert "To stop it sooner: `nocturne up` again, then Terminate on the page of the run" in house.said()
    assert gone({name: one for name, one in parts.items() if name != "code-server"})()
    assert not answers(house.port)
    assert house.status(running) == "STARTED"
    assert house.status(waiting) == "QUEUED"
    assert psutil.pid_exists(house.began()[0]), "the run works on"

    (house.lab / "go.txt").touch()
    house.becomes(running, "SUCCESS")
    assert (house.lab / "slow-done.txt").exists()
    wait_until(gone(parts), 30, "the code server ends after its last run")
    assert house.status(waiting) == "QUEUED"
    (house.lab / "go.txt").unlink()


@pytest.mark.slow
def test_after_a_power_cut_the_night_goes_on(house: House) -> None:
    house.start()
    waiting = runs(house.port)[0]["runId"]
    wait_until(lambda: len(house.began()) == 2, 90, "what was queued runs in the next up")
    parts = house.parts()

    # The terminal is killed: no daemon is left behind, the run goes on.
    kill(house.process.pid)
    house.process.wait()
    if sys.platform == "linux":
        del parts["code-server"]  # it ends when it has missed our heartbeat and its runs have ended
        wait_until(gone(parts), 10, "daemon and webserver end with up")
    assert house.status(waiting) == "STARTED"
    assert psutil.pid_exists(house.began()[1])

    # The power goes: whatever is left ends at once.
    house.kill_processes_of_the_lab()
    wait_until(lambda: not psutil.pid_exists(house.began()[1]), 10, "everything is gone")
    assert house.status(waiting) == "STARTED", "nobody noticed"

    house.start()
    assert house.status(waiting) == "FAILURE"
    assert f"run {waiting[:8]} (slow_job) was STARTED: " in house.said()
    wait_until(lambda: len(house.began()) == 3, 90, "the daemon tries it again")
    (house.lab / "go.txt").touch()
    retry = runs(house.port)[0]
    assert {"key": "dagster/parent_run_id", "value": waiting} in retry["tags"]
    house.becomes(retry["runId"], "SUCCESS")
    wait_until(lambda: f"run {retry['runId'][:8]}" in house.said(), 10, "up tells of the run")


@pytest.mark.slow
def test_a_reload_on_the_page_is_seen_by_the_daemon_and_a_dead_part_ends_the_rest(house: House) -> None:
    assert house.process is not None, "the test before left it up"
    location = graphql(
        house.port,
        "mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }",
        {"name": MODULE},
    )
    assert location["reloadRepositoryLocation"]["__typename"] == "WorkspaceLocationEntry"
    log = house.lab / "dagster" / "up" / "daemon.log"
    wait_until(lambda: "LOCATION_UPDATED" in log.read_text(), 30, "the daemon takes the new definitions, too")
    quick = launch(house.port, "quick_job")
    house.becomes(quick, "SUCCESS")
    parts = house.parts()

    os.kill(parts["dagster._daemon"].pid, signal.SIGKILL)
    assert house.process.wait(timeout=60) == PART_DIED
    assert "the daemon ended by itself (exit code -9)" in house.said()
    wait_until(gone(parts), 30, "the rest is ended")

    # Nothing was written outside the lab, and no lock or socket is left in it.
    assert list((house.folder / "elsewhere").iterdir()) == []
    assert list((house.folder / "home").iterdir()) == []
    assert not (house.lab / "locks" / "up.json").exists()
    assert [path for path in house.lab.rglob("*") if path.is_socket()] == []


TERMINATE = "mutation Terminate($run: String!) { terminateRun(runId: $run) { __typename } }"


@pytest.mark.slow
def test_what_ctrl_c_leaves_can_be_terminated_on_the_page_of_the_next_up(house: House) -> None:
    """As it is told; and it does not matter how often Ctrl+C was pressed."""
    (house.lab / "go.txt").unlink(missing_ok=True)
    house.start()
    before = len(house.began())
    running = launch(house.port, "slow_job")
    wait_until(lambda: len(house.began()) == before + 1, 60, "the asset began")
    code = house.parts()["code-server"]
    press_ctrl_c(house.process)
    wait_until(lambda: "ending …" in house.said(), 10, "up is ending")
    press_ctrl_c(house.process)
    assert house.process.wait(timeout=60) == 0, house.said()
    assert f"run {running[:8]} (slow_job) goes on until it is done" in house.said()
    assert code.is_running() and house.status(running) == "STARTED"

    house.start()
    answer = graphql(house.port, TERMINATE, {"run": running})["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess"
    house.becomes(running, "CANCELED")
    wait_until(gone({"code-server": code}), 30, "the code server of before ends after its last run")
    press_ctrl_c(house.process)
    assert house.process.wait(timeout=60) == 0, house.said()
    assert "still working" not in house.said()


def test_a_run_of_a_night_is_told_with_its_end_on_the_clock_of_the_night(tmp_path: Path) -> None:
    (tmp_path / "studies.yaml").write_text("concert: {night: {timezone: Asia/Tokyo}}")
    evening = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    began = evening - dt.timedelta(hours=1)
    tokyo = ZoneInfo("Asia/Tokyo")

    def told(part: str, ends: dt.datetime, parent: dg.DagsterRun | None = None) -> str:
        night = Night("concert", f"{ends.astimezone(tokyo):%Y-%m-%d}", began, ends)
        tags = marks.marks(night, NightConfig(grace_seconds=180), part)
        parents = {"parent_run_id": parent.run_id, "root_run_id": parent.run_id} if parent else {}
        run = dg.DagsterRun("concert_trials", tags=tags, **parents)
        return told_of_runs(instance, [run], tmp_path)[1].partition("(concert_trials) ")[2]

    with dg.DagsterInstance.ephemeral() as instance:
        asked = dg.DagsterRun("concert_trials")
        instance.add_run(asked)
        later, over = evening + dt.timedelta(hours=2), evening - dt.timedelta(seconds=30)
        at = f"{later.astimezone(tokyo):%H:%M}"
        assert told(marks.TRIALS, later) == f"goes on until its trials are done, or its night ends at {at}"
        assert told(marks.TRIALS, over).endswith(": it ends within 3 min of that")
        assert told(marks.DATA, later) == told(marks.TRIALS, later, asked) == "goes on until it is done"
        both = told_of_runs(instance, [asked, asked], tmp_path)
        assert both[0].startswith("2 runs are still working") and both[-1].startswith("    To stop one sooner")


def test_a_taken_port_is_said_with_who_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    serve = (
        "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); "
        "print(s.getsockname()[1], flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        began = time.monotonic()
        assert run_up(tmp_path / "lab", port) == PORT_TAKEN
        other.kill()
    said = capsys.readouterr().out
    assert f"port {port} is taken by process {other.pid} (" in said
    assert "--port" in said
    assert time.monotonic() - began < 5
    assert run_up(tmp_path / "lab", 70_000) == PORT_TAKEN
    assert "port 70000 does not exist" in capsys.readouterr().out


RUN = "0bd3b8f6-fd4e-444f-a453-e01e1d405432"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain noise", None),
        ("\x1b[32mTIME\x1b[0m - dagster.daemon - \x1b[34mINFO\x1b[0m - Launched 2 runs.", "03:04:05 Launched 2 runs."),
        ("TIME - dagster.daemon - INFO - Checking 3 assets/checks for after_trials", None),
        ("TIME - dagster.daemon - WARNING - Beware", "03:04:05 WARNING: Beware"),
        ("TIME - dagster - DEBUG - Beware", None),
        (f"TIME - dagster - DEBUG - a_job - {RUN} - 93 - RUN_START - Started.", "03:04:05 run 0bd3b8f6: Started."),
        (f"TIME - dagster - DEBUG - a_job - {RUN} - 93 - slow - STEP_START - Started.", None),
        (f"TIME - dagster - ERROR - a_job - {RUN} - 93 - slow - STEP_FAILURE - No.", "03:04:05 run 0bd3b8f6 slow: No."),
        (f"TIME - dagster - INFO - a_job - {RUN} - slow - epoch 3 of 5", "03:04:05 run 0bd3b8f6 slow: epoch 3 of 5"),
        (f"TIME - dagster - DEBUG - a_job - {RUN} - slow - a detail", None),
    ],
)
def test_what_a_person_sees_of_the_parts(line: str, shown: str | None) -> None:
    assert worth_showing(line.replace("TIME", "2026-01-02 03:04:05 +0100")) == shown


def test_definitions_that_cannot_be_loaded_are_said_with_the_cause() -> None:
    log = [
        "2026-01-02 03:04:05 +0100 - dagster.code_server - ERROR - Error while importing code",
        "Traceback (most recent call last):",
        '  File "study.py", line 3, in <module>',
        "ml.config.ConfigError: balance_0.30.yaml: unknown key `strenght`",
    ]
    said = [shown for line in log if (shown := worth_showing(line, with_errors=True))]
    assert len(said) == 2
    assert "cannot be loaded" in said[0]
    assert "unknown key `strenght`" in said[1]
