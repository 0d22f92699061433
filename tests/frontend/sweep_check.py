"""One sweep case: captured, improved and run here, beside PyTorch."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch._subclasses import FakeTensorMode

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import DTYPES, to_array
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir import interpreter
from ir.errors import SncError
from ir.graph import Program, SymbolKind
from ir.op import Array
from ir.ops.random import Draw
from runtime.session import Session
from tests.frontend.sweep_cases import Call, Calls

MARGIN = 8
"""How many times as far as PyTorch's float32 result ours may be from the result in float64."""


class Status(Enum):
    """What came of a case. Only the first two are good; a wrong number or an unreadable failure is a fault."""

    EQUAL = "equal"
    RANDOM = "random"
    REFUSED = "refused"
    INELIGIBLE = "ineligible"
    WRONG = "wrong"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """The status of one case, why, and the operators that are missing for it."""

    status: Status
    reason: str = ""
    missing: tuple[str, ...] = field(default=())


Runner = Callable[[Program, dict[str, Array]], dict[str, Array]]
"""Runs all of a program's graphs on the values its symbols start from, and gives what they hold in the end."""


def interpreted(program: Program, values: dict[str, Array]) -> dict[str, Array]:
    """By the reference interpreter."""
    symbols = dict(values)
    for graph in program.graphs:
        symbols.update(interpreter.run(graph, symbols))
    return symbols


def simulated(program: Program, values: dict[str, Array]) -> dict[str, Array]:
    """By the backend and the functional simulator."""
    pef = compile_program(program, load_machine("sn30"), BackendOptions())
    session = Session(pef)
    known = {symbol.name for symbol in program.symbols}
    for name, value in values.items():
        if name in known:
            session.write(name, value)
    session.run()
    return {name: session.read(name) for name in known}


def check(calls: Sequence[Call], tolerances: tuple[float, float], runner: Runner = interpreted) -> list[Outcome]:
    """The outcome of every call. Calls are traced together; where not all of them are equal, one by one."""
    outcomes = [out_of_scope(call) for call in calls]
    chosen = [call for call, outcome in zip(calls, outcomes) if outcome is None]
    together = _together(chosen, tolerances, runner) if chosen else None
    if together is not None and (together.status is Status.EQUAL or len(chosen) == 1):
        return [outcome or together for outcome in outcomes]
    return [outcome or _together([call], tolerances, runner) for call, outcome in zip(calls, outcomes)]


def out_of_scope(call: Call) -> Outcome | None:
    """Why a call says nothing about the compiler: no dense tensors of its types, or nothing to compare with."""
    tensors = [*call.samples, *call.parameters(), *call.buffers()]
    try:
        first, second = (_eager(call, seed)[0] for seed in (1, 2))
    except Exception as error:
        return Outcome(Status.INELIGIBLE, f"PyTorch itself refuses: {str(error).splitlines()[:1]}")
    if not first:
        return Outcome(Status.INELIGIBLE, "no tensor results")
    for tensor in (*tensors, *first):
        if tensor.layout is not torch.strided or tensor.is_nested:
            return Outcome(Status.INELIGIBLE, "a sparse or nested tensor")
        if tensor.dtype not in DTYPES:
            return Outcome(Status.INELIGIBLE, f"a {str(tensor.dtype).removeprefix('torch.')} tensor")
    shapes_differ = any(a.shape != b.shape for a, b in zip(first, second))
    if shapes_differ or not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first, second)):
        return Outcome(Status.RANDOM, "draws random numbers")
    return None


