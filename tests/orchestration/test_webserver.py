"""The real webserver, asked over real HTTP: its own pages work, other pages' requests are refused."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import yaml
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from orchestration.instance_home import SETTINGS
from orchestration.webserver import refusal
from tests.orchestration.servers import (
    MODULE,
    ROOT,
    answers,
    free_port,
    graphql,
    launch,
    request,
    runs,
    start_python,
    wait_until,
)

FOREIGN = "http://evil.example"
MUTATION = """mutation { launchRun(executionParams: {mode: "default", selector: {
    repositoryLocationName: "MODULE", repositoryName: "__repository__", jobName: "quick_job"}}) { __typename } }
""".replace("MODULE", MODULE)
AS_JSON = json.dumps({"query": MUTATION}).encode()


@dataclass(frozen=True)
class Server:
    port: int
    pid: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("webserver")
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_bytes(SETTINGS.read_bytes())
    workspace = folder / "workspace.yaml"
    location = {"module_name": MODULE, "working_directory": str(ROOT)}
    workspace.write_text(yaml.safe_dump({"load_from": [{"python_module": location}]}))
    port = free_port()
    arguments = ["-m", "orchestration.webserver", "--port", str(port), "--workspace", str(workspace)]
    environment = {"DAGSTER_HOME": str(home), "NOCTURNE_LAB": str(folder)}
    process = start_python(arguments, folder / "said.txt", environment)
    try:
        wait_until(lambda: process.poll() is not None or answers(port), 90, "the page answers")
        assert process.poll() is None, (folder / "said.txt").read_text()
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_its_own_pages_work(server: Server) -> None:
    status, text = request(server.port, "GET", "/")
    assert status == 200
    script = re.search(r'src="(/[^"]+\.js)"', text)
    assert script is not None, text[:500]
    assert request(server.port, "GET", script[1], {"Sec-Fetch-Site": "same-origin"})[0] == 200
    assert request(server.port, "GET", "/runs", {"Host": f"localhost:{server.port}"})[0] == 200
    assert graphql(server.port, "{ version }")["version"] == "1.13.27"
    before = len(runs(server.port))
    launch(server.port, "quick_job")
    assert len(runs(server.port)) == before + 1, "same-origin requests may launch runs"


def test_a_program_of_this_machine_may_use_the_api(server: Server) -> None:
    status, text = request(
        server.port, "POST", "/graphql", {"Content-Type": "application/json"}, b'{"query":"{version}"}'
    )
    assert (status, json.loads(text)["data"]) == (200, {"version": "1.13.27"})


def test_the_attacks_of_other_pages_are_refused(server: Server) -> None:
    before = len(runs(server.port))
    query = f"/graphql?query={quote(MUTATION)}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    as_json = {"Content-Type": "application/json"}
    cross = {"Sec-Fetch-Site": "cross-site"}
    link = {**cross, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    rebound = {"Host": f"evil.example:{server.port}", "Origin": f"http://evil.example:{server.port}"}
    encoded = f"query={quote(MUTATION)}".encode()
    report = "/report_asset_materialization/quick"
    attacks = {
        "GET mutation as an image": ("GET", query, cross, None),
        "GET mutation as a link": ("GET", query, link, None),
        "GET mutation without headers": ("GET", query, {}, None),
        "form": ("POST", "/graphql", {**form, **cross, "Origin": FOREIGN}, encoded),
        "form of a browser without Origin": ("POST", "/graphql", form, encoded),
        "form as text": ("POST", "/graphql", {"Content-Type": "text/plain"}, AS_JSON),
        "JSON of another page": ("POST", "/graphql", {**as_json, "Origin": FOREIGN}, AS_JSON),
        "JSON of a sandboxed frame": ("POST", "/graphql", {**as_json, "Origin": "null"}, AS_JSON),
        "JSON of another port": ("POST", "/graphql", {**as_json, "Origin": "http://127.0.0.1:1"}, AS_JSON),
        "JSON of the same site": ("POST", "/graphql", {**as_json, "Sec-Fetch-Site": "same-site"}, AS_JSON),
        "what a browser asks before": ("OPTIONS", "/graphql", {"Origin": FOREIGN}, None),
        "rebinding": ("POST", "/graphql", {**as_json, **rebound, "Sec-Fetch-Site": "same-origin"}, AS_JSON),
        "rebinding a page": ("GET", "/", {"Host": f"evil.example:{server.port}"}, None),
        "without our port": ("GET", "/", {"Host": "127.0.0.1"}, None),
        "page in a frame": ("GET", "/", {**link, "Sec-Fetch-Dest": "iframe"}, None),
        "false report by a form": ("POST", report, {**form, "Origin": FOREIGN}, b"metadata={}"),
        "false report without Origin": ("POST", report, form, b"metadata={}"),
    }
    answered = {name: request(server.port, *attack) for name, attack in attacks.items()}
    assert {name: status for name, (status, _) in answered.items() if status != 403} == {}
    assert all(text.startswith("Refused: ") and text.rstrip().endswith(".") for _, text in answered.values())
    assert len(runs(server.port)) == before, "no run was launched"


def test_a_link_from_another_page_opens_the_page_and_nobody_may_frame_it(server: Server) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert request(server.port, "GET", "/runs", link)[0] == 200
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(f"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n".encode())
        assert b"x-frame-options: deny" in plain.makefile("rb").read().lower()


def test_websockets_only_for_its_own_pages(server: Server) -> None:
    address = f"ws://127.0.0.1:{server.port}/graphql"
    protocol = [Subprotocol("graphql-ws")]
    with connect(address, origin=Origin(server.origin), subprotocols=protocol, open_timeout=20) as own:
        own.send('{"type": "connection_init", "payload": {}}')
        assert json.loads(own.recv(timeout=20))["type"] == "connection_ack"
    for foreign in (Origin(FOREIGN), Origin("null"), None):
        with pytest.raises(InvalidStatus) as refused:
            connect(address, origin=foreign, subprotocols=protocol, open_timeout=20)
        assert refused.value.response.status_code == 403
        assert refused.value.response.body.startswith(b"Refused: "), foreign


def test_it_listens_on_this_machine_only(server: Server) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(server.pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_there_is_no_option_to_listen_elsewhere(tmp_path: Path) -> None:
    arguments = ["-m", "orchestration.webserver", "--port", "1", "--workspace", "x", "--host", "0.0.0.0"]
    process = start_python(arguments, tmp_path / "said.txt", {})
    assert process.wait(timeout=60) == 2
    assert "unrecognized arguments: --host 0.0.0.0" in (tmp_path / "said.txt").read_text()


def test_two_hosts_or_two_origins_are_refused() -> None:
    host, origin = (b"host", b"127.0.0.1:3000"), (b"origin", b"http://127.0.0.1:3000")
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [host, origin]}
    assert refusal(scope, 3000) is None
    assert refusal({**scope, "headers": [host, origin, (b"origin", b"http://evil.example")]}, 3000) is not None
    assert refusal({**scope, "headers": [host, (b"host", b"evil.example")]}, 3000) is not None
    assert refusal({**scope, "headers": []}, 3000) is not None
