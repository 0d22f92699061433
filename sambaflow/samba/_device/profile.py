"""The runtime profile: what ran on the device, how long the host took to simulate it and the RDU would take."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from sambaflow.samba._device.loading import Loaded


def write_runtime_profile(loaded: Loaded, filename: str | None) -> None:
    """Write a table of the runs recorded since profiling began: one line for each set of sections."""
    if not filename:
        return
    runs: dict[tuple[int, ...], list[float]] = defaultdict(list)
    for sections, seconds in loaded.history or []:
        runs[sections].append(seconds)
    lines = ["sections  runs  host_ms_per_run  simulated_us_per_run"]
    for sections, taken in runs.items():
        names = ",".join(loaded.device.pef.sections[number].name for number in sections)
        simulated = loaded.device.simulated_seconds(sections, loaded.replicas)
        lines.append(f"{names}  {len(taken)}  {1e3 * sum(taken) / len(taken):.3f}  {1e6 * simulated:.3f}")
    Path(filename).write_text("\n".join(lines) + "\n")
