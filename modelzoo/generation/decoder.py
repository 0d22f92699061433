"""A PEF that generates text, as rows that read prompts and take one token after another, each at its own pace."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ir.errors import Problem, UsageError
from ir.op import Array
from modelzoo.device import open_pef
from modelzoo.generation.graphs import DECODE, SECTION, Profile, graph_name
from runtime.session import Session


class Decoder:
    """The graphs of one PEF in a session. Rows are numbered from 0; a row holds the tokens that were fed to it.

    Raises UsageError for a PEF that was not compiled for generation.
    """

    def __init__(self, session: Session) -> None:
        metadata = json.loads(session.pef.header.metadata_json)
        if SECTION not in metadata:
            hint = "compile it with modelzoo.generation, or rdu_generate_text.py command=compile"
            raise UsageError(Problem(f"{session.pef.header.name} was not compiled to generate text", hint=hint))
        found: dict[str, Any] = metadata[SECTION]
        self.profile = Profile(found["batch"], found["length"], tuple(found["prefill"]), found["vocabulary"])
        self.session = session
        self._graphs: dict[str, Any] = metadata["graphs"]
        self._sections = {name: _sections_of(session, name) for name in self._graphs}
        self._filled = [0] * self.profile.batch
        self._start_cache()

    @staticmethod
    def open(pef: Path, threads: int | None = None) -> Decoder:
        """The PEF at a path, still without weights."""
        return Decoder(open_pef(pef, threads))

    @property
    def rows(self) -> int:
        """How many sequences there can be at a time."""
        return self.profile.batch

    @property
    def capacity(self) -> int:
        """The most tokens of a sequence, prompt and answer together."""
        return self.profile.length - 1

    def length(self, row: int) -> int:
        """The tokens a row holds."""
        return self._filled[row]

    def clear(self, row: int) -> None:
        """Begin a new sequence in a row."""
        self._filled[row] = 0

    def feed(self, tokens: Mapping[int, Sequence[int]]) -> dict[int, Array]:
        """Append tokens to some rows; the logits [vocabulary] of what follows, by row. Other rows are left alone.

        Raises UsageError for a row without new tokens, or with more than it can hold.
        """
        self._check(tokens)
        waiting = {row: list(new) for row, new in tokens.items()}
        logits: dict[int, Array] = {}
        while waiting:
            longest = max(map(len, waiting.values()))
            graph, width = self._graph_for(longest)
            taken = {row: new[:width] for row, new in waiting.items()}
            following = self._run(graph, width, taken)
            waiting = {row: new[width:] for row, new in waiting.items() if len(new) > width}
            logits |= {row: following[row] for row in taken if row not in waiting}
        return logits

    def graphs_for(self, tokens: int) -> list[str]:
        """The graphs that reading so many new tokens runs, one after another."""
        found = []
        while tokens > 0:
            graph, width = self._graph_for(tokens)
            found.append(graph)
            tokens -= width
        return found

    def simulated_us(self, graph: str) -> float:
        """Simulated microseconds of RDU time that one run of a graph takes."""
        report = self.session.run_timing(section_ids=self._sections[graph])
        return report.us(report.cycles)

    def _graph_for(self, tokens: int) -> tuple[str, int]:
        """The graph with the fewest tokens that takes so many at once, or the one with the most."""
        if tokens == 1:
            return DECODE, 1
        lengths = sorted(self.profile.prefill)
        width = next((length for length in lengths if length >= tokens), lengths[-1])
        return graph_name(width), width

    def _run(self, graph: str, width: int, taken: Mapping[int, list[int]]) -> Array:
        """Run a graph. Rows that take no part, and places beyond a row's tokens, write to the end of the cache."""
        aside = self.profile.length - 1
        token = np.zeros((self.rows, width), np.int32)
        position = np.full((self.rows, width), aside, np.int32)
        last = np.zeros(self.rows, np.int32)
        for row, new in taken.items():
            token[row, : len(new)] = new
            position[row, : len(new)] = np.arange(self._filled[row], self._filled[row] + len(new))
            last[row] = len(new) - 1
            self._filled[row] += len(new)
        layout = self._graphs[graph]
        given = {"token": token, "position": position, "last": last}
        inputs = {layout["inputs"][name]: array for name, array in given.items()}
        outputs = self.session.run(section_ids=self._sections[graph], inputs=inputs)
        return outputs[layout["outputs"][0]]

    def _check(self, tokens: Mapping[int, Sequence[int]]) -> None:
        problems = []
        for row, new in tokens.items():
            total = self._filled[row] + len(new)
            if not new:
                problems.append(Problem(f"row {row} is given no tokens", hint="a prompt has at least one"))
            elif total > self.capacity:
                hint = "a shorter prompt, fewer new tokens, or a PEF compiled for longer sequences"
                problems.append(Problem(f"row {row} would hold {total} tokens of at most {self.capacity}", hint=hint))
        UsageError.raise_if(problems)

    def _start_cache(self) -> None:
        """The cache starts from zeros: what is not yet written is masked, and must be finite."""
        for name, symbol in self.session.symbols.items():
            if name.startswith("cache.") and not self.session.has_value(name):
                self.session.write(name, np.zeros(symbol.type.shape, symbol.type.dtype.compute))


def _sections_of(session: Session, graph: str) -> list[int]:
    return [i for i, section in enumerate(session.pef.sections) if section.name.rpartition("_")[0] == graph]
