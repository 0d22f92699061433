"""Host data for runs: samples along the leading axis, cut into the batches a PEF was compiled for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ir.errors import BindError, Problem
from ir.graph import Symbol, SymbolKind
from ir.op import Array
from runtime.session import Session


@dataclass(frozen=True)
class DataSet:
    """Arrays for the input symbols of a PEF.

    `sampled` have one row per sample, any number of them; `fixed` are the same for every batch.
    """

    sampled: dict[str, Array]
    fixed: dict[str, Array]
    samples: int
    batch: int

    @staticmethod
    def of(arrays: Mapping[str, Array], session: Session) -> DataSet:
        """Match `arrays` with the inputs of a PEF.

        An array is a row per sample where it fits its symbol in all but the leading axis; inputs that fit exactly
        are rows too if they share the leading extent of the others, else fixed. Raises BindError for all that is
        missing, unknown or of another shape.
        """
        known = {name: session.symbols[name] for name in session.names(SymbolKind.INPUT)}
        accepted = {**known, **{name: session.symbols[name] for name in session.names(SymbolKind.OUTPUT_GRADIENT)}}
        problems = [Problem(f"the data lacks input {n!r} ({s.type})") for n, s in known.items() if n not in arrays]
        for name, array in arrays.items():
            if name not in accepted:
                hint = f"inputs are {', '.join(known)}"
                problems.append(Problem(f"the data holds {name!r}, which is not an input of the PEF", hint=hint))
            elif not _fits(array, accepted[name]):
                shape = accepted[name].type.shape
                problems.append(
                    Problem(
                        f"{name!r} has shape {list(array.shape)}, but the PEF expects {list(shape)}",
                        hint="the leading axis may be longer or shorter, the others must match",
                    )
                )
        BindError.raise_if(problems)
        return _divided(arrays, accepted)

    def batches(self, order: Array | None = None) -> Iterator[tuple[dict[str, Array], int]]:
        """The inputs of successive batches with the number of true samples in each, all samples in `order`.

        The last batch is filled up by repeating its last sample.
        """
        rows = np.arange(self.samples) if order is None else order
        for start in range(0, self.samples, self.batch):
            chosen = rows[start : start + self.batch]
            padded = np.concatenate([chosen, np.repeat(chosen[-1:], self.batch - len(chosen))])
            taken = {name: array[padded] for name, array in self.sampled.items()}
            yield {**taken, **self.fixed}, len(chosen)


def _fits(array: Array, symbol: Symbol) -> bool:
    shape = symbol.type.shape
    return array.shape == shape or (array.ndim == len(shape) > 0 and array.shape[1:] == shape[1:] and len(array) > 0)


def _divided(arrays: Mapping[str, Array], symbols: Mapping[str, Symbol]) -> DataSet:
    longer = {name for name, array in arrays.items() if array.shape != symbols[name].type.shape}
    lengths = {len(arrays[name]) for name in longer}
    batches = {symbols[name].type.shape[0] for name in longer}
    if not longer:
        first = next((symbols[name].type.shape for name in arrays if symbols[name].type.shape), (1,))
        lengths, batches = {first[0]}, {first[0]}
    if len(lengths) > 1 or len(batches) > 1:
        listed = ", ".join(f"{name} {len(arrays[name])}" for name in sorted(longer))
        raise BindError(Problem(f"the inputs have different numbers of samples: {listed}"))
    samples, batch = lengths.pop(), batches.pop()
    sampled = {name: array for name, array in arrays.items() if array.ndim and len(array) == samples and name in longer}
    if not longer:
        sampled = {name: array for name, array in arrays.items() if array.ndim and len(array) == samples}
    fixed = {name: array for name, array in arrays.items() if name not in sampled}
    return DataSet(sampled, fixed, samples, batch)
