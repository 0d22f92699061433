"""Runs the blocks of a page in order, as a reader would: in one folder, each language keeping what came before.

The folder is temporary and looks like a checkout: what pages name stands in it as links. `snc`, `snrun` and `python`
are those that run the tests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.pages import ROOT, Block

LINKED = ("examples", "benchmarks", "docs", "tests", "modelzoo", "Makefile", "setup.cfg")
TOO_MUCH = re.compile(r"^\s*(make|pip|python -m pip|(\S*/)?pytest|(\S*python -m )pytest)\b", re.M)
"""What no test should do: install, or run tests."""
SECONDS = 900
"""After which a block counts as hanging."""
COMMANDS = {"snc": "compiler.cli", "snrun": "runtime.snrun.cli", "snd": "runtime.node.daemon"}
COMMANDS |= {name: f"runtime.node.tools.{name}" for name in ("snconfig", "sntilestat", "snfadm", "snfault")}

PYTHON = """
import json, sys, traceback
from contextlib import redirect_stdout
answers, space = sys.stdout, {"__name__": "__main__"}
for line in sys.stdin:
    name, text = json.loads(line)
    status = 0
    with redirect_stdout(sys.stderr):
        try:
            exec(compile(text, name, "exec"), space)
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
    sys.stderr.flush()
    print(json.dumps(status), file=answers, flush=True)
"""


class Reader:
    """Someone who follows a page in `folder`, typing one block after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / ".python.log"
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)
        shims = folder / ".bin"
        shims.mkdir()
        for name, module in COMMANDS.items():
            call = f"import sys; sys.argv[0] = '{name}'; from {module} import main; main()"
            self._shim(shims / name, f'"{sys.executable}" -c "{call}"')
        self._shim(shims / "python", f'"{sys.executable}"')
        path = os.pathsep.join([str(shims), os.environ.get("PATH", os.defpath)])
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        self._python: subprocess.Popen[str] | None = None

    def run(self, block: Block) -> str:
        """Do what a block says; what it printed. Raises AssertionError where it ends otherwise than the page says."""
        assert not TOO_MUCH.search(block.text), f"{block} installs or tests: mark it <!-- not run: why --> on its page"
        if block.file is not None:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            return ""
        status, printed = self._sh(block.text) if block.language == "sh" else self._exec(block)
        assert status == block.status, f"{block} ends with {status}:\n{block.text}\n{printed}"
        return printed

    def _sh(self, text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout

    def _exec(self, block: Block) -> tuple[int, str]:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", PYTHON],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log.open("w"),
                text=True,
            )
        before = self.log.stat().st_size
        assert self._python.stdin is not None and self._python.stdout is not None
        self._python.stdin.write(json.dumps([str(block), block.text]) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        return int(json.loads(answer)) if answer else -1, self.log.read_text()[before:]

    def close(self) -> None:
        """End the interpreter."""
        if self._python is not None:
            assert self._python.stdin is not None
            self._python.stdin.close()
            self._python.wait(timeout=60)

    @staticmethod
    def _shim(path: Path, command: str) -> None:
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    """A reader in a new folder."""
    one = Reader(folder)
    try:
        yield one
    finally:
        one.close()


def follow(blocks: list[Block], folder: Path) -> None:
    """Run blocks in order, and compare what they print with what the page says they do."""
    printed = ""
    with reader(folder) as someone:
        for block in blocks:
            if block.is_output:
                missing = [line for line in block.text.splitlines() if line.strip() and not found(line, printed)]
                assert not missing, f"{block}: not printed:\n" + "\n".join(missing) + f"\n\nbut:\n{printed}"
            elif block.is_run:
                printed = someone.run(block)


def found(line: str, printed: str) -> bool:
    """Whether a line was printed, where `...` stands for any text and spaces do not count."""
    parts = [r"[^\S\n]+".join(map(re.escape, part.split())) for part in line.split("...")]
    return re.search(r"[^\n]*".join(parts), printed) is not None
