"""`snconfig`: the hardware of the node, and the state that it is in.

The layout of the static tree is the original's, from public samples; that of the dynamic one is not public beyond the
word `perfect` for a tile in order, and ours.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ir.ending import exit_status
from runtime.node.hardware import Dimm, Node, load_node, serial_number
from runtime.node.tools.output import say, write_json

WIDE = "======================================================"
INDENT = "    "


def heading(text: str) -> str:
    """A line of a banner, of 54 characters."""
    return f"=======                {text:<24}======="


def banner(text: str) -> list[str]:
    """The banner that output starts with."""
    return [WIDE, heading(text), WIDE]


def static_lines(node: Node, now: str) -> Iterator[str]:
    """The static tree, as the original prints it. now: the time stamp."""
    yield heading("Static Info")
    yield f"Timestamp: {now}"
    yield f"Platform Name: {node.platform}"
    yield "Node Name: NODE"
    yield f"{INDENT}Number of XRDUS: {node.xrdus}"
    for xrdu in range(node.xrdus):
        yield f"{INDENT}XRDU Name: XRDU_{xrdu}"
        yield f"{INDENT * 2}Number of RDUS: {node.rdus_per_xrdu}"
        for own in range(node.rdus_per_xrdu):
            yield f"{INDENT * 2}RDU name: RDU_{own}"
            yield from (f"{INDENT * 3}{line}" for line in _rdu_lines(node, xrdu * node.rdus_per_xrdu + own))
        yield f"{INDENT * 2}Total XRDU_{xrdu} memory size (GB): {node.xrdu_memory_gb}"


def _rdu_lines(node: Node, rdu: int) -> Iterator[str]:
    yield _pair("Serial Number", serial_number(node.rdu_path(rdu), 16))
    yield f"Number of TILES: {node.tiles_per_rdu}"
    for tile in range(node.tiles_per_rdu):
        yield f"TILE Name: TILE_{tile}"
        yield INDENT + _pair("Serial Number", "N/A")
    yield f"Number of PCIES: {node.pcie.per_rdu}"
    for link in range(node.pcie.per_rdu):
        yield f"PCIE Name: PCIE_{link}"
        yield INDENT + _pair("Bandwidth", f"{node.pcie.bandwidth_gb_s} GB/s")
        yield INDENT + _pair("Speed", f"{node.pcie.speed_gt_s} GT/s")
        yield INDENT + _pair("Width", str(node.pcie.width))
        yield INDENT + _pair("Serial Number", "N/A")
    yield f"Number of DDRCHs: {len(node.channels)}"
    for number, channel in enumerate(node.channels):
        yield f"DDR CH Name: DDRCH_{number}"
        yield f"{INDENT}Number of DIMMS: {len(channel)}"
        for dimm in channel:
            yield f"{INDENT}DIMM Name: {dimm.name}"
            yield INDENT * 2 + _pair("Size", f"{dimm.size_gb} GB")
            yield INDENT * 2 + _pair("Serial Number", _dimm_serial(node, rdu, number, dimm))


def _dimm_serial(node: Node, rdu: int, channel: int, dimm: Dimm) -> str:
    return serial_number(node.dimm_path(rdu, channel, dimm), 7) if dimm.size_gb else "N/A"


def _pair(key: str, value: str) -> str:
    return f"{key:<18}: {value}"


def static_facts(node: Node, now: str) -> dict[str, Any]:
    """The static tree for programs."""
    return {
        "timestamp": now,
        "platform_name": node.platform,
        "node_name": "NODE",
        "xrdus": [
            {
                "name": f"XRDU_{xrdu}",
                "memory_gb": node.xrdu_memory_gb,
                "rdus": [_rdu_facts(node, xrdu * node.rdus_per_xrdu + own) for own in range(node.rdus_per_xrdu)],
            }
            for xrdu in range(node.xrdus)
        ],
    }


def _rdu_facts(node: Node, rdu: int) -> dict[str, Any]:
    pcie = {
        "bandwidth_gb_s": node.pcie.bandwidth_gb_s,
        "speed_gt_s": node.pcie.speed_gt_s,
        "width": node.pcie.width,
    }
    return {
        "name": node.rdu_path(rdu).rpartition("/")[2],
        "serial_number": serial_number(node.rdu_path(rdu), 16),
        "tiles": [f"TILE_{tile}" for tile in range(node.tiles_per_rdu)],
        "pcies": [{"name": f"PCIE_{n}", **pcie, "leads_to": node.far_end(rdu, n)} for n in range(node.pcie.per_rdu)],
        "ddr_channels": [
            {
                "name": f"DDRCH_{number}",
                "dimms": [
                    {"name": d.name, "size_gb": d.size_gb, "serial_number": _dimm_serial(node, rdu, number, d)}
                    for d in channel
                ],
            }
            for number, channel in enumerate(node.channels)
        ],
    }


def dynamic_lines(platform: str, now: str, states: Mapping[str, str]) -> Iterator[str]:
    """The state of every RDU and tile, by path, a line each. Our layout."""
    yield heading("Dynamic Info")
    yield f"Timestamp: {now}"
    yield f"Platform Name: {platform}"
    yield "Node Name: NODE"
    for path, state in states.items():
        yield f"{INDENT * (path.count('/') - 1)}{path} : {state}"


def op_state_lines(now: str, rdus: Mapping[str, str]) -> Iterator[str]:
    """The operational state of every RDU. Our layout."""
    yield heading("Op State Info")
    yield f"Timestamp: {now}"
    for path, state in rdus.items():
        yield f"{INDENT}{path} : {state}"


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Show the hardware of the node and the state that it is in.

    \b
      snconfig show Node static      XRDUs, RDUs, tiles, PCIe links, DIMMs
      snconfig show Node dynamic     tiles in order are `perfect`
      snconfig show Node all -j DIR  both, and as JSON files in DIR
      snconfig show Node op-state    which RDUs are in order
      snconfig show Host all         processor and memory of the host
      snconfig show Host rdma-dev    its RDMA devices

    Without arguments: show Node static.
    """
    if context.invoked_subcommand is None:
        sys.exit(exit_status(lambda: show_node("static", None)))


