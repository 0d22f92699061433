"""Every pass, before and after, in the text form; and what no pass may change: the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.frontend.capture import capture
from compiler.frontend.model_file import load_model
from compiler.pass_manager import PassManager, parse_pipeline
from compiler.passes import PASSES, standard_pipeline
from compiler.passes.precision import round_values
from ir import interpreter
from ir.errors import GraphError, UsageError
from ir.graph import Program, Symbol, SymbolKind
from ir.op import Array
from ir.text import parse_program, print_program
from ir.types import DType, TensorType

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parents[2] / "examples"
CASES = sorted(path.stem for path in GOLDEN.glob("*.txt"))
EXACT = tuple(name for name in PASSES if name != "precision")
"""Passes that may not change a number."""


def parts(case: str) -> tuple[str, str]:
    """The text before a pass, and the text expected after it."""
    before, _, after = (GOLDEN / f"{case}.txt").read_text().removeprefix("// before\n").partition("// after\n")
    return before, after


def pipeline(case: str) -> str:
    """The pass a golden file is for: `precision-mp1.txt` is for `precision{preset=mp1}`."""
    return f"precision{{preset={case.removeprefix('precision-')}}}" if case.startswith("precision") else case


def random_values(program: Program, seed: int = 0) -> dict[str, Array]:
    """Content for every symbol that graphs may read before anything is stored."""
    generator = np.random.default_rng(seed)
    values: dict[str, Array] = {}
    for symbol in program.symbols:
        drawn = generator.uniform(0.1, 1.0, symbol.type.shape)
        values[symbol.name] = (drawn if symbol.type.dtype.is_float else drawn * 3).astype(symbol.type.dtype.compute)
    return values


def computed(program: Program, values: dict[str, Array]) -> dict[str, Array]:
    """The content of all symbols that outlive a step, after one step."""
    symbols = dict(values)
    for graph in program.graphs:
        symbols.update(interpreter.run(graph, symbols))
    return {s.name: symbols[s.name] for s in program.symbols if s.kind is not SymbolKind.ACTIVATION}


def test_every_pass_has_a_case() -> None:
    assert {parse_pipeline(pipeline(case))[0].name for case in CASES} == set(PASSES)


@pytest.mark.parametrize("case", CASES)
def test_before_and_after(case: str, update: bool) -> None:
    before, expected = parts(case)
    program = parse_program(before)
    after = print_program(PassManager(parse_pipeline(pipeline(case))).run(program))
    if update:
        (GOLDEN / f"{case}.txt").write_text(f"// before\n{before}// after\n{after}")
    else:
        assert after == expected
    assert print_program(program) == before


@pytest.mark.parametrize("case", CASES)
def test_again_changes_nothing(case: str) -> None:
    once = PassManager(parse_pipeline(pipeline(case))).run(parse_program(parts(case)[0]))
    assert PassManager(parse_pipeline(pipeline(case))).run(once) == once


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("case", CASES)
def test_numbers_stay_on_small_programs(case: str, name: str) -> None:
    program = parse_program(parts(case)[0])
    values = random_values(program)
    with np.errstate(all="ignore"):
        expected = computed(program, values)
        actual = computed(PassManager(parse_pipeline(name)).run(program), values)
    for symbol, array in actual.items():
        np.testing.assert_array_equal(array, expected[symbol], err_msg=symbol)


@pytest.fixture(scope="module")
def training() -> tuple[Program, dict[str, Array]]:
    """A transformer's training program, with the content it starts from."""
    captured = capture(load_model(f"{EXAMPLES / 'transformer.py'}:tiny", 2), inference=False)
    return captured.program, captured.values


@pytest.mark.parametrize("name", [*EXACT, "standard"])
def test_numbers_stay_on_a_transformer(name: str, training: tuple[Program, dict[str, Array]]) -> None:
    program, values = training
    passes = standard_pipeline("mp0") if name == "standard" else parse_pipeline(name)
    actual = computed(PassManager(passes).run(program), values)
    expected = computed(program, values)
    for symbol, array in actual.items():
        np.testing.assert_allclose(array, expected[symbol], rtol=1e-6, atol=1e-7, err_msg=symbol)


@pytest.mark.parametrize("preset", ["mp1", "mp4"])
def test_lower_precision_is_close_and_lower(preset: str, training: tuple[Program, dict[str, Array]]) -> None:
    program, values = training
    narrowed = PassManager(standard_pipeline(preset)).run(program)
    rounded = round_values(narrowed, values)
    expected, actual = computed(program, values), computed(narrowed, rounded)
    assert abs(actual["loss"] - expected["loss"]) < 0.03 * abs(expected["loss"])
    assert actual["loss"] != expected["loss"]
    wide = {s.name for s in narrowed.symbols if s.type.dtype is DType.F32}
    kept = {"lr", "weight_decay", "max_grad_norm", "step", "grad_clip"}
    assert wide == kept if preset == "mp4" else wide > kept


def test_states_that_are_one_number_stay_one_number() -> None:
    """Whole, the states of a large model do not fit a computer that could compile it."""
    symbols = (Symbol("state", TensorType(DType.BF16, (1 << 20, 1 << 20)), SymbolKind.STATE),)
    program = Program("p", symbols, ())
    state = round_values(program, {"state": np.broadcast_to(np.float32(1.001), (1 << 20, 1 << 20))})["state"]
    assert state.shape == (1 << 20, 1 << 20) and not any(state.strides)
    assert state[5, 7] == 1.0


def test_manager_names_the_pass_that_breaks_a_program() -> None:
    class Breaker:
        name = "breaker"

        def __call__(self, program: Program) -> Program:
            return Program(program.name, (), program.graphs)

    with pytest.raises(GraphError, match="pass breaker made an invalid program"):
        PassManager((Breaker(),)).run(parse_program(parts("cse")[0]))


def test_manager_times_and_prints() -> None:
    shown: list[str] = []
    manager = PassManager(parse_pipeline("cse, dce"), print_after=("dce",), show=shown.append)
    manager.run(parse_program(parts("cse")[0]))
    assert [(timing.name, timing.nodes) for timing in manager.timings] == [("cse", 7), ("dce", 6)]
    assert len(shown) == 1
    assert shown[0].startswith("// after dce\nprogram @p {")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("csee", "there is no pass 'csee'\n    try: there are precision, canonicalize"),
        ("cse{x=1}", "pass cse has no such option: x=1"),
        ("precision{preset=mp9}", "there is no precision preset 'mp9'\n    try: use one of mp0, mp1, mp4"),
    ],
)
def test_pipeline_errors(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_pipeline(text)
    assert expected in str(raised.value)


def test_print_after_an_unknown_pass() -> None:
    with pytest.raises(UsageError, match="there is no pass 'nothing'"):
        PassManager((), print_after=("nothing",))
