"""A compiled model: run it, train it, profile it, look into it, save it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ir.errors import BindError, Problem, UsageError
from ir.graph import SectionKind, SymbolKind
from ir.op import Array
from pef import file as pef_file
from pef import pef_pb2 as pb
from pef.belonging import REFERENCE, WEIGHTS, require_own
from pef.files import require_file_name
from pef.locks import only_writer
from pef.transaction import writing_together
from pef.wording import counted, duration
from runtime.files.safetensors_file import decode_safetensors, read_file
from runtime.session import Session
from runtime.snrun.train import loss_name, require_training
from snc.showing import Shown

if TYPE_CHECKING:
    import networkx as nx
    from rich.console import Console

    from runtime.timing import Report
    from workbench.diff.compare import Comparison


@dataclass(frozen=True)
class Section(Shown):
    """A section: what is on the fabric at one time. `facts` has all that is known about it (`snc describe --json`)."""

    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Such as `fwd_0`."""
        return str(self.facts["name"])

    @property
    def kind(self) -> str:
        """FWD, BCKWD, REDUCE, GRADNORM, OPT, or BCKWD_OPT, which is BCKWD and OPT in one."""
        return str(self.facts["kind"])

    @property
    def pcus(self) -> int:
        """Compute units it takes."""
        return int(self.facts["pcus"])

    @property
    def pmus(self) -> int:
        """Memory units it takes."""
        return int(self.facts["pmus"])

    @property
    def predicted_us(self) -> float:
        """Microseconds it executes for, by the compiler's cost model."""
        return float(self.facts["predicted_us"])

    def print_to(self, console: Console) -> None:
        """One row of the table of sections."""
        Sections([self]).print_to(console)

    def __repr__(self) -> str:
        return f"<section {self.name}: {self.pcus} PCUs, {self.pmus} PMUs, {duration(self.predicted_us)} predicted>"


class Sections(list[Section], Shown):
    """The sections of a PEF, in the order they run."""

    def print_to(self, console: Console) -> None:
        """The table of `snc describe`."""
        from pef.describe_columns import sections
        from pef.tables import print_table

        rows = [dict(section.facts) for section in self]
        print_table(console, "sections, times as predicted", sections(rows), rows)

    __str__ = Shown.__str__


@dataclass(frozen=True)
class Profile(Shown):
    """Simulated time of a run, and where it went. `report` has every stage, stream and firing."""

    report: Report

    @property
    def us(self) -> float:
        """Simulated microseconds of all sections, loads included."""
        return self.report.us(self.report.cycles)

    def as_dict(self) -> dict[str, Any]:
        """What `snrun --profile --json` prints."""
        from runtime.profile.tables import as_dict

        return as_dict(self.report)

    def save_trace(self, path: str | os.PathLike[str]) -> Path:
        """Write the trace for Perfetto. Raises UsageError where the file system refuses."""
        from runtime.profile.trace import write

        write(self.report, path)
        return Path(path)

    def print_to(self, console: Console) -> None:
        """The tables of `snrun --profile`."""
        from runtime.profile.tables import render

        render(self.report, console)

    def __repr__(self) -> str:
        return f"<profile of {self.report.name}: {duration(self.us)} simulated on {self.report.machine.name}>"


