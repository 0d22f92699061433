"""Whether a PEF was compiled from the model and the options that a program runs it with, and what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ir.errors import BindError, PefError, Problem, UsageError
from ir.graph import SymbolKind
from pef import check as pef_check
from pef import file
from pef import pef_pb2 as pb
from sambaflow.samba.tracing import Traced

SECTION = "sambaflow"
"""The part of a PEF's metadata that the SDK writes."""


def read(path: str) -> pb.Pef:
    """The PEF at `path`. Raises UsageError where none is given, PefError where it is unreadable."""
    if not path:
        raise UsageError(Problem("no PEF is given", hint="run with --pef=out/<name>/<name>.pef, as compile printed it"))
    pef = file.read(path)
    pef_check.check(pef)
    return pef


def metadata(pef: pb.Pef, path: str = "the PEF") -> dict[str, Any]:
    """What the SDK recorded when compiling. Raises PefError for a PEF that it did not make."""
    recorded = json.loads(pef.header.metadata_json or "{}").get(SECTION)
    if recorded is None:
        hint = "compile the program with its own `compile` verb; snrun runs other PEFs"
        raise PefError(Problem(f"{path} was not compiled by a SambaFlow program", hint=hint))
    return recorded  # type: ignore[no-any-return]


def check(pef: pb.Pef, path: str, traced: Traced) -> None:
    """Raises BindError with everything in which the traced model and the PEF differ."""
    recorded = metadata(pef, path)
    problems = [
        *_tensors(pef, SymbolKind.INPUT, traced.structure.tensors, "input"),
        *_tensors(pef, SymbolKind.PARAMETER, dict(traced.model.named_parameters()), "parameter"),
    ]
    problems = problems or _operators(recorded, traced)
    BindError.raise_if([*problems, *_toolchain(pef)] if problems else [])


def constants(pef: pb.Pef, path: str) -> dict[str, Tensor]:
    """The constants of the model, by symbol, which the compiler wrote beside the PEF. Raises PefError without them."""
    names = [symbol.name for symbol in pef.symbols if symbol.kind == SymbolKind.CONSTANT.value]
    if not names:
        return {}
    beside = Path(path).with_suffix(".safetensors")
    if not beside.exists():
        hint = f"keep {beside.name} in the folder of the PEF, or compile again"
        raise PefError(Problem(f"{beside} is missing: it holds the constants {', '.join(names[:3])}", hint=hint))
    with safe_open(beside, "pt") as stored:
        return {name: stored.get_tensor(name) for name in names}


def _tensors(pef: pb.Pef, kind: SymbolKind, given: Mapping[str, Tensor], what: str) -> list[Problem]:
    expected = {symbol.name: tuple(symbol.type.shape) for symbol in pef.symbols if symbol.kind == kind.value}
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in expected.items())
    problems = []
    for name, shape in expected.items():
        if name not in given and what == "input":
            hint = f"inputs are matched by name; the PEF expects {listed}, the program gives {', '.join(given)}"
            problems.append(Problem(f"{what} {name!r} of the PEF is missing in the program", hint=hint))
        elif name not in given:
            problems.append(Problem(f"{what} {name!r} {list(shape)} of the PEF is missing in the model", hint=_AGAIN))
        elif tuple(given[name].shape) != shape:
            problems.append(
                Problem(
                    f"{what} {name!r} has shape {list(given[name].shape)}, but the PEF was compiled for {list(shape)}",
                    hint=_shape_hint(what, tuple(given[name].shape), shape),
                )
            )
    return problems


_AGAIN = "compile the program again with the options it runs with"


def _shape_hint(what: str, given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if what == "input" and given[1:] == expected[1:] and given and expected:
        return f"run with -b {expected[0]}, or compile with -b {given[0]}"
    return _AGAIN


def _operators(recorded: Mapping[str, Any], traced: Traced) -> list[Problem]:
    """The first operator that differs; the rest follows from it."""
    before, now = recorded["operators"], traced.signature
    if before == now:
        return []
    for old, operator in zip(before, traced.operators):
        if old != str(operator):
            both = f"the model computes {operator}, but the PEF was compiled for {old}"
            return [Problem(both, operator.where, _AGAIN)]
    extra = f"{len(now)} operators, but the PEF was compiled for {len(before)}"
    return [Problem(f"the model has {extra}", hint=_AGAIN)]


def _toolchain(pef: pb.Pef) -> list[Problem]:
    from compiler.driver import TOOLCHAIN_VERSION

    if pef.header.toolchain_version == TOOLCHAIN_VERSION:
        return []
    made = f"the PEF was made by toolchain {pef.header.toolchain_version}, this is {TOOLCHAIN_VERSION}"
    return [Problem(made, hint="delete the output folder and compile again")]
