"""Inference on tensors: requests of several clients share a PEF's batches where that changes no bit of an answer."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np

from ir.graph import SymbolKind
from ir.op import Array
from modelbox.box_file import Home, Profile
from modelbox.refusal import Reason, Refusal
from modelbox.service.loading import open_profile, sharing
from modelbox.service.metrics import Metrics
from modelbox.service.post import Post
from modelbox.service.tensors import DEVICE, Described, as_device
from modelbox.service.waiting import Waiting, guarded
from runtime.session import Session

log = logging.getLogger("snc.box")

FORWARD = ("FWD",)


@dataclass(frozen=True)
class Inference:
    """The answer to a request for tensors. simulated_rdu_ns is simulated time of the RDU."""

    outputs: dict[str, Array]
    profile: str
    simulated_rdu_ns: int


@dataclass(eq=False)
class TensorTicket:
    """A request that waits. `inputs` are checked; `rows` of them are samples."""

    profile: str
    inputs: dict[str, Array]
    rows: int
    deadline: float
    answer: Future[Inference] = field(default_factory=Future)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return sum(array.nbytes for array in self.inputs.values())

    @property
    def gone(self) -> bool:
        """Whether nobody waits for it any more; one that waited too long is told so."""
        if not self.answer.cancelled() and time.monotonic() > self.deadline:
            self.answer.set_exception(Refusal(Reason.LATE, "the request waited longer than it is allowed to take"))
            return True
        return self.answer.cancelled()


class LoadedProfile:
    """A PEF with its weights.

    rowwise: every input and output has a row per sample. shares: rows of several requests may stand in one batch: it
    was tried that a row's outputs are the same bits at other places of the batch and beside other rows.
    """

    def __init__(self, profile: Profile, session: Session) -> None:
        self.name, self.batch, self.session = profile.name, profile.batch, session
        self.inputs = self._described(SymbolKind.INPUT)
        self.outputs = self._described(SymbolKind.OUTPUT)
        shapes = [tensor.shape for tensor in (*self.inputs, *self.outputs)]
        self.rowwise = bool(self.outputs) and all(shape[:1] == (self.batch,) for shape in shapes)
        report = session.run_timing(FORWARD)
        self.simulated_rdu_ns = round(1000 * report.us(report.cycles))
        block = sharing(self._rows_are_independent) if self.rowwise else None
        self.shares, self._block = block is not None, block or nullcontext()
        if self.rowwise and not self.shares:
            log.warning("%s: rows of a batch influence one another: a request is a whole batch", self.name)

    @property
    def metadata(self) -> tuple[list[Described], list[Described]]:
        """Inputs and outputs as clients see them: any number of rows where rows are shared."""
        return self._shown(self.inputs), self._shown(self.outputs)

    def fault(self, arrays: Mapping[str, Array]) -> str | None:
        """Why these inputs are not for this profile, if they are not."""
        wanted = {tensor.name: tensor for tensor in self.inputs}
        if unknown := sorted(arrays.keys() - wanted.keys()):
            return f"there is no input {unknown[0]!r}: inputs are {', '.join(wanted)}"
        if missing := sorted(wanted.keys() - arrays.keys()):
            return f"input {missing[0]!r} is missing"
        for name, array in arrays.items():
            shape, expected = array.shape, wanted[name].shape
            if shape != expected and not (self.shares and shape[1:] == expected[1:] and len(shape) == len(expected)):
                shown = [-1, *expected[1:]] if self.shares else list(expected)
                return f"{name} is {list(shape)}, not {shown}"
        rows = {len(array) for array in arrays.values()} if self.shares else {self.batch}
        if len(rows) > 1:
            return f"the inputs have different numbers of rows: {sorted(rows)}"
        return "there are no rows" if rows == {0} else None

    def ticket(self, arrays: Mapping[str, Array], deadline: float) -> TensorTicket:
        """A request for this profile, whose inputs have no fault. Raises Refusal for elements of another type."""
        types = {tensor.name: tensor.datatype for tensor in self.inputs}
        inputs = {name: as_device(name, array, types[name]) for name, array in arrays.items()}
        rows = len(next(iter(inputs.values()))) if self.shares else self.batch
        return TensorTicket(self.name, inputs, rows, deadline)

    def run(self, tickets: Sequence[TensorTicket]) -> list[Inference]:
        """The answers to requests, from batches that they share."""
        rows = sum(ticket.rows for ticket in tickets)
        if not self.shares:
            return [self._answer(self._outputs(ticket.inputs), 1) for ticket in tickets]
        joined = {tensor.name: np.concatenate([t.inputs[tensor.name] for t in tickets]) for tensor in self.inputs}
        parts = []
        for start in range(0, rows, self.batch):
            chosen = np.minimum(np.arange(start, start + self.batch), rows - 1)
            parts.append(self._outputs({name: array[chosen] for name, array in joined.items()}))
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        answers, start = [], 0
        for ticket in tickets:
            mine = {name: array[start : start + ticket.rows].copy() for name, array in outputs.items()}
            answers.append(self._answer(mine, -(-ticket.rows // self.batch)))
            start += ticket.rows
        return answers

    def _outputs(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Of one batch."""
        with self._block:
            return self.session.run(FORWARD, inputs=inputs)

    def _answer(self, outputs: dict[str, Array], runs: int) -> Inference:
        return Inference(outputs, self.name, runs * self.simulated_rdu_ns)

    def _described(self, kind: SymbolKind) -> list[Described]:
        symbols = [self.session.symbols[name] for name in self.session.names(kind)]
        return [Described(symbol.name, DEVICE[symbol.type.dtype], symbol.type.shape) for symbol in symbols]

    def _shown(self, tensors: Sequence[Described]) -> list[Described]:
        if not self.shares:
            return list(tensors)
        return [Described(tensor.name, tensor.datatype, (-1, *tensor.shape[1:])) for tensor in tensors]

    def _rows_are_independent(self) -> bool:
        """Try it: rows at other places, in another order, and with nothing but copies of one beside them."""
        random = np.random.default_rng(0)
        inputs = {}
        for name in self.session.names(SymbolKind.INPUT):
            kind = self.session.symbols[name].type
            if kind.dtype.is_float:
                inputs[name] = random.standard_normal(kind.shape, np.float32)
            else:
                inputs[name] = random.integers(0, 2, kind.shape).astype(kind.dtype.compute)
        rows = np.arange(self.batch)
        expected = self.session.run(FORWARD, inputs=inputs)
        for order in (np.roll(rows, 1), rows[::-1], np.full(self.batch, self.batch - 1), np.zeros_like(rows)):
            found = self.session.run(FORWARD, inputs={name: array[order] for name, array in inputs.items()})
            if any(found[name].tobytes() != array[order].tobytes() for name, array in expected.items()):
                return False
        return True


