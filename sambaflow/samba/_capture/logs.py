"""The log files of a compile, and the lines it prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.driver import CompileRequest, CompileResult
from compiler.report import as_dict
from pef.files import require_writable, write_bytes
from pef.wording import counted
from sambaflow.logging import announce
from sambaflow.samba._capture.tracing import Operator
from sambaflow.samba._program.options import without_effect


@dataclass(frozen=True)
class LogFiles:
    """Where the parts of the toolchain write what they did."""

    samba: Path
    mac: Path
    plasma: Path
    resources: Path


def start(request: CompileRequest, arguments: Mapping[str, Any]) -> LogFiles:
    """Make the folder, say where the logs will be, and which of the program's arguments change nothing here.

    Raises UsageError where the folder cannot be made.
    """
    folder = (request.output_folder / str(request.pef_name)).absolute()
    require_writable(folder / "log")
    if arguments.get("resource_report_path"):
        require_writable(Path(arguments["resource_report_path"]))
    folder.mkdir(parents=True, exist_ok=True)
    name = request.pef_name
    files = LogFiles(
        folder / f"{name}.samba.log",
        folder / f"{name}.mac.log",
        folder / f"{name}.plasma_compile.log",
        folder / "mac_gen" / "mac_resources.json",
    )
    announce(f"[Info][SAMBA]# Placing log files in {files.samba}")
    announce(f"[Info][MAC]# Placing log files in {files.mac}")
    announce_idle(arguments, "Recorded in the PEF")
    return files


def announce_idle(arguments: Mapping[str, Any], what: str) -> None:
    """Name the program's options that change nothing here; `what` says what is done with them."""
    idle = without_effect(arguments)
    if idle:
        announce(f"[info   ] {what}, without effect on the simulated device: {', '.join(idle)}")


def finish(files: LogFiles, operators: Sequence[Operator], result: CompileResult, report_path: str | None) -> None:
    """Write the logs: what was traced, how it was improved and cut, and what every section takes of the machine, this
    also to `report_path`."""
    report = as_dict(result)
    traced_lines = [f"{operator.where}: {operator}" for operator in operators]
    mac_lines = [f"pass {entry['name']}: {entry['nodes']} nodes" for entry in report["passes"]]
    plasma_lines = [
        f"{section['name']}: {counted(section['pcus'], 'PCU')}, {counted(section['pmus'], 'PMU')}, "
        f"{counted(section['stages'], 'stage')}, "
        f"{section['predicted_us']:.1f} us, bound by {section['bound']}"
        + (f", fused by {section['rule']}" if section["rule"] else "")
        for section in report["sections"]
    ]
    files.resources.parent.mkdir(exist_ok=True)
    for path, lines in ((files.samba, traced_lines), (files.mac, mac_lines), (files.plasma, plasma_lines)):
        write_bytes(path, ("\n".join(lines) + "\n").encode())
    for path in (files.resources, *([Path(report_path)] if report_path else [])):
        write_bytes(path, json.dumps(report["sections"], indent=2).encode())
    announce(f"[info   ] [PLASMA] Launching plasma compilation! See log file: {files.plasma}")
    announce("[info   ] Compilation succeeded for partition_0_0")
    announce(f"[info   ] Logs are generated in {files.plasma.parent}")
    announce(f"[info   ] PEF file {result.pef_path.absolute()} created")
