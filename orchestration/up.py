"""`nocturne up`: Dagster's pages and its daemon on one lab, in one terminal.

One code server loads the definitions for both, so that Reload on the page is also seen by the daemon. Ctrl+C ends the
pages and the daemon; a second one does not wait for them. Runs in progress go on by themselves, with the code server as
their witness, which ends after the last of them; what waits in the queue waits on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from orchestration.instance_home import limit_pool, prepare_instance
from orchestration.parts import Part, start
from orchestration.ports import address, answers, free_port, port_problem
from orchestration.webserver import HOST

ALREADY_UP = 3
"""Exit code: another `nocturne up` works on this lab."""
PART_DIED = 4
"""Exit code: the pages, the daemon or the code server ended by themselves."""
PORT_TAKEN = 5
"""Exit code: another program listens on the port."""

REPOSITORY = Path(__file__).resolve().parent.parent
LONGEST_SOCKET = 100
"""Characters; the limit of the operating systems is 104 to 108."""
NAMES_OF_SOCKETS = len("/pymp-12345678/listener-12345678")
"""Characters that come after the folder: what a run is forked from makes the longest name."""
LOOK_SECONDS = 0.2
GLANCE_SECONDS = 0.5
"""A command that asks whether somebody is up has the lock for a moment."""
END_SECONDS = 20.0
"""How long a part may take to end when asked to."""


def run_up(lab_root: Path, port: int = 3000, module: str = "orchestration.definitions") -> int:
    """Serves the lab at `lab_root` until Ctrl+C; the exit code is 0, ALREADY_UP, PART_DIED or PORT_TAKEN."""
    lab_root = lab_root.absolute()
    locks = lab_root / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock, account = FileLock(locks / "up.lock"), locks / "up.json"
    try:
        lock.acquire(timeout=GLANCE_SECONDS)
    except Timeout:
        _say(
            f"{_who_is_up(account)} serves this lab already ({lab_root}); end that one first (Ctrl+C in its terminal)."
        )
        return ALREADY_UP
    try:
        taken = port_problem(port)
        if taken:
            _say(taken)
            return PORT_TAKEN
        account.write_text(json.dumps({"pid": os.getpid(), "address": address(port)}), encoding="utf-8")
        return _Up(lab_root, port, module).run()
    finally:
        account.unlink(missing_ok=True)
        lock.release()


class _Up:
    def __init__(self, lab_root: Path, port: int, module: str) -> None:
        self.lab_root, self.port, self.module = lab_root, port, module
        self.home = lab_root / "dagster"
        self.parts: list[Part] = []
        self.stop = threading.Event()
        self.stopped_by = 0
        self.heart = threading.Event()
        self.client: Any = None

    def run(self) -> int:
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):  # nohup
                signal.signal(number, self._asked_to_end)
        _say(f"starting on {self.lab_root} …")
        prepare_instance(self.home)
        self._put_in_order()
        died = None
        try:
            died = self._start_code_server() or self._start_others() or self._watch()
        finally:
            at_work = self._end(died)
        if died is not None:
            code = died.process.returncode
            _say(f"the {died.name} ended by itself (exit code {code}), so the rest was ended too. Its last words:")
            for line in died.last_words():
                _say(f"    {line}")
            _say(f"All of it is in {died.log}")
        for line in at_work:
            _say(line)
        _say("ended.")
        return 0 if died is None else PART_DIED

    def _asked_to_end(self, number: int, _frame: object) -> None:
        self.stopped_by += 1
        self.stop.set()

    def _put_in_order(self) -> None:
        """What a power cut may have left, before anything new starts."""
        import dagster as dg

        from orchestration.reaper import reap

        with dg.DagsterInstance.get() as instance:
            limit_pool(instance)
            for gone in reap(instance):
                _say(f"run {gone.run_id[:8]} ({gone.job}) was {gone.was}: {gone.sentence}")
            if not _in_progress(instance):
                shutil.rmtree(self.home / "tmp", ignore_errors=True)

    # --- start -------------------------------------------------------------------------------------------------

    def _start_code_server(self) -> Part | None:
        """The part that died, or None."""
        from dagster._core.errors import DagsterUserCodeUnreachableError
        from dagster._grpc.client import DagsterGrpcClient, client_heartbeat_thread

        folder = self.temporary = _socket_folder(self.home)
        self.environment = self._environment(folder)
        place: dict[str, Any] = {"host": HOST}
        if os.name == "posix":
            place["socket"] = str(folder / f"code-{os.getpid()}.sock")
            where = ["--socket", place["socket"]]
        else:
            place["port"] = free_port()
            where = ["--port", str(place["port"]), "--host", HOST]
        arguments = ["-m", "dagster", "code-server", "start", *where, "--module-name", self.module]
        arguments += ["--working-directory", str(REPOSITORY), "--location-name", self.module]
        # Without our heartbeat it ends by itself, after the runs that it has started.
        arguments += ["--heartbeat", "--heartbeat-timeout", "30", "--log-level", "warning"]
        code = self._start("code server", arguments)
        client = DagsterGrpcClient(**place)
        while code.alive() and not self.stop.wait(LOOK_SECONDS):
            self._show()
            with suppress(DagsterUserCodeUnreachableError):
                client.ping("")
                break
        else:
            return None if code.alive() else code
        self.client = client
        threading.Thread(target=client_heartbeat_thread, args=(client, self.heart), daemon=True).start()
        server = {**place, "location_name": self.module}
        self.workspace = self.home / "up-workspace.yaml"
        self.workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
        return None

    def _start_others(self) -> Part | None:
        if self.stop.is_set():
            return None
        under_us = ["-m", "orchestration.parenthood", str(os.getpid())]
        workspace = ["--workspace", str(self.workspace)]
        pages = self._start("webserver", [*under_us, "orchestration.webserver", "--port", str(self.port), *workspace])
        self._start("daemon", [*under_us, "dagster._daemon", "run", *workspace])
        while pages.alive() and not self.stop.is_set():
            if answers(self.port):
                _say(f"ready: {address(self.port)} (Ctrl+C ends it; runs in progress and queued runs stay)")
                break
            dead = self._look()
            if dead is not None:
                return dead
        return None

    def _start(self, name: str, arguments: Sequence[str]) -> Part:
        first = not self.parts
        part = start(name, arguments, self.home / "up", self.environment, speaks_for_code=first)
        self.parts.append(part)
        return part

    def _environment(self, temporary: Path) -> dict[str, str]:
        path = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "NOCTURNE_LAB": str(self.lab_root),
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONSAFEPATH": "1",  # no module is taken from the folder a person is in
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
            # The first run waits until torch is loaded. Where that took longer, Dagster would start the run once more.
            "DAGSTER_GRPC_TIMEOUT_SECONDS": os.environ.get("DAGSTER_GRPC_TIMEOUT_SECONDS", "300"),
            # Temporary files of Dagster and of the runs lie in the lab, too.
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)),
        }

    # --- work --------------------------------------------------------------------------------------------------

    def _watch(self) -> Part | None:
        """Until Ctrl+C: None. When a part dies: that part."""
        while not self.stop.is_set():
            dead = self._look()
            if dead is not None:
                return dead
        return None

    def _look(self) -> Part | None:
        self._show()
        dead = next((part for part in self.parts if not part.alive()), None)
        if dead is None:
            self.stop.wait(LOOK_SECONDS)
        return None if self.stop.is_set() else dead

    def _show(self) -> None:
        for part in self.parts:
            for line in part.new_lines():
                _say(f"{part.name}: {line}")

    # --- end ---------------------------------------------------------------------------------------------------

    def _end(self, died: Part | None) -> list[str]:
        """Ends pages, daemon and code server, in this order; what is to be said of runs that go on."""
        if died is None:
            _say("ending …")
        at_work: list[str] = []
        others = [part for part in self.parts if part.name != "code server"]
        for part in others:
            part.ask_to_end()
        deadline = time.monotonic() + END_SECONDS
        for part in others:
            while part.alive() and time.monotonic() < deadline and self.stopped_by < 2:
                part.ended_within(LOOK_SECONDS)
            part.kill()
        self.heart.set()
        for code in self.parts[:1]:
            at_work = self._end_code_server(code)
        self._show()
        return at_work

    def _end_code_server(self, code: Part) -> list[str]:
        import dagster as dg
        from dagster._core.errors import DagsterUserCodeUnreachableError

        if self.client is not None:
            with suppress(DagsterUserCodeUnreachableError):
                self.client.shutdown_server()  # after the runs that it has started
        else:
            code.ask_to_end()
        with dg.DagsterInstance.get() as instance:
            deadline = time.monotonic() + END_SECONDS
            while code.alive():
                runs = _in_progress(instance)
                if runs:  # however often Ctrl+C is pressed: without their witness nobody could stop them from the page
                    return told_of_runs(instance, runs, self.lab_root)
                if time.monotonic() >= deadline or self.stopped_by >= 2:
                    break
                code.ended_within(LOOK_SECONDS)
        if code.alive():
            code.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)
        return []


def _in_progress(instance: Any) -> Sequence[Any]:
    """Runs that a process executes now, or is about to."""
    import dagster as dg

    status = dg.DagsterRunStatus
    found = instance.get_runs(dg.RunsFilter(statuses=[status.STARTING, status.STARTED, status.CANCELING]))
    return list(reversed(found))


def told_of_runs(instance: Any, runs: Sequence[Any], lab_root: Path) -> list[str]:
    """What a person who has pressed Ctrl+C is told of the runs that go on: until when, and how to stop them sooner."""
    one = len(runs) == 1
    they_are = "1 run is" if one else f"{len(runs)} runs are"
    return [
        f"{they_are} still working: left alone, and seen again at the next `nocturne up`.",
        *(f"    run {run.run_id[:8]} ({run.job_name}) {_until(instance, run, lab_root)}" for run in runs),
        f"    To stop {'it' if one else 'one'} sooner: `nocturne up` again, then Terminate on the page of the run; "
        "finished epochs stay.",
    ]


def _until(instance: Any, run: Any, lab_root: Path) -> str:
    from orchestration.nights import marks

    night, bell = marks.night_of(run.tags), marks.bell_of(run.tags)
    # Other parts of a night do not hear its bell: who would end them is the daemon, and that is gone.
    trains = run.tags.get(marks.PART) == marks.TRIALS and not marks.asked_by_a_person(instance, run)
    if night is None or bell is None or not trains:
        return "goes on until it is done"
    rings = replace(night, zone=_zone(lab_root, night.study)).shown(bell.rings)
    if bell.rung():
        return f"belongs to a night that ended at {rings}: it ends within {max(1, round(bell.grace / 60))} min of that"
    return f"goes on until its trials are done, or its night ends at {rings}"


def _zone(lab_root: Path, study: str) -> Any:
    """Where the clock of the study's nights hangs; None: where this machine is."""
    from ml.config import ConfigError
    from ml.studies.registry import study_named
    from orchestration.nights import clock
    from orchestration.resources import Bench
    from storage.lab import Lab

    try:
        return clock.zone(Bench(Lab(lab_root)).settings(study_named(study)).night.timezone)
    except (ConfigError, KeyError):
        return None


def _socket_folder(home: Path) -> Path:
    """A folder for sockets and temporary files: in the lab, unless its path is one that sockets cannot have."""
    folder = home / "tmp"
    if os.name != "posix" or (
        len(str(folder)) < LONGEST_SOCKET - NAMES_OF_SOCKETS and re.fullmatch(r"[\w./+@-]+", str(folder), re.A)
    ):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    return Path(tempfile.mkdtemp(prefix="nocturne-"))


def _who_is_up(account: Path) -> str:
    try:
        told = json.loads(account.read_text(encoding="utf-8"))
        return f"process {told['pid']} at {told['address']}"
    except (OSError, ValueError, KeyError):
        return "another `nocturne up`, which is just starting or ending,"


def _say(text: str) -> None:
    print(text, flush=True)