def _eager(call: torch.nn.Module, seed: int, samples: Sequence[Tensor] | None = None) -> tuple[list[Tensor], Any]:
    """PyTorch's results on copies of everything, and the copy of the module."""
    module = copy.deepcopy(call)
    torch.manual_seed(seed)
    given = [_fresh(sample) for sample in (samples if samples is not None else module.samples)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(module(*given)), (module, given)


def _fresh(sample: Tensor) -> Tensor:
    """A leaf with the sample's content and strides, behind a copy, so that writing into it is allowed."""
    return sample.detach().clone().requires_grad_(sample.requires_grad)


def _together(calls: list[Call], tolerances: tuple[float, float], runner: Runner) -> Outcome:
    model = copy.deepcopy(Calls(calls))
    model.training = False
    samples = [sample.detach().clone().requires_grad_(sample.requires_grad) for c in calls for sample in c.samples]
    inputs = {f"x{i}": sample for i, sample in enumerate(samples)}
    trains = any(tensor.requires_grad for tensor in (*samples, *model.parameters()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            captured = capture(ModelSpec(model, inputs, every_gradient=True), inference=not trains)
            program = PassManager(standard_pipeline("mp0")).run(captured.program)
            values = dict(captured.values)
            _vary_gradients(program, values)
            symbols = runner(program, values)
    except SncError as error:
        return _refusal(calls, error)
    except Exception as error:
        return Outcome(Status.FAILED, f"{type(error).__name__}: {str(error)[:300]}")
    return _compared(model, samples, program, values, symbols, tolerances)


def _vary_gradients(program: Program, values: dict[str, Array]) -> None:
    """Gradients of outputs other than ones, so that a sum over them is not mistaken for another."""
    rng = np.random.default_rng(5)
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.OUTPUT_GRADIENT:
            values[symbol.name] = np.rint(rng.normal(0, 2, symbol.type.shape)).astype(np.float32)


def _refusal(calls: list[Call], error: SncError) -> Outcome:
    messages = [problem.message for problem in error.problems]
    missing = tuple(dict.fromkeys(found for text in messages for found in re.findall(r"operator (\S+) is not", text)))
    if len(calls) == 1 and not shapes_agree(calls[0]):
        return Outcome(Status.INELIGIBLE, "PyTorch's own shape rule contradicts its kernel")
    if len(calls) > 1 or is_core(calls[0]):
        return Outcome(Status.REFUSED, "; ".join(dict.fromkeys(messages))[:300], missing)
    return Outcome(Status.INELIGIBLE, f"not in core ATen: {messages[0][:200]}", missing)


def shapes_agree(call: Call) -> bool:
    """Whether PyTorch's results have the shapes that its tracing says they have; True where it says none."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        try:
            traced = copy.deepcopy(call)(*(mode.from_tensor(sample.detach()) for sample in call.samples))
        except Exception:
            return True
    return [fake.shape for fake in traced] == [tensor.shape for tensor in _eager(call, 1)[0]]


def is_core(call: Call) -> bool:
    """Whether PyTorch lowers the call to core ATen with static shapes and the device's element types."""
    samples = tuple(sample.detach().clone() for sample in call.samples)
    table = _core_decompositions()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(copy.deepcopy(call), samples, strict=False)
            if any(_stays(node, table) or not _is_dense(node) for node in _calls(exported)):
                return False
            exported = exported.run_decompositions(table)
    except Exception:
        return False
    return all(_is_core_operator(node.target) and _is_dense(node) for node in _calls(exported))


@lru_cache(None)
def _core_decompositions() -> Any:
    return core_aten_decompositions()


def _calls(exported: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    return [node for node in exported.graph.nodes if node.op == "call_function"]


def _stays(node: torch.fx.Node, table: Any) -> bool:
    """Whether an operator is not core, and nothing takes it apart. Says early what decomposing takes long to say."""
    overload = node.target
    if not isinstance(overload, torch._ops.OpOverload) or _is_core_operator(overload):
        return False
    composite = overload.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return not overload._schema.is_mutable and overload not in table and not composite


def _is_core_operator(target: Any) -> bool:
    return not isinstance(target, torch._ops.OpOverload) or torch.Tag.core in target.tags


def _is_dense(node: torch.fx.Node) -> bool:
    """Whether the shapes of the results are static and their element types the device's."""
    leaves = torch.utils._pytree.tree_leaves(node.meta.get("val"))
    if any(isinstance(leaf, torch.SymInt) for leaf in leaves):
        return False
    return all(leaf.dtype in DTYPES for leaf in leaves if isinstance(leaf, Tensor))


def _compared(
    model: Calls,
    samples: list[Tensor],
    program: Program,
    values: dict[str, Array],
    symbols: dict[str, Array],
    tolerances: tuple[float, float],
) -> Outcome:
    """Outputs, buffers and gradients beside PyTorch's; beside those in float64 where rounding may be to blame."""
    if any(isinstance(node.op, Draw) for graph in program.graphs for node in graph.nodes):
        return Outcome(Status.RANDOM, "draws random numbers")
    expected = _expected(model, samples, program, values)
    exact: dict[str, Array] | None = None
    for name, array in expected.items():
        actual = symbols[name]
        if actual.shape != array.shape:
            return Outcome(Status.WRONG, f"{name} has shape {actual.shape} instead of {array.shape}")
        if _close(actual, array, *(tolerances if array.dtype.kind == "f" else (0, 0))):
            continue
        if exact is None:
            exact = _in_float64(model, samples, program, values)
        if name not in exact or array.dtype.kind != "f" or not _as_exact(actual, array, exact[name], tolerances[1]):
            return Outcome(Status.WRONG, f"{name}: {_difference(actual, array)}")
    return Outcome(Status.EQUAL)


def _close(actual: Array, expected: Array, rtol: float, atol: float) -> bool:
    return bool(np.allclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True))


def _as_exact(actual: Array, expected: Array, exact: Array, atol: float) -> bool:
    """Whether ours is not much further from the exact result than PyTorch's own."""
    finite = np.isfinite(exact) & np.isfinite(expected)
    if not _close(actual[~finite], expected[~finite], 0, 0):
        return False
    own = np.abs(expected[finite] - exact[finite]).max(initial=0)
    scale = np.abs(exact[finite]).max(initial=0)
    error = np.abs(actual[finite] - exact[finite]).max(initial=0)
    return bool(error <= MARGIN * own + 1e-6 * scale + atol)


def _difference(actual: Array, expected: Array) -> str:
    with np.errstate(all="ignore"):
        gap = np.abs(np.asarray(actual, np.float64) - np.asarray(expected, np.float64))
    where = np.unravel_index(np.nanargmax(gap) if not np.isnan(gap).all() else 0, gap.shape) if gap.size else ()
    return f"{actual[where]} instead of {expected[where]} at {tuple(map(int, where))} of {list(gap.shape)}"


def _expected(
    model: Calls, samples: list[Tensor], program: Program, values: dict[str, Array], double: bool = False
) -> dict[str, Array]:
    """What PyTorch computes, by the names the program gives it."""
    if double:
        model = copy.deepcopy(model).double()
        samples = [_widened(sample) for sample in samples]
        for call in model.calls:
            call.constants = [torch.float64 if c is torch.float32 else c for c in call.constants]
    outputs, (module, given) = _eager(model, 1, samples)
    names = [symbol.name for symbol in program.symbols if symbol.kind is SymbolKind.OUTPUT]
    found = dict(zip(names, outputs, strict=True))
    seeds = {
        name: torch.from_numpy(values[f"{name}.grad"]).to(found[name].dtype)
        for name in names
        if f"{name}.grad" in program.symbol and found[name].requires_grad
    }
    leaves = {f"x{i}": leaf for i, leaf in enumerate(given)} | dict(module.named_parameters())
    leaves = {f"{name}.grad": leaf for name, leaf in leaves.items() if f"{name}.grad" in program.symbol}
    if leaves:
        made = torch.autograd.grad(
            [found[name] for name in seeds], list(leaves.values()), list(seeds.values()), allow_unused=True
        )
        found |= {name: grad for name, grad in zip(leaves, made) if grad is not None}
    found |= {name: buffer for name, buffer in module.named_buffers() if name in program.symbol}
    return {name: _as_array(tensor) for name, tensor in found.items()}


def _widened(sample: Tensor) -> Tensor:
    if not sample.is_floating_point():
        return sample
    return sample.detach().double().requires_grad_(sample.requires_grad)


def _as_array(tensor: Tensor) -> Array:
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return tensor.numpy() if tensor.dtype is torch.float64 else to_array(tensor)


def _in_float64(model: Calls, samples: list[Tensor], program: Program, values: dict[str, Array]) -> dict[str, Array]:
    """The results in float64; none where the model insists on float32."""
    try:
        return _expected(model, samples, program, values, double=True)
    except Exception:
        return {}
