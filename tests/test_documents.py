"""What the documents say is so: every path of the house, every query of the README, every command it names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestration.cli import app
from storage.lab import Lab
from storage.results import publish, query
from tests.storage import night

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOUSE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def _rooms() -> dict[str, list[str]]:
    """Room to the files that the document puts into it."""
    tree = re.search(r"## Rooms\n\n```\n(.*?)```", HOUSE, flags=re.DOTALL)
    assert tree is not None
    rooms: dict[str, list[str]] = {}
    room = ""
    for line in tree.group(1).splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        if not line.startswith(" "):
            room = names[0]
            rooms[room] = []
        else:
            rooms[room] += [name for name in names if "." in name or name.endswith("/")]
    return rooms


def test_every_file_of_the_picture_is_there_and_none_is_missing_from_it():
    rooms = _rooms()
    assert (ROOT / "nocturne").is_file()
    for room, named in rooms.items():
        for name in named:
            assert (ROOT / room / name).exists(), f"docs/architecture.md puts {name} into {room}"
    for room in ("orchestration/", "storage/"):
        there = {path.name for path in (ROOT / room).glob("*.*") if path.name not in ("__init__.py",)}
        assert there - set(rooms[room]) == set(), f"docs/architecture.md does not name these files of {room}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab.open(tmp_path_factory.mktemp("readme") / "lab")
    night.write_night(lab)
    assert publish(lab).published
    return lab


QUERIES = [
    part.strip()
    for block in re.findall(r"```sql\n(.*?)```", README, flags=re.DOTALL)
    for part in re.sub(r"--.*", "", block).split(";")
    if part.strip()
]


@pytest.mark.parametrize("sql", QUERIES)
def test_every_query_of_the_readme_gives_rows(lab: Lab, sql: str):
    assert len(query(lab, sql)) > 0


def test_the_readme_names_every_command_and_no_other():
    known = {command.name or command.callback.__name__ for command in app.registered_commands} | {"test"}
    known |= {group.name for group in app.registered_groups}
    said = set(re.findall(r"\./nocturne (\w+)", README))
    assert said <= known
    assert known - said <= {"db"}


def test_links_lead_somewhere():
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (document.parent / target).exists(), f"{document.name}: {target}"


def test_no_address_of_a_registry_and_no_large_file_is_tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    hosts = re.compile("py" + r"pi\.org|python" + r"hosted\.org|registry\.npm" + "js")
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file():
            assert path.stat().st_size < 400_000, name
            assert not hosts.search(path.read_text(encoding="utf-8", errors="ignore")), name
