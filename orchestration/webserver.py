"""Dagster's webserver on this machine's own address, behind a guard.

Dagster's webserver knows no login, and listening on 127.0.0.1 alone does not keep other web pages out: a page open in
the same browser can send it a form, or reach it through a host name of its own that points to 127.0.0.1. The guard
lets through only what the pages of this very server, or a program on this machine, ask for.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def refusal(scope: Scope, port: int) -> str | None:
    """Why this request is not served, as a sentence; None when it is."""
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def header(name: str) -> str | None:
        return ", ".join(headers[name]) if name in headers else None

    names = [f"{name}:{port}" for name in (HOST, "localhost", "[::1]")]
    host, origin, site = header("host"), header("origin"), header("sec-fetch-site")
    if host is None or host.lower() not in names:
        return f"The address in use is {host!r}; this server answers only as http://{HOST}:{port}."
    if origin is not None and origin.lower() not in [f"http://{name}" for name in names]:
        return f"The request comes from a page of {origin!r}; only this server's own pages may ask."
    if scope["type"] == "websocket":
        return None if origin is not None else "A websocket without an Origin is no browser's; use POST /graphql."
    graphql = scope["path"].rstrip("/").lower() == "/graphql"
    reads = scope["method"] in ("GET", "HEAD")
    if site not in (None, "same-origin", "none"):
        follows_link = header("sec-fetch-mode") == "navigate" and header("sec-fetch-dest") == "document"
        if graphql or not (reads and follows_link):
            return f"The request was sent by a page of another site (Sec-Fetch-Site: {site})."
    if graphql and scope["method"] != "POST":
        return f"/graphql takes POST with application/json, not {scope['method']}."
    if not reads and (header("content-type") or "").split(";")[0].strip().lower() != "application/json":
        return f"{scope['method']} needs Content-Type: application/json; forms of web pages are not taken."
    return None


class Guard:
    """ASGI middleware that answers 403 and a sentence in place of what `refusal` refuses."""

    def __init__(self, application: Application, port: int) -> None:
        self.application, self.port = application, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sentence = refusal(scope, self.port) if scope["type"] in ("http", "websocket") else None
        if sentence is None:
            await self.application(scope, receive, _unframed(send))
        elif scope["type"] == "http":
            await _refuse(send, "http.response", sentence)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await receive()  # websocket.connect
            await _refuse(send, "websocket.http.response", sentence)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": sentence})


def _unframed(send: Send) -> Send:
    """No other page may show ours inside itself, where a click could be led astray."""

    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"x-frame-options", b"DENY")]
        await send(message)

    return send_with_header


async def _refuse(send: Send, kind: str, sentence: str) -> None:
    body = f"Refused: {sentence}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": f"{kind}.start", "status": 403, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


@asynccontextmanager
async def _lifespan(_application: object) -> AsyncIterator[None]:
    with suppress(asyncio.CancelledError):  # how uvicorn ends it
        yield


def serve(port: int, workspace: str) -> None:
    """Serves the instance of DAGSTER_HOME and the code locations of the file `workspace` until it is interrupted."""
    import uvicorn
    from dagster import DagsterInstance
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster._utils.interrupts import setup_interrupt_handlers
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.cli import (
        DEFAULT_DB_STATEMENT_TIMEOUT,
        DEFAULT_POOL_MAX_OVERFLOW,
        DEFAULT_POOL_RECYCLE,
    )
    from dagster_webserver.version import __version__

    from orchestration.nights.report_served import WithReports

    setup_interrupt_handlers()
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget(paths=[workspace])
        with WorkspaceProcessContext(instance, target, version=__version__) as context:
            application = create_app_from_workspace_process_context(context, "", None, lifespan=_lifespan)
            reports = Path(instance.root_directory).parent / "reports"
            uvicorn.run(
                Guard(WithReports(application, reports), port),
                host=HOST,
                port=port,
                log_level="warning",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=2,  # a page left open keeps its connection for ever
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serves Dagster's pages of one lab on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workspace", required=True, help="a workspace.yaml")
    arguments = parser.parse_args()
    serve(arguments.port, arguments.workspace)