@main.command("show")
@click.argument("subject", type=click.Choice(["Node", "Host"]))
@click.argument("what", type=click.Choice(["static", "dynamic", "all", "op-state", "rdma-dev"]))
@click.option("-j", "json_folder", type=click.Path(file_okay=False, path_type=Path), help="Write JSON files there too.")
def show(subject: str, what: str, json_folder: Path | None) -> None:
    """Show Node static|dynamic|all|op-state, or Host all|rdma-dev."""
    known = {"Node": ("static", "dynamic", "all", "op-state"), "Host": ("all", "rdma-dev")}
    if what not in known[subject]:
        raise click.UsageError(f"{subject} has no {what}: give one of {', '.join(known[subject])}")
    run = show_node if subject == "Node" else show_host
    sys.exit(exit_status(lambda: run(what, json_folder)))


def show_node(what: str, json_folder: Path | None) -> bool:
    """Print one part of the node, or all of it. Raises NodeError where no daemon runs."""
    from runtime.node.client import connect
    from runtime.node.protocol import snml_rpc_pb2 as pb

    client = connect()
    info = client.ask("GetSystemPlatformInfo", pb.Request())
    node = load_node(info.node_file)
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    say(*banner("NODE Info"))
    if what in ("static", "all"):
        lines = list(static_lines(node, now))
        say(lines[0], *_written(json_folder, "node_static", static_facts(node, now)), *lines[1:])
    if what in ("dynamic", "all", "op-state"):
        state = client.ask("GetOperationalState", pb.Request())
        rdus = {item.path: item.state for item in state.rdus}
        tiles = {item.path: item.state for item in state.tiles}
        if what == "op-state":
            say(*op_state_lines(now, rdus))
            return True
        states = {path: state for rdu, own in rdus.items() for path, state in _with_tiles(rdu, own, tiles)}
        lines = list(dynamic_lines(info.platform_name, now, states))
        facts = {"timestamp": now, "platform_name": info.platform_name, "states": states}
        say(lines[0], *_written(json_folder, "node_dynamic", facts), *lines[1:])
    client.close()
    return True


def _with_tiles(rdu: str, state: str, tiles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield rdu, state
    yield from ((path, found) for path, found in tiles.items() if path.startswith(f"{rdu}/"))


def _written(folder: Path | None, name: str, facts: Any) -> Iterator[str]:
    """Write the JSON file that is asked for; the line that says so."""
    if folder is not None:
        path = write_json(folder, f"show_{name}_{time.strftime('%Y-%m-%d_%H-%M-%S')}.json", facts)
        yield f"Output JSON file: {path}"


def show_host(what: str, json_folder: Path | None) -> bool:
    """Print the host's processor and memory, or its RDMA devices. Needs no daemon."""
    from runtime.node.tools import host

    if what == "rdma-dev":
        say(*host.rdma_lines())
        return True
    facts = host.facts()
    say(*banner("Host Info"), *_written(json_folder, "host_all", facts))
    say(*(f"{key:<29}: {value}" for key, value in facts.items()))
    return True


if __name__ == "__main__":
    main()
