"""Inference: a data set through the forward sections, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ir.errors import Problem, UsageError
from ir.graph import SectionKind, SymbolKind
from ir.op import Array
from runtime.files.data import DataSet
from runtime.session import Session


def infer(session: Session, data: DataSet, advance: Callable[[int], None]) -> dict[str, Array]:
    """The outputs for all samples; `advance` is told the samples of each finished batch.

    Outputs with a row per sample are joined and trimmed to the true samples. Others (a mean loss) keep their own
    shape for one batch, and get a leading axis of batches for several.
    """
    require_outputs(session)
    collected: dict[str, list[Array]] = {}
    for inputs, count in data.batches():
        outputs = session.run([SectionKind.FWD.value], inputs=inputs)
        for name, array in outputs.items():
            collected.setdefault(name, []).append(array[:count] if _is_rowwise(array, data) else array)
        advance(count)
    return {name: _joined(arrays, data, session.symbols[name].type.shape) for name, arrays in collected.items()}


def require_outputs(session: Session) -> None:
    """Raises UsageError where nobody could see what a run computes."""
    if not session.names(SymbolKind.OUTPUT):
        raise UsageError(Problem("the PEF has no output", hint="return a tensor from the model, and compile it again"))


def _is_rowwise(array: Array, data: DataSet) -> bool:
    return array.ndim > 0 and len(array) == data.batch


def _joined(arrays: list[Array], data: DataSet, shape: tuple[int, ...]) -> Array:
    if shape and shape[0] == data.batch:
        return np.concatenate(arrays)
    return arrays[0] if len(arrays) == 1 else np.stack(arrays)
