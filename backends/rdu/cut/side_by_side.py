"""Graphs of a program cut side by side, each in a process of its own: cutting is Python, which runs on one core."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from pickle import PicklingError

from backends.rdu.cut.sections import Partition
from ir.errors import InfeasibleError
from ir.graph import Graph
from ir.kernels.processor import host_cores

LARGE = 300
"""Operators of a graph that takes longer to cut than a process takes to start: one to two seconds."""

WATCH_S = 0.5
"""How often a process looks whether the one that started it is still there."""

Partitioned = Callable[..., Partition]
"""Cuts a graph, with a `budget`. It has to be picklable."""

log = logging.getLogger("snc")


class SideBySide:
    """Graphs that are cut, or will be. Whether here or in another process, the sections are the same."""

    def __init__(self, partitioned: Partitioned, graphs: Sequence[Graph], budget: float) -> None:
        """Begin with those of the graphs for which it pays, back-propagation first, which takes longest; one of all is
        left for this process."""
        self.partitioned = partitioned
        self.budget = budget
        self.begun: dict[tuple[int, float], Future[Partition]] = {}
        self.later: list[Graph] = []
        self.found: dict[int, Partition] = {}
        large = [graph for graph in graphs if len(graph.nodes) >= LARGE]
        large.sort(key=lambda graph: (not graph.kind.back_propagates, -len(graph.nodes)))
        workers = min(host_cores() - 1, len(graphs) - 1, len(large))
        # A daemon of `multiprocessing` may not have processes of its own.
        if workers < 1 or multiprocessing.current_process().daemon:
            return
        # Importing it takes a fifth of a second, and small programs need none of it.
        from loky import get_reusable_executor

        try:
            executor = get_reusable_executor(workers, initializer=_end_with, initargs=(os.getpid(),))
            for graph in large[:workers]:
                self.begun[id(graph), budget] = executor.submit(partitioned, graph, budget=budget)
            self.later = [graph for graph in graphs if (id(graph), budget) not in self.begun]
        except OSError as error:
            log.info("cutting all graphs here: no processes for it can be started: %s", error)

    def partition(self, graph: Graph, budget: float) -> Partition:
        """The sections of a graph, waited for where another process is at it: meanwhile, others are cut here. Raises
        InfeasibleError."""
        self.later = [other for other in self.later if other is not graph]
        if budget == self.budget and id(graph) in self.found:
            return self.found.pop(id(graph))
        future = self.begun.pop((id(graph), budget), None)
        if future is not None:
            while self.later and not future.done():
                self._cut_ahead(self.later.pop(0))
            try:
                return future.result()
            except (BrokenExecutor, PicklingError) as error:
                why = str(error).partition("\n")[0]
                log.info("cutting %s here: the process for it failed: %s", graph.kind.value, why)
        return self.partitioned(graph, budget=budget)

    def _cut_ahead(self, graph: Graph) -> None:
        """Cut a graph before it is asked for. What cannot be is refused when it is."""
        with suppress(InfeasibleError):
            self.found[id(graph)] = self.partitioned(graph, budget=self.budget)

    def cancel(self) -> None:
        """Begin no more graphs."""
        for future in self.begun.values():
            future.cancel()


def _end_with(parent: int) -> None:
    """Let this process end with the one that started it, which may be killed: nobody else would tell."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
