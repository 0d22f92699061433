"""Sessions, faults and logs without any protocol; what is acknowledged outlives the daemon."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ir.errors import UsageError
from runtime.node import store
from runtime.node.activity import Sums
from runtime.node.allocation import Need, Refusal
from runtime.node.diagnosis import FaultType
from runtime.node.hardware import load_node
from runtime.node.manager import Manager, Opened
from runtime.node.processes import Process, find_process, is_alive
from runtime.node.store import Store
from runtime.node.tables import log_table, states

WHOLE = Need("whole.pef", "SN30", (frozenset(range(8)),))
RDU_0 = replace(WHOLE, affinity=0xFF)
TILE, RDU = "/XRDU_0/RDU_0/TILE_2", "/XRDU_0/RDU_0"
DIMM, LINK, HOST_LINK = f"{RDU}/DDRCH_1/DIMM_F0", f"{RDU}/PCIE_2", f"{RDU}/PCIE_0"


def started(folder: Path) -> Manager:
    manager = Manager(load_node("sn30-8"), Store(folder / "node.db", "sn30-8"))
    manager.start()
    return manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = started(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Three processes that do nothing."""
    running = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(3)]
    found = [find_process(child.pid) for child in running]
    yield [process for process in found if process is not None]
    for child in running:
        child.kill()
        child.wait()


def opened(answer: Opened | Refusal) -> Opened:
    assert isinstance(answer, Opened), answer
    return answer


def test_a_session_holds_its_tiles_until_it_closes(manager: Manager, processes: list[Process]) -> None:
    first = opened(manager.open_session(processes[0], RDU_0, wait=False))
    answer = manager.open_session(processes[1], RDU_0, wait=False)
    assert isinstance(answer, Refusal) and str(processes[0].pid) in answer.reason
    assert [status.holder.pid if status.holder else 0 for status in manager.tiles(5.0)][:9] == [
        processes[0].pid
    ] * 8 + [0]
    manager.close_session(first.session)
    opened(manager.open_session(processes[1], RDU_0, wait=False))


def test_a_dead_process_holds_nothing(manager: Manager, processes: list[Process]) -> None:
    """Neither one that is gone, nor one whose number another process has by now."""
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = find_process(gone.pid)
    assert process is not None and is_alive(process.pid, process.started)
    opened(manager.open_session(process, RDU_0, wait=False))
    gone.kill()
    gone.wait()
    recycled = replace(processes[1], started=processes[1].started - 100)
    opened(manager.open_session(recycled, RDU_0, wait=False))
    opened(manager.open_session(processes[0], RDU_0, wait=False))
    assert len(manager.store.sessions()) == 1


def test_who_waits_comes_first(manager: Manager, processes: list[Process]) -> None:
    held = opened(manager.open_session(processes[0], RDU_0, wait=False))
    assert isinstance(manager.open_session(processes[1], RDU_0, wait=True), Refusal)
    manager.close_session(held.session)
    late = manager.open_session(processes[2], RDU_0, wait=False)
    assert isinstance(late, Refusal) and late.busy and str(processes[1].pid) in late.reason
    opened(manager.open_session(processes[2], replace(WHOLE, affinity=0xFF00), wait=False))
    opened(manager.open_session(processes[1], RDU_0, wait=True))


def test_one_process_has_one_session(manager: Manager, processes: list[Process]) -> None:
    first = opened(manager.open_session(processes[0], RDU_0, wait=False))
    second = opened(manager.open_session(processes[0], RDU_0, wait=False))
    third = opened(manager.open_session(processes[0], replace(WHOLE, affinity=0xFF00), wait=False))
    assert first.session == second.session == third.session
    (session,) = manager.store.sessions()
    assert session.tiles == frozenset(range(16))


def test_shares_are_those_of_the_run(manager: Manager, processes: list[Process]) -> None:
    number = opened(manager.open_session(processes[0], RDU_0, wait=False)).session
    assert manager.report(number, Sums(100.0, {0: (30.0, 20.0, 5.0, 0.0, 0.0)})) == ("", "")
    first, second, *_ = manager.tiles(5.0)
    assert first.percent == pytest.approx((45, 30, 20, 5, 0, 0))
    assert second.percent[0] == 100 and second.holder is not None, "idle with a PID: time on the host"


@pytest.mark.parametrize(
    ("path", "kind", "out", "suspects"),
    [
        (TILE, FaultType.TILE_EXCLUDED, [2], (TILE,)),
        (RDU, FaultType.RDU_RESET, [*range(8)], (RDU,)),
        (DIMM, FaultType.RDU_INIT, [*range(8)], (DIMM,)),
        (HOST_LINK, FaultType.RDU_REMOVED, [*range(8)], (HOST_LINK, RDU, "host")),
        (LINK, FaultType.RDU_REMOVED, [*range(8)], (LINK, RDU, "/XRDU_1/RDU_0/PCIE_3", "/XRDU_1/RDU_0")),
    ],
)
def test_what_breaks_is_diagnosed(
    manager: Manager, processes: list[Process], path: str, kind: FaultType, out: list[int], suspects: tuple[str, ...]
) -> None:
    number = opened(manager.open_session(processes[0], RDU_0, wait=False)).session
    other = opened(manager.open_session(processes[1], replace(WHOLE, affinity=0xFF00), wait=False)).session
    identity, ended = manager.inject(path)
    (fault,) = manager.store.faults()
    assert (fault.uuid, fault.type, fault.suspects) == (identity, kind, suspects)
    assert sorted(manager.out_of_service()) == out
    assert ended == [processes[0].pid]
    reason, lever = manager.report(number, Sums(0.0, {}))
    assert path in reason and kind.value in reason and "--resume" in lever
    assert manager.report(other, Sums(0.0, {})) == ("", "")
    assert len(manager.store.errors()) == 2
    assert ("perfect" in set(states(manager)[1].values())) and states(manager)[0][RDU] != "online"
    assert isinstance(manager.open_session(processes[0], RDU_0, wait=False), Refusal)


