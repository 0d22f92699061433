"""Every file operation of a compile and of a checkpoint fails once, and once the process is killed at it.

What is found afterwards is all old, all new, or refused; nothing else is ever left behind for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from compiler.driver import CompileRequest, alone_in, build_spec, write_built
from compiler.frontend.model_file import ModelSpec
from ir.errors import PefError, UsageError
from pef import file
from pef.belonging import REFERENCE, WEIGHTS, require_own
from pef.files import TEMPORARY_PREFIX
from runtime.files.checkpoint import Progress, resume, write_checkpoint
from tests.cli.conftest import run_snrun
from tests.mutants.failing import die, failing, in_another_process, no_space
from tests.runtime.test_interrupted import session_with

ENDLESS = 500
"""More operations than anything here does."""

Contents = dict[str, bytes]


def contents(folder: Path) -> Contents:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(TEMPORARY_PREFIX)]


class Compile:
    """Writing what a compile made into a folder: all that a compile does to files."""

    def __init__(self, folder: Path, seed: int) -> None:
        torch.manual_seed(seed)
        spec = ModelSpec(nn.Linear(4, 3), {"input": torch.randn(8, 4)}, name="small")
        self.request = CompileRequest("small.py", inference=True, output_folder=folder)
        self.built = build_spec(spec, self.request)

    def write(self, folder: Path) -> None:
        """As the compiler does."""
        with alone_in(folder):
            write_built(self.built, self.request, folder, "small")


@pytest.fixture(scope="module")
def compiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Compile, Compile]:
    return tuple(Compile(tmp_path_factory.mktemp("compiled"), seed) for seed in (0, 1))  # type: ignore[return-value]


def state(folder: Path, old: Contents, new: Contents) -> str:
    """Whether a folder holds what the old or the new compile wrote, or a mixture that is refused."""
    found = contents(folder)
    kept = {name: content for name, content in found.items() if not name.startswith(TEMPORARY_PREFIX)}
    if kept in (old, new):
        return "old" if kept == old else "new"
    pef = file.read(folder / "small.pef")
    with pytest.raises(PefError, match="it was changed, or comes from another compile"):
        require_own(pef, WEIGHTS, folder / "small.safetensors", found["small.safetensors"])
        require_own(pef, REFERENCE, folder / "small.reference.npz", found["small.reference.npz"])
    run = run_snrun(folder / "small.pef", "--test")
    assert run.exit_code == 1 and "error[PEF]" in run.stderr and "compile the model again" in run.stderr
    return "refused"


def outcomes(
    compiles: tuple[Compile, Compile], tmp_path: Path, attempt: Callable[[Path, int], bool | None]
) -> Iterator[tuple[Path, bool, str]]:
    """For every operation: a folder in which it was the doomed one, whether the compile said so, and its state."""
    old, new = ({}, {})
    for compiled, kept in zip(compiles, (old, new)):
        compiled.write(tmp_path / "whole")
        kept.update(contents(tmp_path / "whole"))
    for doomed in range(ENDLESS):
        folder = tmp_path / str(doomed)
        compiles[0].write(folder)
        succeeded = attempt(folder, doomed)
        if succeeded is None:
            assert doomed > 20, "there are more operations than that"
            return
        yield folder, succeeded, state(folder, old, new)
    pytest.fail("the operations have no end")


def test_a_compile_with_a_failing_file_operation(
    compiles: tuple[Compile, Compile],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    def attempt(folder: Path, doomed: int) -> bool | None:
        with failing(folder, doomed, monkeypatch, no_space) as operations:
            try:
                compiles[1].write(folder)
            except UsageError as error:
                assert "No space left" in str(error)
                return False
        return True if operations.has_failed else None

    seen = set()
    for folder, succeeded, found in outcomes(compiles, tmp_path, attempt):
        assert found == "new" if succeeded else found in ("old", "new", "refused")
        seen.add(found)
        compiles[1].write(folder)
        assert leftovers(folder) == []
    assert "old" in seen
    record_property("operations", len(list(tmp_path.iterdir())) - 2)
    record_property("states", sorted(seen))


def test_a_compile_that_is_killed(
    compiles: tuple[Compile, Compile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(folder: Path, doomed: int) -> bool | None:
        def work() -> None:
            with failing(folder, doomed, monkeypatch, die):
                compiles[1].write(folder)

        return {9: False, 0: None}[in_another_process(work)]

    seen = set()
    for folder, _, found in outcomes(compiles, tmp_path, attempt):
        seen.add(found)
        compiles[1].write(folder)
        assert leftovers(folder) == []
    assert seen == {"old", "new", "refused"}


def write_and_fail(path: Path, doomed: int, patch: pytest.MonkeyPatch, fail: Callable[[], None]) -> bool:
    """Write a checkpoint with one operation failing; whether there was one with that number."""
    with failing(path.parent, doomed, patch, fail) as operations:
        try:
            write_checkpoint(path, session_with(2.0), Progress(20, 0))
        except UsageError as error:
            assert "No space left" in str(error)
    return operations.has_failed


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool, record_property: Callable[[str, object], None]
) -> None:
    for doomed in range(ENDLESS):
        path = tmp_path / str(doomed) / "step.safetensors"
        write_checkpoint(path, session_with(1.0), Progress(10, 0))
        if is_killed:
            was_reached = in_another_process(lambda: write_and_fail(path, doomed, monkeypatch, die)) == 9  # noqa: B023
        else:
            was_reached = write_and_fail(path, doomed, monkeypatch, no_space)
        if not was_reached:
            assert doomed > 8
            record_property("operations", doomed)
            return
        restored = session_with(0.0)
        expected = {10: 1.0, 20: 2.0}[resume(path, restored).step]
        assert (restored.read("w") == expected).all()
        write_checkpoint(path.with_name("next.safetensors"), restored, Progress(30, 0))
        assert leftovers(path.parent) == []
    pytest.fail("the operations have no end")
