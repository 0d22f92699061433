"""The management API over a Manager: requests in, responses out, and every error in error_details."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from ir.errors import Problem, SncError, UsageError
from ir.version import VERSION
from runtime.node.activity import Sums
from runtime.node.allocation import Need, Refusal
from runtime.node.door import caller
from runtime.node.hardware import Kind, Node
from runtime.node.manager import Manager
from runtime.node.places import ERROR_CODE
from runtime.node.processes import find_process
from runtime.node.protocol import snml_rpc_pb2 as pb
from runtime.node.protocol import snml_rpc_pb2_grpc as rpc
from runtime.node.tables import log_table, states
from runtime.node.words import tile_mask

log = logging.getLogger("snc.snd")

LONGEST_TEXT = 4096
"""Characters of what a client says of itself."""


def details(error: Exception) -> list[str]:
    """What a response says of an error: of ours all of it, of any other that there was one."""
    if isinstance(error, SncError):
        return [str(problem) for problem in error.problems]
    log.error("a call failed", exc_info=error)
    return [f"the daemon failed: {type(error).__name__}: {error}"]


def tell_code(context: Any, error: Exception) -> None:
    """The code of one of our errors, beside the response that has its words."""
    if isinstance(error, SncError):
        context.set_trailing_metadata(((ERROR_CODE, error.code),))


def _answers(response: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A call of the API: what it raises is in the response."""

    def decorated(call: Callable[..., Any]) -> Callable[..., Any]:
        def answered(self: Any, request: Any, context: Any) -> Any:
            try:
                fields = call(self, request, context)
            except Exception as error:
                tell_code(context, error)
                return response(request_id=request.request_id, error_details=details(error))
            return response(request_id=request.request_id, **(fields or {}))

        return answered

    return decorated


class UserCalls(rpc.SNMLRPCServicer):
    """What every user may call."""

    def __init__(self, manager: Manager, node_file: str) -> None:
        self._manager = manager
        self._node_file = node_file

    @_answers(pb.PlatformInfo)
    def GetSystemPlatformInfo(self, request: Any, context: Any) -> dict[str, Any]:
        return {"platform_name": self._manager.node.platform, "node_file": self._node_file}

    @_answers(pb.SystemVersionInfo)
    def GetSystemVersionInfo(self, request: Any, context: Any) -> dict[str, Any]:
        return {f"{name}_version": version for name, version in self._manager.store.versions().items()}

    @_answers(pb.RuntimeVersion)
    def GetRuntimeVersion(self, request: Any, context: Any) -> dict[str, Any]:
        return {"version": VERSION}

    @_answers(pb.OperationalState)
    def GetOperationalState(self, request: Any, context: Any) -> dict[str, Any]:
        rdus, tiles = states(self._manager)
        return {
            "rdus": [pb.ComponentState(path=path, state=state) for path, state in rdus.items()],
            "tiles": [pb.ComponentState(path=path, state=state) for path, state in tiles.items()],
        }

    @_answers(pb.Resources)
    def GetResources(self, request: Any, context: Any) -> dict[str, Any]:
        node = self._manager.node
        tiles = self._manager.free_tiles() if request.available_only else frozenset(range(node.tiles))
        whole = [rdu for rdu in range(node.rdus) if tiles.issuperset(node.tiles_of(rdu))]
        memory = node.xrdu_memory_gb / node.rdus_per_xrdu
        return {"rdu": len(whole), "rdu_tile": len(tiles), "memory_gb": memory * len(whole)}

    @_answers(pb.TileActivity)
    def GetTileActivity(self, request: Any, context: Any) -> dict[str, Any]:
        tiles = []
        for status in self._manager.tiles(request.interval_seconds):
            tile = pb.Tile(path=status.path, in_service=bool(status.percent), percent=status.percent)
            if status.holder is not None:
                tile.pid, tile.user, tile.command = status.holder.pid, status.holder.user, status.holder.command
            tiles.append(tile)
        return {"tiles": tiles}

    @_answers(pb.Log)
    def GetLog(self, request: Any, context: Any) -> dict[str, Any]:
        columns, rows = log_table(self._manager, request.log, request.all)
        return {"columns": columns, "entries": [pb.Entry(values=row) for row in rows]}

    @_answers(pb.OpenSessionResponse)
    def OpenSession(self, request: Any, context: Any) -> dict[str, Any]:
        pid = caller(context.peer())
        process = find_process(pid)
        if process is None:
            raise UsageError(Problem(f"there is no process {pid} here", hint="run on the node itself"))
        answer = self._manager.open_session(process, _need(request, self._manager.node.tiles_per_rdu), request.wait)
        outcome = pb.OpenSessionResponse
        if isinstance(answer, Refusal):
            waiting = answer.busy and request.wait
            return {
                "outcome": outcome.WAITING if waiting else outcome.REFUSED,
                "error_details": [answer.reason],
                "lever": answer.lever,
            }
        paths = [self._manager.node.tile_path(tile) for tile in sorted(answer.grant.tiles)]
        return {
            "outcome": outcome.GRANTED,
            "session_id": answer.session,
            "used": answer.grant.used,
            "paths": paths,
        }

    @_answers(pb.ActivityResponse)
    def ReportActivity(self, request: Any, context: Any) -> dict[str, Any]:
        busy = {time.tile: tuple(time.busy_us) for time in request.tiles if len(time.busy_us) == 5}
        self._require_own(request.session_id, context)
        ended, lever = self._manager.report(request.session_id, Sums(request.total_us, busy))
        return {"ended": ended, "lever": lever}

    @_answers(pb.Response)
    def CloseSession(self, request: Any, context: Any) -> None:
        self._require_own(request.session_id, context)
        self._manager.close_session(request.session_id)

    def _require_own(self, session: int, context: Any) -> None:
        pid, owner = caller(context.peer()), self._manager.owner(session)
        if owner not in (None, pid):
            hint = "only that process reports for it and closes it"
            raise UsageError(Problem(f"session {session} belongs to PID {owner}", hint=hint))


