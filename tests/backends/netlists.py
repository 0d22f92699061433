"""Small machines and netlists for the tests of placement and routing."""

from dataclasses import replace

from backends.rdu.machine import load_machine
from backends.rdu.wire.netlist import Net, Netlist, Terminal, Unit
from pef.machine import Machine, SiteKind


def grid(rows: int, columns: int, faulty: tuple[int, ...] = (), agcus: tuple[int, ...] = (0,)) -> Machine:
    """The SN30 cut down to a few sites."""
    return replace(load_machine("sn30"), rows=rows, columns=columns, faulty_sites=faulty, agcu_sites=agcus)


def wire(source: int, *sinks: int, load: float = 16.0, phase: int = 0, pace: float = 1.0) -> Net:
    """A net between units; a negative number -1 - k stands for AGCU k."""
    ends = [Terminal(-1 - end, is_agcu=True) if end < 0 else Terminal(end) for end in (source, *sinks)]
    return Net(ends[0], tuple(ends[1:]), phase, load, pace)


def units(pattern: str) -> tuple[Unit, ...]:
    """Units from a pattern of c (a PCU) and m (a PMU)."""
    kinds = {"c": SiteKind.PCU, "m": SiteKind.PMU}
    return tuple(Unit(f"{letter}{index}", kinds[letter], index) for index, letter in enumerate(pattern))


def chain(length: int) -> Netlist:
    """PMU to PCU to PMU and so on: neighbours on a checkerboard, so that the best length is one hop per net."""
    pattern = ("mc" * length)[:length]
    return Netlist(units(pattern), tuple(wire(index, index + 1) for index in range(length - 1)))


def pipeline(stages: int, width: int, phases: int = 1) -> Netlist:
    """Stages of `width` PCUs, each fed by `width` PMUs that multicast to three of them; AGCUs at both ends."""
    kinds = "".join("m" * width if level % 2 == 0 else "c" * width for level in range(2 * stages + 1))
    nets = [wire(-1 - lane % 8, lane, load=8.0) for lane in range(width)]
    for level in range(2 * stages):
        phase = level * phases // (2 * stages)
        for lane in range(width):
            fan = 3 if level % 2 == 0 else 1
            sinks = sorted({(level + 1) * width + (lane + step) % width for step in range(fan)})
            nets.append(wire(level * width + lane, *sinks, load=16.0 * (1 + lane % 3), phase=phase))
    nets += [wire(2 * stages * width + lane, -1 - lane % 8, load=8.0, phase=phases - 1) for lane in range(width)]
    return Netlist(units(kinds), tuple(nets))
