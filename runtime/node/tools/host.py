"""The host that the node hangs on: processor, memory, RDMA devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

RDMA = Path("/sys/class/infiniband")
MEMORY = Path("/proc/meminfo")
RDMA_COLUMNS = ("IBDEV", "NETDEV", "LINKSTATUS", "CARRIERSTATUS", "SPEED", "MTU")


def facts() -> dict[str, Any]:
    """What py-cpuinfo knows of the processor, but for its flags, and the lines of /proc/meminfo where there is one."""
    import cpuinfo

    found = {key: value for key, value in cpuinfo.get_cpu_info().items() if key != "flags"}
    if MEMORY.exists():
        pairs = (line.partition(":") for line in MEMORY.read_text().splitlines())
        found |= {key.strip(): value.strip() for key, _, value in pairs}
    return found


def rdma_lines() -> Iterator[str]:
    """The RDMA devices of the host, a line each after the headings; on most computers there are none."""
    yield " ".join(RDMA_COLUMNS)
    for device in sorted(RDMA.iterdir()) if RDMA.exists() else []:
        for network in sorted((device / "device" / "net").glob("*")):
            state = _read(network / "operstate").capitalize()
            carrier = {"1": "OK", "0": "NA"}.get(_read(network / "carrier"), "NA")
            speed = _read(network / "speed")
            gigabits = f"{int(speed) / 1000:.1f}G" if speed.isdecimal() else "NA"
            yield f"{device.name} {network.name} {state} {carrier} {gigabits} {_read(network / 'mtu')}"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "NA"
