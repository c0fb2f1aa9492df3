"""The processes that `nocturne up` starts: each in a session of its own, its words in a file of the lab.

A session of its own, because Ctrl+C in a terminal goes to the whole foreground group: it would reach the runs that the
code server has started, and end them. A file and not a pipe, because a run outlives `nocturne up` and must not
break on a pipe that nobody reads any more.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LOGGED = re.compile(
    r"^\d{4}-\d\d-\d\d (?P<time>\d\d:\d\d:\d\d) \S+ - (?P<logger>\S+) - (?P<level>[A-Z]+) - (?P<text>.*)$"
)
_ERROR = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit): ")
_NEWS = re.compile(r"Launched [1-9]|Tick produced [1-9]|completed .*iteration with status BulkActionStatus\.[CF]")
_OF_A_RUN = re.compile(
    r"^(?P<job>\S+) - (?P<run>[0-9a-f-]{36}) - (?:\d+ - )?(?:(?P<step>(?![A-Z_]+ - )\S+) - )?"
    r"(?:(?P<kind>[A-Z_]+) - )?(?P<text>.*)$"
)
_SHOWN_OF_A_RUN = {"RUN_START", "RUN_SUCCESS", "RUN_FAILURE", "RUN_CANCELED", "STEP_FAILURE", "STEP_UP_FOR_RETRY"}


@dataclass
class Part:
    """One started process. `log` holds all that it says; `up` shows what a person wants to see of it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    speaks_for_code: bool = False
    """Does it load the definitions first, so that the names of errors in its log are to be shown?"""
    _read: int = 0
    _unfinished: bytes = field(default=b"", repr=False)

    def alive(self) -> bool:
        return self.process.poll() is None

    def new_lines(self) -> list[str]:
        """What it has said since the last call and a person wants to see."""
        with self.log.open("rb") as handle:
            handle.seek(self._read)
            said = handle.read()
        self._read += len(said)
        *lines, self._unfinished = (self._unfinished + said).split(b"\n")
        shown = (worth_showing(line.decode("utf-8", "replace").rstrip(), self.speaks_for_code) for line in lines)
        return [line for line in shown if line]

    def last_words(self, count: int = 12) -> list[str]:
        with self.log.open("rb") as handle:
            handle.seek(max(0, self.log.stat().st_size - 16_384))
            lines = _COLOURS.sub("", handle.read().decode("utf-8", "replace")).splitlines()
        return [line for line in lines if line.strip()][-count:]

    def ask_to_end(self) -> None:
        """What Ctrl+C would tell it."""
        with suppress(OSError):  # it has just ended
            # By the number: on other systems than Windows the name does not exist.
            self.process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))

    def ended_within(self, seconds: float) -> bool:
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        with suppress(OSError):
            self.process.kill()
        self.process.wait()


def start(
    name: str, arguments: Sequence[str], logs: Path, environment: Mapping[str, str], speaks_for_code: bool
) -> Part:
    """Starts `python ARGUMENTS`; its log of the time before is kept as NAME.before.log."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name.replace(' ', '-')}.log"
    if log.exists():
        with suppress(OSError):  # Windows, while a run of the time before still writes to it
            log.replace(log.with_suffix(".before.log"))
    with log.open("ab") as output:
        already = output.tell()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    return Part(name, process, log, speaks_for_code, already)


def worth_showing(line: str, with_errors: bool = False) -> str | None:
    """`line` of a part's log as a person wants to see it, or None. All of it is in the log file.

    `with_errors`: of a traceback, the lines that name the errors are shown.
    """
    found = _LOGGED.match(_COLOURS.sub("", line))
    if found is None:
        return f"    {line}" if with_errors and _ERROR.match(line) else None
    event = _OF_A_RUN.match(found["text"])
    if event is not None:
        if event["kind"] not in _SHOWN_OF_A_RUN if event["kind"] else found["level"] == "DEBUG":
            return None
        step = f" {event['step']}" if event["step"] else ""
        return f"{found['time']} run {event['run'][:8]}{step}: {event['text']}"
    if found["level"] == "DEBUG" or (found["level"] == "INFO" and not _NEWS.match(found["text"])):
        return None
    if found["text"] == "Error while importing code":
        return f"{found['time']} the definitions cannot be loaded; correct the cause, then press Reload on the page:"
    level = "" if found["level"] == "INFO" else f" {found['level']}:"
    return f"{found['time']}{level} {found['text']}"
