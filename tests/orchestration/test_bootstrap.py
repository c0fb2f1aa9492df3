"""The program `nocturne`: real environments from lock files of wheels made here, so that nothing is downloaded."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.orchestration.servers import ROOT, wait_until

CLI = """
import json, os, sys
import tiny
print(json.dumps([sys.argv[1:], os.getcwd(), tiny.VERSION, sys.prefix, sys.flags.utf8_mode]))
sys.exit(7)
"""

needs_uv = pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
posix = pytest.mark.skipif(os.name != "posix", reason="links and signals of POSIX")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A repository with a space in its path: the program, a command line, a lock file of one small package."""
    made = tmp_path / "a house"
    (made / "orchestration").mkdir(parents=True)
    (made / "orchestration" / "__init__.py").touch()
    (made / "orchestration" / "cli.py").write_text(CLI)
    shutil.copy(ROOT / "nocturne", made / "nocturne")
    lock(made, "1.0")
    return made


def lock(house: Path, version: str, digest: str | None = None) -> None:
    wheel = house / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", f"VERSION = {version!r}\n")
        info = f"tiny-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    (house / "requirements.lock").write_text(f"# tiny\ntiny @ {wheel.as_uri()} \\\n    --hash=sha256:{digest}\n")


def surroundings(**more: str) -> dict[str, str]:
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "UV_TORCH_BACKEND", "PYTHONUTF8", "PYTHONPYCACHEPREFIX")
    return {**{key: value for key, value in os.environ.items() if key not in hidden}, **more}


def nocturne(
    house: Path, *arguments: str, program: Path | None = None, where: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(program or house / "nocturne"), *arguments]
    return subprocess.run(
        command, cwd=where or house, env=surroundings(**more), capture_output=True, text=True, timeout=120, check=False
    )


def told(house: Path, version: str, arguments: str = "[]", where: Path | None = None) -> str:
    return f'[{arguments}, "{where or house}", "{version}", "{house / ".venv"}", 1]\n'


@needs_uv
@posix
def test_it_makes_the_environment_once_then_hands_over_with_arguments_and_folder(house: Path, tmp_path: Path) -> None:
    first = nocturne(house, "sql", "select * from leaderboard", "--csv")
    assert first.returncode == 7, first.stderr
    assert first.stdout == told(house, "1.0", '["sql", "select * from leaderboard", "--csv"]')
    assert f"nocturne: making {house / '.venv'} with uv (1 packages)" in first.stderr
    assert "nocturne: ready after " in first.stderr

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "night").symlink_to(house / "nocturne")
    again = nocturne(house, program=elsewhere / "night", where=elsewhere)
    assert (again.returncode, again.stderr) == (7, ""), "nothing to do, nothing to say"
    assert again.stdout == told(house, "1.0", where=elsewhere)


@needs_uv
@posix
def test_nothing_is_compiled_anew_by_every_process_nor_written_beside_sources(house: Path) -> None:
    assert nocturne(house, PYTHONDONTWRITEBYTECODE="1").returncode == 7
    assert list((house / ".venv" / "bytecode").rglob("*.pyc"))
    assert not [path for path in house.rglob("__pycache__") if ".venv" not in path.parts]


@needs_uv
@posix
def test_a_changed_lock_file_is_synced_and_a_wrong_hash_refused(house: Path) -> None:
    compiled = {"PYTHONDONTWRITEBYTECODE": "1"}
    assert nocturne(house, **compiled).returncode == 7
    lock(house, "2.0")
    changed = nocturne(house, **compiled)
    assert changed.stdout == told(house, "2.0"), "what was compiled of the former version is gone"
    assert "bringing up to date" in changed.stderr

    lock(house, "3.0", digest="0" * 64)
    wrong = nocturne(house)
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert "nocturne: not installed; when the cause is gone, start again" in wrong.stderr

    lock(house, "3.0")
    mended = nocturne(house)
    assert mended.stdout == told(house, "3.0")
    assert "making" in mended.stderr, "what a failed installation left is not built upon"


@needs_uv
@posix
def test_an_interrupted_installation_is_done_again(house: Path) -> None:
    assert nocturne(house).returncode == 7
    (house / ".venv" / "nocturne-installing.txt").touch()  # as kill -9 leaves it
    leftover = house / ".venv" / "half a package"
    leftover.touch()
    again = nocturne(house)
    assert again.stdout == told(house, "1.0")
    assert not leftover.exists()
    assert nocturne(house).stderr == ""


