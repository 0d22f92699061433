"""The operator page, `docs/operators.md`, from the declarations: `python -m tests.frontend.operator_page` writes it.

Iteration spaces are shown as they are for the operators' test samples.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from compiler.frontend.composites import COMPOSITES
from compiler.frontend.decompositions import decompositions
from compiler.frontend.lowering import LIBRARIES, LOWERINGS
from compiler.frontend.lowering.complex_numbers import BOTH_PARTS, COMPLEX
from compiler.frontend.workarounds import WORKAROUNDS
from ir.op import OPS, Op

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operators.md"
sys.path.append(str(ROOT / "tests" / "ir"))

from samples import SAMPLES, Sample  # noqa: E402
from samples_more import MORE_SAMPLES  # noqa: E402

INTRODUCTION = """# Operators

What the device computes, and which of PyTorch's operators become what. Generated from the declarations in `ir/ops` and
the tables in `compiler/frontend` by `python -m tests.frontend.operator_page`; a test keeps it current.

## The device's operators

The iteration space says how operands and results are indexed (see `ir/space.py`): a dim without `!` may be cut into
tiles. It is shown for one example. The class says which part of a PCU works: the systolic array, the SIMD pipeline
(`tail`: with its slow functions), reduction, address generators (gather), or none (free).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_operators(), "", *_whole(), "", *_aten(), "", *_refused(), ""])


def holding_axes_whole() -> set[str]:
    """The operators that do, in any of their samples."""
    spaces = {(sample.op.name, str(sample.op.space(*sample.operands))) for sample in (*SAMPLES, *MORE_SAMPLES)}
    return {name for name, space in spaces if "!" in space}


def _whole() -> Iterator[str]:
    yield "## What is not cut"
    yield ""
    yield "All other axes of all operators can be cut, and tests cut every one of them in every way it divides."
    yield ""
    yield "| Operators that hold an axis whole | because |"
    yield "|---|---|"
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, operator in sorted(OPS.items()):
        by_reason[operator.whole].append(name)
    for reason, names in sorted(by_reason.items()):
        if reason:
            yield f"| {', '.join(f'`{name}`' for name in names)} | {reason} |"


def _operators() -> Iterator[str]:
    yield "| Operator | Computes | Example of its space | Class | Limits |"
    yield "|---|---|---|---|---|"
    examples: dict[str, Sample] = {}
    for sample in (*SAMPLES, *MORE_SAMPLES):
        examples.setdefault(sample.op.name, sample)
    for name, operator in sorted(OPS.items()):
        sample = examples[name]
        cost = sample.op.cost
        limits = "; ".join(str(rule.__doc__) for rule in operator.limits)
        space = f"`{_named_space(sample)}`" if sample.operands else ""
        kind = f"{cost.kind.value}{' (tail)' if cost.tail else ''}"
        yield f"| `{name}` | {_rule(operator)} | {space} | {kind} | {limits} |"


def _named_space(sample: Sample) -> str:
    return str(sample.op.space(*sample.operands)).replace("|", "\\|")


def _rule(operator: type[Op]) -> str:
    return " ".join((operator.__doc__ or "").split()).replace("|", "\\|")


def _aten() -> Iterator[str]:
    decomposed = {name for name in map(str, decompositions()) if name.startswith("aten.")}
    yield "## PyTorch's operators"
    yield ""
    yield f"{len(_of_pytorch(LOWERINGS))} overloads are lowered as they are:"
    yield ""
    yield from _listed(_of_pytorch(LOWERINGS))
    yield ""
    yield f"So are these of the transformers library: {', '.join(f'`{name}`' for name in sorted(LIBRARIES))}."
    yield ""
    yield f"Complex tensors are pairs of a real and an imaginary part; {len(COMPLEX)} overloads have a rule for these:"
    yield ""
    yield from _listed(COMPLEX)
    yield ""
    yield f"Both parts alike: {', '.join(f'`aten.{name}`' for name in sorted(BOTH_PARTS))}."
    yield ""
    yield f"{len(_of_pytorch(COMPOSITES))} are traced as other operators, which PyTorch then differentiates:"
    yield ""
    yield from _listed(_of_pytorch(COMPOSITES))
    yield ""
    yield f"{len(decomposed)} more are taken apart by PyTorch's own decompositions until only these are left."


def _of_pytorch(overloads: Iterable[object]) -> list[object]:
    """Without the toolchain's own, which models do not call."""
    return [overload for overload in overloads if not str(overload).startswith("snc.")]


def _listed(overloads: object) -> Iterator[str]:
    by_name: dict[str, list[str]] = defaultdict(list)
    for overload in overloads:  # type: ignore[attr-defined]
        packet, _, variant = str(overload).rpartition(".")
        by_name[packet].append(variant)
    for packet, variants in sorted(by_name.items()):
        yield f"- `{packet}`: {', '.join(sorted(variants))}"


def _refused() -> Iterator[str]:
    yield "## What is refused"
    yield ""
    yield "Refused with the user's file and line, and this to try instead. Also: results whose shape depends on values,"
    yield "float64, float16 and complex128 tensors, sparse tensors, operators that write into views they do not own."
    yield ""
    yield "| Operator | Try |"
    yield "|---|---|"
    for name, remedy in sorted(WORKAROUNDS.items()):
        yield f"| `{name}` | {remedy} |"


if __name__ == "__main__":
    PAGE.write_text(page())
