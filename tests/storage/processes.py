"""Real processes for the tests of storage: started, spoken to by lines, killed by pid."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Other:
    """Another Python process that runs `code`; it speaks by printing lines and hears by reading them."""

    def __init__(self, code: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", textwrap.dedent(code), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def hear(self) -> str:
        """The next line it says; empty when it has ended."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def say(self, line: str) -> str:
        """Says a line and hears the answer."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hear()

    def rest(self) -> list[str]:
        """Everything it says until it ends by itself; its exit code must be 0."""
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, out
        return out.split("\n")[:-1]

    def kill(self) -> list[str]:
        """SIGKILL, and what it had said before."""
        self.process.kill()
        out, _ = self.process.communicate()
        return [line for line in out.split("\n") if line]
