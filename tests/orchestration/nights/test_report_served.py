"""Reports behind a link of the pages: what is in the folder, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestration.nights.report_served import PREFIX, WithReports
from orchestration.webserver import Guard

PORT = 3000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    reports = tmp_path / "lab" / "reports"
    reports.mkdir(parents=True)
    (reports / "2026-11-21.html").write_text("<p>good morning</p>", encoding="utf-8")
    (tmp_path / "lab" / "secret.html").write_text("secret", encoding="utf-8")
    (reports / "notes.txt").write_text("secret", encoding="utf-8")
    return reports


def ask(
    folder: Path, path: str, method: str = "GET", host: str = f"127.0.0.1:{PORT}"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer, through the guard."""
    sent: list[dict[str, Any]] = []

    async def rest(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"the pages"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"host", host.encode())]}
    asyncio.run(Guard(WithReports(rest, folder), PORT)(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def test_a_report_is_a_document_that_can_do_nothing(folder: Path) -> None:
    status, headers, body = ask(folder, f"{PREFIX}2026-11-21.html")
    assert (status, body) == (200, b"<p>good morning</p>")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "allow-scripts" not in policy
    assert headers["content-length"] == str(len(body)) and headers["x-frame-options"] == "DENY"
    assert ask(folder, f"{PREFIX}2026-11-21.html", "HEAD")[2] == b""


@pytest.mark.parametrize(
    "name", ["", "../secret.html", "..\\secret.html", "/etc/passwd", "notes.txt", "2026-11-22.html", "\0"]
)
def test_nothing_else_is_served(folder: Path, name: str) -> None:
    status, _, body = ask(folder, f"{PREFIX}{name}")
    assert status == 404 and b"secret" not in body


def test_a_link_in_the_folder_is_not_followed(folder: Path) -> None:
    try:
        (folder / "link.html").symlink_to(folder.parent / "secret.html")
    except OSError:
        pytest.skip("no links here")
    assert ask(folder, f"{PREFIX}link.html")[0] == 404


def test_everything_else_is_the_pages_own_and_strangers_are_refused(folder: Path) -> None:
    assert ask(folder, "/runs")[0] == 299
    assert ask(folder, f"{PREFIX}2026-11-21.html", host="evil.example")[0] == 403
