"""The compiler and simulator in one file: short, without this project, and right."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from types import ModuleType

import numpy as np
import pytest

from tests.docs.pages import DOCS

FILE = DOCS / "build_it_yourself" / "rdu.py"


@pytest.fixture(scope="module")
def rdu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rdu", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["rdu"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_it_is_short_and_needs_numpy_alone() -> None:
    text = FILE.read_text()
    assert len(text.splitlines()) <= 500
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    assert imported <= {"__future__", "json", "math", "collections", "dataclasses", "numpy"}


def test_every_part_works(rdu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    rdu.main()
    printed = capsys.readouterr().out
    assert [line[0] for line in printed.splitlines() if line[:1].isdigit()] == list("12345678")
    assert "rings of 0: deadlock" in printed


def compiled(rdu: ModuleType, model: object, shapes: dict[str, tuple[int, ...]], depth: int) -> tuple[list, str]:
    graph = rdu.trace(model, **shapes)
    stages = rdu.fuse(graph)
    rdu.allocate(stages, rdu.ROWS, rdu.TILES, rdu.PCUS)
    return graph, rdu.emit(graph, stages, rdu.place(stages), depth)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_numbers_are_the_references(rdu: ModuleType, depth: int) -> None:
    def diamond(x, w, b):  # type: ignore[no-untyped-def]
        left, right = rdu.tanh(x @ w), rdu.normalize(x @ w + b)
        return left * right + left

    shapes = {"x": (256, 16), "w": (16, 16), "b": (16,)}
    graph, text = compiled(rdu, diamond, shapes, depth)
    random = np.random.default_rng(1)
    arrays = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    np.testing.assert_allclose(rdu.execute(text, arrays), rdu.reference(graph, arrays), atol=1e-12)


def test_deeper_rings_never_cost_cycles_and_farther_units_do(rdu: ModuleType) -> None:
    texts = {depth: compiled(rdu, rdu.network, rdu.SHAPES, depth)[1] for depth in (1, 2, 4)}
    cycles = {depth: rdu.total_cycles(text) for depth, text in texts.items()}
    assert cycles[1] > cycles[2] >= cycles[4]
    moved = json.loads(texts[2])
    moved["stages"][-1]["units"] = [rdu.SIDE**2 - 1]
    assert rdu.total_cycles(json.dumps(moved)) > cycles[2]
