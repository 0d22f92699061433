"""A step's forward sections run on this computer: how far its outputs are from PyTorch's, and how long each one takes.

Host times say how fast the simulator is here, nothing about an RDU.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ir.errors import Problem, UsageError
from ir.graph import SectionKind, SymbolKind
from pef.belonging import WEIGHTS, require_own
from pef.npz import read_npz
from runtime.files.safetensors_file import decode_safetensors, read_file
from runtime.session import Session
from runtime.snrun.compare import compare, usual_tolerance

Facts = dict[str, Any]


def numbers(session: Session, pef: Path) -> Facts:
    """Errors of the outputs against the reference beside the PEF, and microseconds of host time by section.

    Raises UsageError where the files that the compiler wrote with the PEF are not there.
    """
    weights = pef.with_suffix(".safetensors")
    reference = pef.with_name(f"{pef.stem}.reference.npz")
    for path in (weights, reference):
        if not path.exists():
            hint = "leave out --profile, or compile the model again"
            raise UsageError(Problem(f"{path} does not exist: there is nothing to run the PEF with", hint=hint))
    content = read_file(weights)
    require_own(session.pef, WEIGHTS, weights, content)
    session.load_weights(decode_safetensors(weights, content)[0], strict=False)
    expected = read_npz(reference, "reference")
    host_us, outputs = _run(session)
    usual = usual_tolerance(session.pef)
    compared = compare(outputs, expected, usual.rtol, usual.atol)
    return {
        "time": "host",
        "outputs": [
            {"name": c.name, "absolute": c.absolute, "relative": c.relative, "passed": c.passed, "remark": c.remark}
            for c in compared
        ],
        "host_us": host_us,
    }


def _run(session: Session) -> tuple[dict[int, float], dict[str, Any]]:
    """Each forward section twice, as the first run plans it: the second one's time, and all outputs."""
    host_us: dict[int, float] = {}
    outputs: dict[str, Any] = {}
    written = session.names(SymbolKind.BUFFER)
    kept = {name: session.read(name) for name in written}
    for again in (False, True):
        for name in written if again else ():
            session.write(name, kept[name])
        for section in session.sections([SectionKind.FWD.value]):
            began = time.perf_counter()
            outputs.update(session.run(section_ids=[section]))
            host_us[section] = (time.perf_counter() - began) * 1e6
    return host_us, outputs
