"""`snfault`: break, repair and clear. Ours: real hardware breaks by itself, and the original clears by its API."""

from __future__ import annotations

import sys
from typing import Any

import click

from ir.ending import exit_status
from ir.errors import Problem, UsageError
from runtime.node.tools.output import say

KINDS = {"tile": "a tile", "rdu": "an RDU", "dimm": "a DIMM", "link": "a PCIe link"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Break the simulated node and mend it again; for the user who started snd.

    \b
      snfault inject tile /XRDU_0/RDU_0/TILE_3           FTYPE_TILE_EXCLUDED
      snfault inject rdu /XRDU_0/RDU_1                   FTYPE_RDU_RESET
      snfault inject rdu /XRDU_0/RDU_1 --transient       a reset helps: an error
      snfault inject dimm /XRDU_0/RDU_0/DDRCH_0/DIMM_E0  the run on it ends
      snfault inject dimm PATH --correctable             counted, and nothing else
      snfault inject link /XRDU_0/RDU_0/PCIE_0           FTYPE_RDU_REMOVED
      snfault repair /XRDU_0/RDU_0/TILE_3                as a technician would
      snfault clear UUID                                 a fault; --all: every one
      snfault reset /XRDU_0/RDU_0                        no path: all RDUs

    What was not repaired is diagnosed again once its fault is cleared. Runs on an RDU that is reset end.
    """


@main.command("inject", short_help="Break a component.")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("path")
@click.option("--transient", is_flag=True, help="Gone after the daemon's own remedy: an error, no fault.")
@click.option("--correctable", is_flag=True, help="Of a DIMM: an error that harms nobody.")
def inject(kind: str, path: str, transient: bool, correctable: bool) -> None:
    """Break the component at PATH, as snfadm -l inventory lists it."""

    def run() -> bool:
        client, pb = _admin()
        found = {item[0]: item[1] for item in client.log("inventory")[1]}.get(path, kind)
        if kind != found:
            what = f"{path} is {KINDS[found]}, not {KINDS[kind]}"
            raise UsageError(Problem(what, hint="snfadm -l inventory lists what there is"))
        request = pb.InjectRequest(path=path, transient=transient, correctable=correctable)
        response = client.ask("InjectFault", request)
        say(f"{path} is broken" if response.fault_uuid else f"{path} had an error")
        say(f"fault {response.fault_uuid}" if response.fault_uuid else "no fault is diagnosed")
        say(*(f"the session of PID {pid} ends" for pid in response.ended))
        return True

    sys.exit(exit_status(run))


@main.command("repair", short_help="Mend a component; its fault stands until it is cleared.")
@click.argument("path")
def repair(path: str) -> None:
    """Mend the component at PATH; its fault stands until it is cleared."""

    def run() -> bool:
        client, pb = _admin()
        client.ask("Repair", pb.RepairRequest(path=path))
        say(f"{path} is repaired; clear its fault to use it again: snfault clear")
        return True

    sys.exit(exit_status(run))


@main.command("clear", short_help="Clear a fault.")
@click.argument("uuid", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="Every fault that stands.")
def clear(uuid: str | None, all_of_them: bool) -> None:
    """Clear the fault UUID; what was not repaired is diagnosed again at once, and the exit status is 1."""

    def run() -> bool:
        if all_of_them == (uuid is not None):
            raise UsageError(Problem("no fault is named", hint="give its UUID (snfadm -l fault), or --all"))
        client, pb = _admin()
        chosen = [uuid] if uuid else [row[0] for row in client.log("fault")[1]]
        again = [_cleared(client, pb, str(fault)) for fault in chosen]
        if not chosen:
            say("no fault stands")
        return not any(again)

    sys.exit(exit_status(run))


def _cleared(client: Any, pb: Any, fault: str) -> bool:
    """Clear one fault and say so; whether it was diagnosed again."""
    again = client.ask("ClearSystemFault", pb.ClearSystemFaultRequest(fault_uuid=fault)).diagnosed_again
    say(f"{fault} is cleared")
    if again:
        say(f"but what it is about is still broken: diagnosed again as {again}")
    return bool(again)


@main.command("reset", short_help="Reset RDUs.")
@click.argument("paths", nargs=-1)
def reset(paths: tuple[str, ...]) -> None:
    """Reset the RDUs at PATHS, or all; the exit status is 1 where one did not come back."""

    def run() -> bool:
        client, pb = _admin()
        well = True
        for response in client.stream("ResetRdus", pb.ResetRequest(paths=paths)):
            back = "came back" if response.came_back else "did not come back in order: snfadm -l fault"
            say(f"{response.path}: {back}")
            well &= response.came_back
        return well

    sys.exit(exit_status(run))


def _admin() -> tuple[Any, Any]:
    """A client on the administrator's socket, and the messages."""
    from runtime.node.client import connect
    from runtime.node.protocol import snml_rpc_pb2

    return connect(admin=True), snml_rpc_pb2


if __name__ == "__main__":
    main()