@dataclass(frozen=True)
class Compiled(Shown):
    """A PEF with what belongs to it. Weights live in the device from the first run on, and change by training.

    weights, reference: contents of the files beside the PEF, empty where there are none.
    """

    pef: pb.Pef
    weights: bytes = b""
    reference: bytes = b""

    @property
    def name(self) -> str:
        """The PEF's name."""
        return self.pef.header.name

    @cached_property
    def session(self) -> Session:
        """The simulated device with the PEF and its initial weights loaded."""
        session = Session(self.pef)
        session.load_weights(self._initial, strict=False)
        return session

    @cached_property
    def _initial(self) -> dict[str, Array]:
        return decode_safetensors(Path(f"{self.name}.safetensors"), self.weights)[0] if self.weights else {}

    def run(self, *inputs: Any, **by_name: Any) -> dict[str, Array]:
        """The outputs of the forward sections, by name, for arrays or tensors.

        Inputs are given by name, in their order, or as one mapping. What is not given is what it was in the last run,
        at first the sample inputs of the compile. Raises BindError for inputs that do not match.
        """
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            given = dict(inputs[0])
        else:
            given = dict(zip(self._inputs(len(inputs)), inputs))
        return self.session.run([SectionKind.FWD.value], inputs=_arrays({**given, **by_name}))

    def _inputs(self, count: int) -> list[str]:
        """The names of the first inputs. Raises BindError where there are fewer."""
        names = list(self.session.names(SymbolKind.INPUT))
        if count > len(names):
            hint = f"the inputs are {', '.join(names) or 'none'}"
            raise BindError(Problem(f"{count} inputs are given, and the PEF has {len(names)}", hint=hint))
        return names[:count]

    def train(
        self, steps: int = 1, data: Iterable[Mapping[str, Any]] | None = None, hyper: Mapping[str, float] | None = None
    ) -> list[float]:
        """The loss of each of `steps` training steps (forward, backward, update) over the batches in `data`, over and
        over; without data, over the sample inputs. `hyper` such as `{"lr": 0.1}`.

        Raises UsageError where the PEF cannot train, or there is no batch.
        """
        require_training(self.session)
        batches = [_arrays(batch) for batch in data] if data is not None else [{}]
        if not batches:
            raise UsageError(Problem("there is no batch to train on", hint="give data with at least one"))
        if hyper:
            self.session.write_hyper(hyper)
        loss = loss_name(self.session)
        return [float(np.mean(self.session.run(inputs=batches[i % len(batches)])[loss])) for i in range(steps)]

    def read(self, symbol: str) -> Array:
        """A copy of what a symbol holds now, such as a weight after training. Raises BindError for unknown names."""
        return self.session.read(symbol)

    def profile(self, kinds: Iterable[str] | None = None) -> Profile:
        """Simulated time of all sections, or of those kinds (FWD, BCKWD, OPT, ...); computes no numbers."""
        return Profile(self.session.run_timing(None if kinds is None else list(kinds)))

    @property
    def sections(self) -> Sections:
        """The sections, in the order they run."""
        return Sections(Section(facts) for facts in self.facts["sections"])

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything in the PEF as plain data (`snc describe --json`)."""
        from pef.facts import as_dict

        return as_dict(self.pef)

    def graph(self, what: str = "stages") -> nx.MultiDiGraph:
        """A networkx graph of the `ir`, `sections`, `stages` or the `netlist`. Raises UsageError for other names."""
        from workbench.export.graphs import VIEWS, export_graph

        if what not in VIEWS:
            raise UsageError(Problem(f"there is no graph of {what!r}", hint=f"one of {', '.join(VIEWS)}"))
        return export_graph(self.pef, what)

    def diff(self, other: Compiled) -> Comparison:
        """What is different in the other, and what that does to time."""
        from workbench.diff.compare import compare

        return compare(self.pef, other.pef)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as one HTML file that works offline. Raises UsageError where the file system refuses."""
        import tempfile

        from pef.files import write_bytes
        from workbench.report.gather import Request, gather
        from workbench.report.render import render

        with tempfile.TemporaryDirectory() as folder:
            saved = self.save(folder)
            write_bytes(Path(path), render(gather(Request(saved))).encode())
        return Path(path)

    def save(self, folder: str | os.PathLike[str] = "out", name: str | None = None) -> Path:
        """Write the PEF, initial weights and reference into FOLDER/NAME, as `snc compile` does; the PEF's path.

        Raises UsageError where the file system refuses, or for names that files cannot have.
        """
        name = require_file_name(name or self.name)
        target = Path(folder) / name
        contents = {target / f"{name}.safetensors": self.weights, target / f"{name}.reference.npz": self.reference}
        contents = {path: content for path, content in contents.items() if content}
        contents[target / f"{name}.pef"] = pef_file.encoded(self.pef)
        held = only_writer(target, "compiles into", "wait for it, or give another name or folder")
        with held, writing_together(list(contents)) as files:
            for file, content in zip(files, contents.values()):
                file.write(content)
        return target / f"{name}.pef"

    def print_to(self, console: Console) -> None:
        """What `snc describe` prints."""
        from pef.describe import Selection, render

        render(self.pef, console, Selection())

    def __repr__(self) -> str:
        inputs = ", ".join(self.session.names(SymbolKind.INPUT))
        sections = counted(len(self.pef.sections), "section")
        return f"<{self.name}, compiled for {self.pef.machine.name}: {sections}; inputs {inputs}>"


def load(path: str | os.PathLike[str]) -> Compiled:
    """The compiled model in a PEF file, with the weights and the reference beside it.

    Raises PefError for what is not a PEF, or where the files beside it belong to another.
    """
    path = Path(path)
    pef = pef_file.read(path)
    found = {}
    for what, suffix in ((WEIGHTS, ".safetensors"), (REFERENCE, ".reference.npz")):
        beside = path.with_suffix(suffix)
        found[what] = bytes(read_file(beside)) if beside.exists() else b""
        if found[what]:
            require_own(pef, what, beside, found[what])
    return Compiled(pef, found[WEIGHTS], found[REFERENCE])


def _arrays(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors of PyTorch as arrays; everything else as it is."""
    return {name: value.detach().cpu().numpy() if hasattr(value, "detach") else value for name, value in inputs.items()}
