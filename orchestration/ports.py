"""Whether a port of this machine can be served, who has it, and whether it answers."""

from __future__ import annotations

import http.client
import os
import socket
from contextlib import suppress

import psutil

from orchestration.webserver import HOST


def address(port: int) -> str:
    return f"http://{HOST}:{port}"


def port_problem(port: int) -> str | None:
    choose = "choose another: nocturne up --port 3001" if port == 3000 else "choose another with --port"
    with socket.socket() as probe:
        if os.name == "posix":  # elsewhere this would allow a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OverflowError:
            return f"port {port} does not exist; choose one from 1024 to 65535 with --port"
        except PermissionError:
            return f"port {port} is reserved for the system; choose one from 1024 to 65535 with --port"
        except OSError:
            return f"port {port} is taken by {_listener(port)}; {choose}"
    return None


def _listener(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "another program"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