@needs_uv
@posix
def test_two_starts_at_once_install_once(house: Path) -> None:
    command = [sys.executable, str(house / "nocturne")]
    both = [
        subprocess.Popen(
            command, cwd=house, env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [7, 7, 7]
    assert [out for out, _ in said] == [told(house, "1.0")] * 3
    assert sum("making" in err for _, err in said) == 1, said


@posix
def test_without_uv_it_takes_pip(house: Path, tmp_path: Path) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    (path / "python3").symlink_to(sys.executable)
    made = nocturne(house, PATH=str(path), UV_TORCH_BACKEND="cpu")
    assert made.returncode == 7, made.stderr
    assert made.stdout == told(house, "1.0")
    assert "with pip (1 packages)" in made.stderr
    assert "UV_TORCH_BACKEND has no effect without uv" in made.stderr


@needs_uv
@posix
def test_ctrl_c_while_the_command_works_ends_with_the_commands_own_word(house: Path) -> None:
    works = "import time\ntry:\n    print('works', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n"
    (house / "orchestration" / "cli.py").write_text(f"{works}    raise SystemExit(5)\n")
    output = house / "said.txt"
    with output.open("w") as handle:
        # Started in a folder that has an `orchestration` of its own, which is not to be taken.
        command = [sys.executable, str(house / "nocturne")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=handle, env=surroundings())
    try:
        wait_until(lambda: process.poll() is not None or "works" in output.read_text(), 60, "the command works")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 5
    finally:
        process.kill()


def loaded() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("nocturne_program", str(ROOT / "nocturne"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module


def test_the_commands_for_another_build_of_torch() -> None:
    program = loaded()
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    python, lock_file = str(program.PYTHON), str(ROOT / "requirements.lock")

    assert program.commands("/bin/uv", "locked", False, text) == [
        ["/bin/uv", "pip", "install", "--python", python, "--require-hashes", "-r", lock_file]
    ]
    venv, rest, torch = program.commands("/bin/uv", "cpu", True, text)
    assert venv == ["/bin/uv", "venv", "--python", sys.executable, "--clear", str(program.VENV)]
    without = str(program.VENV / "nocturne-without-torch.txt")
    assert rest[2:] == ["install", "--python", python, "--no-deps", "--require-hashes", "-r", without]
    assert torch[2:] == [
        *["install", "--python", python, "--no-deps", "--torch-backend", "cpu"],
        *["torch==2.11.0", "torchaudio==2.11.0"],
    ]
    assert "--require-hashes" not in torch
    venv, pip = program.commands(None, "cpu", True, text)
    assert venv == [sys.executable, "-m", "venv", "--clear", str(program.VENV)]
    assert pip[:4] == [python, "-m", "pip", "install"]
    assert pip[-3:] == ["--require-hashes", "-r", lock_file]


def test_no_package_is_lost_besides_torch_and_those_for_cuda() -> None:
    program = loaded()
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    every, kept = program.requirements(text), program.requirements(program.without_torch(text))
    assert len(every) == sum(line[:1].isalnum() for line in text.splitlines())
    gone = {name for name, _ in every} - {name for name, _ in kept}
    assert {"torch", "torchaudio", "triton", "nvidia-cudnn-cu13", "cuda-toolkit"} <= gone
    assert all(name in ("torch", "torchaudio", "triton") or name.startswith(("nvidia-", "cuda-")) for name in gone)
    assert {"torchmetrics", "dagster", "safetensors"} <= {name for name, _ in kept}
    assert all("--hash=sha256:" in block for _, block in kept)


def test_every_check_is_run_and_pytest_speaks_last(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = loaded()
    asked = [(name, command) for name, command in program.checks(["-k", "split"])]
    assert [name for name, _ in asked] == ["ruff check", "ruff format", "mypy", "lint-imports", "pytest"]
    assert asked[-1][1][-2:] == ["-k", "split"]
    say = "import sys; print(sys.argv[1], 'was run', flush=True); sys.exit(int(sys.argv[2]))"
    codes = {"ruff check": 0, "ruff format": 1, "mypy": 0, "lint-imports": 2, "pytest": 0}
    stand_ins = [(name, [sys.executable, "-c", say, name, str(code)]) for name, code in codes.items()]
    monkeypatch.setattr(program, "checks", lambda arguments: stand_ins)
    assert program.test([]) == 1
    said = capfd.readouterr().out
    assert all(f"== {name}\n{name} was run\n" in said for name in codes)
    assert said.rstrip().endswith("pytest was run")
    assert "failed so far: ruff format, lint-imports" in said
    monkeypatch.setattr(program, "checks", lambda arguments: stand_ins[:1])
    assert program.test([]) == 0


def test_an_older_python_gets_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    program = loaded()
    monkeypatch.setattr(program.sys, "version_info", (3, 8, 18, "final", 0))
    with pytest.raises(SystemExit) as ended:
        program.main(["demo"])
    assert "needs Python 3.11 or newer, and this is 3.8 at " in str(ended.value.code)
    compile((ROOT / "nocturne").read_text(encoding="utf-8"), "nocturne", "exec", dont_inherit=True)
    import ast

    ast.parse((ROOT / "nocturne").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_the_program_is_small_and_needs_nothing_installed() -> None:
    text = (ROOT / "nocturne").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    assert "://" not in text, "no address of a registry"
    if os.name == "posix":
        assert os.access(ROOT / "nocturne", os.X_OK)
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
        isolated = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import runpy; runpy.run_path({str(ROOT / 'nocturne')!r}, run_name='x')",
        ]
        assert subprocess.run(isolated, check=False).returncode == 0
