"""Whether a PEF was compiled from the model and the options that a program runs it with, and what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor
from torch.optim import Optimizer

from ir.errors import BindError, PefError, Problem, UsageError
from ir.graph import SymbolKind
from ir.version import VERSION
from pef import check as pef_check
from pef import file
from pef import pef_pb2 as pb
from pef.codec import section_kinds
from pef.decoded_pef import DecodedPef
from pef.wording import listed
from sambaflow.samba._capture.record import SECTION, optimizer_record
from sambaflow.samba._capture.tracing import Traced, shortened
from sambaflow.samba.optim.optimizer import optimizer_spec


def read(path: str) -> DecodedPef:
    """The legal PEF at `path`. Raises UsageError where none is given, PefError where it is unreadable."""
    if not path:
        raise UsageError(Problem("no PEF is given", hint="run with --pef=out/<name>/<name>.pef, as compile printed it"))
    return pef_check.check(file.read(path))


def input_shapes(path: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs of the PEF at `path`, by name. Raises as `read` does."""
    return {s.name: tuple(s.type.shape) for s in read(path).record.symbols if s.kind == SymbolKind.INPUT.value}


def metadata(pef: pb.Pef, path: str = "the PEF") -> dict[str, Any]:
    """What the SDK recorded when compiling. Raises PefError for a PEF that it did not make."""
    recorded = json.loads(pef.header.metadata_json or "{}").get(SECTION)
    if recorded is None:
        hint = "compile the program with its own `compile` verb; snrun runs other PEFs"
        raise PefError(Problem(f"{path} was not compiled by a SambaFlow program", hint=hint))
    return recorded  # type: ignore[no-any-return]


def check(pef: pb.Pef, path: str, traced: Traced, optimizers: Sequence[Optimizer] = ()) -> None:
    """Raises BindError with everything in which the traced model, its optimizers and the PEF differ."""
    recorded = metadata(pef, path)
    problems = [
        *_tensors(pef, SymbolKind.INPUT, traced.structure.tensors, "input"),
        *_tensors(pef, SymbolKind.PARAMETER, dict(traced.model.named_parameters()), "parameter"),
    ]
    problems = problems or _operators(recorded, traced)
    if is_training(pef) and optimizers:
        problems += _optimizers(recorded, traced, optimizers)
    BindError.raise_if([*_first(problems), *_toolchain(pef)] if problems else [])


SHOWN = 10
"""Problems that are listed for one model: another model differs in everything."""


def _first(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - SHOWN
    return [*problems[:SHOWN], *([Problem(f"and {more} more differences like these")] if more > 0 else [])]


def is_training(pef: pb.Pef) -> bool:
    """Whether a PEF was compiled for training: it has backward sections."""
    return any(kind.back_propagates for kind in section_kinds(pef))


def constants(pef: pb.Pef, path: str) -> dict[str, Tensor]:
    """The constants of the model, by symbol, which the compiler wrote beside the PEF. Raises PefError without them."""
    names = [symbol.name for symbol in pef.symbols if symbol.kind == SymbolKind.CONSTANT.value]
    if not names:
        return {}
    beside = Path(path).with_suffix(".safetensors")
    if not beside.exists():
        hint = f"keep {beside.name} in the folder of the PEF, or compile again"
        raise PefError(Problem(f"{beside} is missing: it holds the constants {listed(names, 3)}", hint=hint))
    with safe_open(beside, "pt") as stored:
        return {name: stored.get_tensor(name) for name in names}


def _tensors(pef: pb.Pef, kind: SymbolKind, given: Mapping[str, Tensor], what: str) -> list[Problem]:
    expected = {symbol.name: tuple(symbol.type.shape) for symbol in pef.symbols if symbol.kind == kind.value}
    known = listed([f"{name} {list(shape)}" for name, shape in expected.items()])
    problems = []
    for name, shape in expected.items():
        if name not in given and what == "input":
            hint = f"inputs are matched by name; the PEF expects {known}, the program gives {listed(list(given))}"
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
            both = f"the model computes {shortened(str(operator))}, but the PEF was compiled for {shortened(old)}"
            return [Problem(both, operator.where, _AGAIN)]
    extra = f"{len(now)} operators, but the PEF was compiled for {len(before)}"
    return [Problem(f"the model has {extra}", hint=_AGAIN)]


def _optimizers(recorded: Mapping[str, Any], traced: Traced, optimizers: Sequence[Optimizer]) -> list[Problem]:
    """In what the program's optimizers differ from those that the PEF was compiled for."""
    if "optimizer" not in recorded:
        return []
    names = {id(parameter): path for path, parameter in traced.model.named_parameters()}
    now, before = optimizer_record(*optimizer_spec(optimizers, names)), recorded["optimizer"]
    if now == before or now is None:
        return []
    if before is None:
        both = f"the program trains with {now['kind']}, but the PEF was compiled without an optimizer"
        return [Problem(both, hint="pass the optimizer to samba.session.compile too, and compile again")]
    problems = [
        Problem(f"the program's optimizer has {key} {now[key]}, the PEF was compiled for {before[key]}", hint=_AGAIN)
        for key in ("kind", "clips")
        if now[key] != before[key]
    ]
    return problems or [_group_problem(now["groups"], before["groups"])]


def _group_problem(now: list[dict[str, Any]], before: list[dict[str, Any]]) -> Problem:
    """The first difference of parameter groups."""
    if len(now) != len(before):
        both = f"the program's optimizers have {len(now)} parameter groups, but the PEF was compiled for {len(before)}"
        return Problem(both, hint=_AGAIN)
    number, key = next((i, key) for i, group in enumerate(now) for key in group if group[key] != before[i].get(key))
    mine, theirs = now[number][key], before[number].get(key)
    return Problem(
        f"parameter group {number} of the program's optimizers has {key} {mine}, but the PEF was compiled for {theirs}",
        hint=_AGAIN,
    )


def _toolchain(pef: pb.Pef) -> list[Problem]:
    if pef.header.toolchain_version == VERSION:
        return []
    made = f"the PEF was made by toolchain {pef.header.toolchain_version}, this is {VERSION}"
    return [Problem(made, hint="delete the output folder and compile again")]