class TensorModel:
    """The profiles of a box on the device, and the one thread that runs them."""

    def __init__(self, home: Home, metrics: Metrics) -> None:
        self.profiles = {p.name: LoadedProfile(p, open_profile(home, p)) for p in home.box.of_use("inference")}
        self.waiting: Waiting[TensorTicket] = Waiting(home.box.limits)
        self.post = Post()
        self._wakes = False
        self._metrics = metrics
        self._thread = threading.Thread(target=guarded, args=(self._work, self.waiting), name="device", daemon=True)
        self._thread.start()

    def choose(self, arrays: Mapping[str, Array], profile: str | None = None) -> LoadedProfile:
        """The profile for a request, by the request alone: the one it names, or the first that its inputs fit.

        Load never decides, so that it never changes an answer. Raises Refusal where there is none.
        """
        if profile is not None and profile not in self.profiles:
            raise Refusal(Reason.INVALID, f"there is no profile {profile!r}: {', '.join(self.profiles)}")
        asked = [self.profiles[profile]] if profile is not None else list(self.profiles.values())
        faults = []
        for candidate in asked:
            fault = candidate.fault(arrays)
            if fault is None:
                return candidate
            faults.append(fault)
        raise Refusal(Reason.INVALID, faults[0])

    def submit(
        self,
        arrays: Mapping[str, Array],
        deadline: float,
        profile: str | None = None,
        arrived: Callable[[], None] | None = None,
    ) -> Future[Inference]:
        """The answer, in the future. Raises Refusal for a request that is not legal, or finds no room.

        arrived: called by the running event loop when the answer is there. The device then hears once of all requests
        that the loop finds at one moment: each time costs both threads a switch.
        """
        ticket = self.choose(arrays, profile).ticket(arrays, deadline)
        self.waiting.offer([ticket], wake=arrived is None)
        if arrived is not None:
            self.post.watch(ticket.answer, arrived)
            if not self._wakes:
                self._wakes = True
                asyncio.get_running_loop().call_soon(self._wake)
        return ticket.answer

    def _wake(self) -> None:
        self._wakes = False
        self.waiting.wake()

    def close(self) -> None:
        """End the thread once it has answered what it works on."""
        self.waiting.end()
        self._thread.join()

    def _work(self) -> None:
        while (first := self.waiting.take(lambda ticket: True, wait=True)) is not None:
            began = time.perf_counter()
            profile = self.profiles[first.profile]
            tickets = [first, *self._companions(profile, first.rows)]
            running = [ticket for ticket in tickets if ticket.answer.set_running_or_notify_cancel()]
            if running:
                self._run(profile, running)
            seconds = time.perf_counter() - began
            for _ in tickets:
                self.waiting.finished(seconds / len(tickets))

    def _companions(self, profile: LoadedProfile, rows: int) -> list[TensorTicket]:
        """Requests that wait and fit into the rest of a batch; nobody waits for more to come."""
        found: list[TensorTicket] = []
        while profile.shares and rows < profile.batch:
            room = profile.batch - rows
            ticket = self.waiting.take(lambda t, room=room: t.profile == profile.name and t.rows <= room)  # type: ignore[misc]
            if ticket is None:
                break
            found.append(ticket)
            rows += ticket.rows
        return found

    def _run(self, profile: LoadedProfile, tickets: list[TensorTicket]) -> None:
        """Answer every ticket. Where a batch fails, each is tried alone: one's fault is not the others'."""
        began = time.perf_counter()
        try:
            answers = profile.run(tickets)
        except Exception as error:
            if len(tickets) > 1:
                for ticket in tickets:
                    self._run(profile, [ticket])
            else:
                log.info("a request failed", exc_info=error)
                tickets[0].answer.set_exception(error)
            return
        rows = sum(ticket.rows for ticket in tickets)
        runs = -(-rows // profile.batch)
        simulated = runs * profile.simulated_rdu_ns
        self._metrics.ran(time.perf_counter() - began, simulated, rows / (runs * profile.batch))
        with self.post.together():
            for ticket, answer in zip(tickets, answers):
                ticket.answer.set_result(answer)
