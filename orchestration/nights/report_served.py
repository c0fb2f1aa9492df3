"""The reports of a lab on its pages: `/nocturne/reports/latest.html`, so that a link in the UI opens one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

PREFIX = "/nocturne/reports/"

HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
"""The page is a document and nothing else: it runs nothing, and has no part in the pages around it."""

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[..., Awaitable[None]]


class WithReports:
    """ASGI middleware that answers for the reports in `folder` and leaves everything else to the application."""

    def __init__(self, application: Application, folder: Path) -> None:
        self.application, self.folder = application, folder

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self.application(scope, receive, send)
            return
        body = self._read(scope["path"].removeprefix(PREFIX))
        status, headers = (200, HEADERS) if body is not None else (404, ((b"content-type", b"text/plain"),))
        body = b"There is no such report; `nocturne report` writes one.\n" if body is None else body
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _read(self, name: str) -> bytes | None:
        """The report of that name, and of no other name: what is asked for is looked up, never opened."""
        try:
            known = {path.name: path for path in self.folder.glob("*.html") if not path.is_symlink()}
            return known[name].read_bytes()
        except (OSError, KeyError):
            return None