def test_the_lever_for_a_tile_is_a_compile_around_it(manager: Manager, processes: list[Process]) -> None:
    number = opened(manager.open_session(processes[0], replace(WHOLE, affinity=0xFF00), wait=False)).session
    manager.inject("/XRDU_0/RDU_1/TILE_5")
    assert "--avoid tile:5" in manager.report(number, Sums(0.0, {}))[1]


def test_transient_and_correctable_errors_are_no_faults(manager: Manager, processes: list[Process]) -> None:
    opened(manager.open_session(processes[0], RDU_0, wait=False))
    assert manager.inject(DIMM, correctable=True) == ("", [])
    assert manager.inject(RDU, transient=True) == ("", [processes[0].pid])
    assert not manager.store.faults() and len(manager.store.errors()) == 3
    opened(manager.open_session(processes[0], RDU_0, wait=False))
    with pytest.raises(UsageError):
        manager.inject(TILE, correctable=True)


def test_clearing_without_a_repair_is_diagnosed_again(manager: Manager) -> None:
    identity, _ = manager.inject(TILE)
    again = manager.clear(identity)
    assert again and again != identity and 2 in manager.out_of_service()
    manager.repair(TILE)
    assert 2 in manager.out_of_service(), "a fault stands until it is cleared"
    assert manager.clear(again) == ""
    assert not manager.out_of_service()
    cleared = manager.store.faults(all_of_them=True)
    assert [fault.cleared is not None for fault in cleared] == [True, True]
    for wrong in (lambda: manager.clear(again), lambda: manager.repair(TILE)):
        with pytest.raises(UsageError):
            wrong()


def test_one_fault_is_diagnosed_once(manager: Manager) -> None:
    assert manager.inject(TILE)[0] == manager.inject(TILE)[0]
    assert len(manager.store.faults()) == 1


def test_everything_outlives_the_daemon(tmp_path: Path, processes: list[Process]) -> None:
    before = started(tmp_path)
    number = opened(before.open_session(processes[0], RDU_0, wait=False)).session
    identity, _ = before.inject("/XRDU_0/RDU_1/TILE_0")
    before.store.break_("/XRDU_3/RDU_1", time.time())
    before.store.close()
    after = started(tmp_path)
    assert [session.id for session in after.store.sessions()] == [number]
    types = {fault.path: fault.type for fault in after.store.faults()}
    assert types == {"/XRDU_0/RDU_1/TILE_0": FaultType.TILE_EXCLUDED, "/XRDU_3/RDU_1": FaultType.RDU_INIT}
    assert identity in {fault.uuid for fault in after.store.faults()}
    assert isinstance(after.open_session(processes[1], RDU_0, wait=False), Refusal)
    after.store.close()
    with pytest.raises(UsageError) as caught:
        Store(tmp_path / "node.db", "sn10-8")
    assert "--node sn30-8" in str(caught.value)


def test_a_reset_ends_sessions_and_finds_what_is_broken(manager: Manager, processes: list[Process]) -> None:
    number = opened(manager.open_session(processes[0], RDU_0, wait=False)).session
    assert manager.reset(0)
    assert "works again" in manager.report(number, Sums(0.0, {}))[0]
    manager.store.break_(DIMM, time.time())
    assert not manager.reset(0)
    assert manager.store.faults()[0].type is FaultType.RDU_INIT


def test_logs_count_their_changes(manager: Manager) -> None:
    before = manager.store.versions()
    manager.inject(TILE)
    after = manager.store.versions()
    assert after["fault"] == before["fault"] + 1 and after["error"] == before["error"] + 2
    assert after["inventory"] > before["inventory"] and after["policy"] == before["policy"]
    for log in ("inventory", "error", "fault", "policy"):
        columns, rows = log_table(manager, log, all_of_them=True)
        assert rows and all(len(row) == len(columns) for row in rows)
    inventory = {row[0]: row[3] for row in log_table(manager, "inventory", False)[1]}
    assert inventory[TILE] == "FTYPE_TILE_EXCLUDED" and inventory[RDU] == "degraded"
    with pytest.raises(UsageError):
        log_table(manager, "gossip", all_of_them=False)


def test_the_store_keeps_the_newest_errors_and_closed_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "KEPT", 3)
    kept = Store(tmp_path / "node.db", "sn30-8")
    for number in range(1, 6):
        kept.add_error("/NODE", f"error {number}", float(number))
        session = kept.open_session(number, 0.0, "user", "snrun", "a.pef", [], 0.0)
        if number > 1:
            kept.close_session(session, 1.0)
    assert [(number, text) for number, _, _, text in kept.errors()] == [(n, f"error {n}") for n in (3, 4, 5)]
    assert kept.error_count() == 3
    assert [session.id for session in kept.sessions()] == [1]
    assert kept.open_session(6, 0.0, "user", "snrun", "a.pef", [], 0.0) == 6
