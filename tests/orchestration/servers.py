"""What the tests of the servers share: a program in a session of its own, and plain HTTP to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULE = "tests.orchestration.tiny_definitions"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `true` says when it first says something true; an assertion that names `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def start_python(arguments: list[str], output: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Leads a process group, as a program started in a terminal does."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **environment}
    with output.open("ab") as handle:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    """As a terminal does: to the whole foreground group."""
    os.killpg(process.pid, signal.SIGINT)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def request(
    port: int, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, str]:
    """Status and text; `headers` may replace Host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{port}", **(headers or {})}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


def answers(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return request(port, "GET", "/server_info")[0] == 200
    return False


def graphql(port: int, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """As the pages do it: same origin, JSON."""
    headers = {
        "Content-Type": "application/json",
        "Origin": f"http://127.0.0.1:{port}",
        "Sec-Fetch-Site": "same-origin",
    }
    status, text = request(
        port, "POST", "/graphql", headers, json.dumps({"query": query, "variables": variables or {}}).encode()
    )
    assert status == 200, text
    answer: dict[str, Any] = json.loads(text)
    assert "errors" not in answer, answer
    return dict(answer["data"])


LAUNCH = """
mutation Launch($job: String!, $module: String!) {
  launchRun(executionParams: {
    mode: "default"
    selector: {repositoryLocationName: $module, repositoryName: "__repository__", jobName: $job}
  }) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""


def launch(port: int, job: str) -> str:
    answer = graphql(port, LAUNCH, {"job": job, "module": MODULE})["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def runs(port: int) -> list[dict[str, Any]]:
    """Newest first."""
    query = "{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }"
    return list(graphql(port, query)["runsOrError"]["results"])
