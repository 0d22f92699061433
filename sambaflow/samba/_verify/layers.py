"""One training step on CPU and device, compared output by output and layer by layer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pef.files import write_bytes
from runtime.snrun.compare import Verdict
from sambaflow.samba._program.ending import progress
from sambaflow.samba._verbs.trace import trace_graph
from sambaflow.samba._verify.gold import compare_with_gold, require_gold
from sambaflow.samba._verify.host import host_step, precise_step
from sambaflow.samba._verify.judge import device_step, is_as_written
from sambaflow.samba._verify.probe import Observed, layers
from sambaflow.samba.sambatensor import SambaTensor
from sambaflow.samba.session import current_session


@dataclass(frozen=True)
class Difference:
    """The largest absolute difference in one tensor, and the largest magnitude expected."""

    name: str
    absolute: float
    largest: float


def compare_step(
    args: argparse.Namespace, model: nn.Module, inputs: Any, optim: Any = None, threshold: float = 3e-3
) -> list[Difference]:
    """Run one batch forward and backward on both, and compare every module's results, outputs and gradients.

    Prints a table, and raises AssertionError naming the first that differs by over `threshold`, in the order in which
    they are computed. Where float64 shows that rounding makes the difference, which float32 cannot help, it says so and
    nothing is raised. The model is traced for `args.pef`; of an inference PEF there are no gradients. Dropout rates are
    zero meanwhile. With `--gold-file-path`, the device is compared with that file too; with `--acc-report-json`, the
    table is written there.
    """
    gold = require_gold(getattr(args, "gold_file_path", None))
    session = current_session()
    outputs = trace_graph(model, inputs, optim, pef=args.pef, mapping=args.mapping)
    trains = "BCKWD" in session.device.kinds
    with session.loaded.hyper.without_dropout():
        results = session.run(inputs, outputs, section_types=["fwd", "bckwd"] if trains else ["fwd"])
        observed = [*layers(model, inputs, session.device.pef), *_outputs_and_gradients(model, inputs, results, trains)]
    differences = [_difference(*triple) for triple in observed]
    wrong = [number for number, difference in enumerate(differences) if not difference.absolute <= threshold]
    exact = _exact(model, inputs, results, trains, observed, wrong) if wrong and is_as_written(session.loaded) else {}
    verdicts = {number: _verdict(observed[number], exact[number]) for number in wrong if number in exact}
    _print(differences, set(wrong), verdicts)
    _report(getattr(args, "acc_report_json", None), differences, threshold)
    if gold is not None:
        progress.honoured.add("gold_file_path")
        compare_with_gold(gold, {name: device for name, device, _, _ in observed}, threshold)
    faults = [number for number in wrong if number not in verdicts or not verdicts[number].is_chaos]
    if faults:
        others = f"; so do {len(faults) - 1} behind it" if len(faults) > 1 else ""
        reason = f" ({verdicts[faults[0]]})" if faults[0] in verdicts else ""
        name = differences[faults[0]].name
        raise AssertionError(f"{name} is the first that differs by over {threshold:g}{others}{reason}")
    if wrong:
        print(f"CPU and RDU differ by over {threshold:g}: {verdicts[wrong[0]]}")
    return differences


def _print(differences: list[Difference], wrong: set[int], verdicts: Mapping[int, Verdict]) -> None:
    width = max(len(difference.name) for difference in differences)
    for number, difference in enumerate(differences):
        mark = "  <-- differs" if number in wrong else ""
        if number in verdicts:
            mark = f"  <-- {'chaos' if verdicts[number].is_chaos else 'a fault'}"
        amounts = f"difference {difference.absolute:.3e}  of at most {difference.largest:.3e}"
        print(f"{difference.name:<{width}}  {amounts}{mark}")


def _report(path: str | None, differences: list[Difference], threshold: float) -> None:
    if path:
        listed = [asdict(difference) for difference in differences]
        write_bytes(Path(path), json.dumps({"threshold": threshold, "differences": listed}, indent=2).encode())


def _difference(name: str, device: Tensor, host: Tensor, exact: Tensor | None = None) -> Difference:
    """How far two tensors are apart; a shape of its own is no agreement at all."""
    if device.shape != host.shape:
        raise AssertionError(f"{name}: shapes {list(device.shape)} and {list(host.shape)} differ")
    a, b = device.double(), host.double()
    return Difference(name, float((a - b).abs().max()), float(b.abs().max())) if a.numel() else Difference(name, 0, 0)


def _verdict(observed: Observed, exact: Tensor) -> Verdict:
    """How far device and host are from float64."""
    name, device, host, _ = observed
    return Verdict(_difference(name, device, exact).absolute, _difference(name, host, exact).absolute)


def _exact(
    model: nn.Module,
    inputs: Any,
    results: tuple[SambaTensor, ...],
    trains: bool,
    observed: list[Observed],
    wrong: list[int],
) -> dict[int, Tensor]:
    """The tensors that differ as they are in float64, by their numbers."""
    step = precise_step(model, inputs, results, trains)
    found = {}
    for number in wrong:
        name, _, host, exact = observed[number]
        judge = exact if exact is not None else step.get(name)
        if judge is not None and judge.shape == host.shape:
            found[number] = judge
    return found


def _outputs_and_gradients(
    model: nn.Module, inputs: Any, results: tuple[SambaTensor, ...], trains: bool
) -> list[Observed]:
    """Every output, and the gradient of every parameter, the last layer's first; their judges are called if needed."""
    device = device_step(current_session().loaded)
    host = host_step(model, inputs, results, trains)
    return [(name, device[name], tensor, None) for name, tensor in host.items() if name in device]