class AdminCalls(rpc.SNMLAdminRPCServicer):
    """What the daemon's own user may call."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    @_answers(pb.ClearSystemFaultResponse)
    def ClearSystemFault(self, request: Any, context: Any) -> dict[str, Any]:
        return {"diagnosed_again": self._manager.clear(request.fault_uuid)}

    def ResetRdus(self, request: Any, context: Any) -> Iterator[Any]:
        node = self._manager.node
        try:
            rdus = [_rdu(node, path) for path in request.paths] or range(node.rdus)
            for rdu in rdus:
                back = self._manager.reset(rdu)
                yield pb.ResetResponse(request_id=request.request_id, path=node.rdu_path(rdu), came_back=back)
        except Exception as error:
            tell_code(context, error)
            yield pb.ResetResponse(request_id=request.request_id, error_details=details(error))

    @_answers(pb.InjectResponse)
    def InjectFault(self, request: Any, context: Any) -> dict[str, Any]:
        fault, ended = self._manager.inject(request.path, request.transient, request.correctable)
        return {"fault_uuid": fault, "ended": ended}

    @_answers(pb.Response)
    def Repair(self, request: Any, context: Any) -> None:
        self._manager.repair(request.path)


def _rdu(node: Node, path: str) -> int:
    """The number of the RDU at a path. Raises UsageError where there is none."""
    component = node.find(path)
    if component.kind is not Kind.RDU:
        raise UsageError(Problem(f"{path} is not an RDU", hint=f"give the path of one, such as {node.rdu_path(0)}"))
    return component.rdu


def _need(request: Any, tiles_per_rdu: int) -> Need:
    """What a session asks for. Raises UsageError for tiles that no RDU has, or a mask that is not a number."""
    placements = tuple(frozenset(placement.tiles) for placement in request.placements)
    if not placements or not all(placements) or any(max(tiles) >= tiles_per_rdu for tiles in placements):
        raise UsageError(Problem(f"an RDU of this node has {tiles_per_rdu} tiles", hint="compile for this machine"))
    affinity = tile_mask(request.affinity)
    return Need(request.pef[:LONGEST_TEXT], request.machine, placements, affinity, request.rdu, request.rdu_tile)
