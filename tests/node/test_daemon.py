"""The daemon as a process of its own, with runs and tools as people start them."""

from __future__ import annotations

import importlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from pef import file
from runtime.node.footprint import placements, section_times
from runtime.node.protocol import snml_rpc_pb2 as pb
from runtime.node.protocol import snml_rpc_pb2_grpc as rpc
from runtime.session import Session
from tests.runtime import programs
from tests.runtime.programs import rand

ROOT = Path(__file__).parents[2]
MODULES = {
    "snd": "runtime.node.daemon",
    "snrun": "runtime.snrun.cli",
    **{name: f"runtime.node.tools.{name}" for name in ("snconfig", "sntilestat", "snfadm", "snfault")},
}
PATIENCE_SECONDS = 60.0
FOREVER = 10**7


@dataclass
class Daemon:
    """A running daemon, and commands that find it."""

    folder: Path
    process: subprocess.Popen[str]
    ready: dict[str, str]

    def start(self, name: str, *words: object, **environment: str) -> subprocess.Popen[str]:
        return command(self.folder, name, *words, **environment)

    def run(self, name: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """A run as a process of its own, which a session is; a tool in this one, which is faster."""
        if name == "snrun":
            process = self.start(name, *words, **environment)
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
            return subprocess.CompletedProcess(words, process.returncode, out, err)
        main = importlib.import_module(MODULES[name]).main
        done = CliRunner().invoke(main, [*map(str, words)], env={"SNC_NODE": str(self.folder)})
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    def tiles(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.run("sntilestat", "--json", "-i", 1).stdout)["tiles"]
        return found

    def held(self) -> dict[str, object]:
        return {str(tile["tile"]): tile["pid"] for tile in self.tiles() if tile["pid"]}


def command(folder: Path, name: str, *words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", MODULES[name], *map(str, words)],
        env={**os.environ, "SNC_NODE": str(folder), **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start(folder: Path) -> Daemon:
    # A daemon's log goes to a file as well: nobody reads the pipe of its standard error, which must not fill up.
    process = command(folder, "snd", "--node", "sn10-8", "--port", 0, "--exporter-port", 0)
    assert process.stdout is not None
    return Daemon(folder, process, json.loads(process.stdout.readline()))


def stop(daemon: Daemon) -> None:
    daemon.process.terminate()
    assert daemon.process.wait(timeout=PATIENCE_SECONDS) == 0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    started = start(tmp_path / "node")
    yield started
    if started.process.poll() is None:
        stop(started)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """For tests that break nothing and leave no session."""
    started = start(tmp_path_factory.mktemp("shared") / "node")
    yield started
    stop(started)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEF that trains, on tiles 0, 1 and 3 of an SN10, with data beside it."""
    path = tmp_path_factory.mktemp("pef") / "train.pef"
    record = programs.training()
    record.machine.name = "SN10"
    file.write(record, path)
    save_file({"w": rand(8, 4), "lr": np.array(1e-4, np.float32)}, path.with_suffix(".safetensors"))
    np.savez(path.with_name("data.npz"), x=rand(64, 8, seed=5))
    return path


def words(pef: Path, checkpoints: Path, steps: int = FOREVER) -> list[object]:
    data = ["--data", pef.with_name("data.npz"), "--checkpoint-dir", checkpoints, "--checkpoint-every", 20]
    return [pef, "--train", "--steps", steps, "--log-every", FOREVER, *data]


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_two_runs_share_a_node_and_a_dead_one_is_gone(daemon: Daemon, training: Path, tmp_path: Path) -> None:
    """On RDUs of their own; a third, bound to the first one's RDU, is refused or waits until that one is gone."""
    first = daemon.start("snrun", *words(training, tmp_path / "a"), SF_RNT_TILE_AFFINITY="0xf")
    until(daemon.held)
    second = daemon.start("snrun", *words(training, tmp_path / "b"))
    until(lambda: len(set(daemon.held().values())) == 2)
    assert set(daemon.held().values()) == {first.pid, second.pid}
    mine = next(tile for tile in daemon.tiles() if tile["pid"] == first.pid)
    until(lambda: next(t["percent"] for t in daemon.tiles() if t["pid"] == first.pid)["exec"] > 0)  # type: ignore[index]
    assert mine["tile"] == "/XRDU_0/RDU_0/TILE_0" and "snrun" in str(mine["command"])

    refused = daemon.run("snrun", *words(training, tmp_path / "c"), SF_RNT_TILE_AFFINITY="0xf")
    assert refused.returncode == 1
    assert f"PID {first.pid}" in refused.stderr and "--wait" in refused.stderr and "Traceback" not in refused.stderr
    waiting = daemon.start("snrun", *words(training, tmp_path / "d", 20), "--wait", 60, SF_RNT_TILE_AFFINITY="0xf")
    assert waiting.stderr is not None and waiting.stderr.readline().startswith("waiting: ")
    first.kill()
    _, err = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert waiting.returncode == 0, err
    assert (tmp_path / "d" / "step-000020.safetensors").exists()
    mask = daemon.run("snrun", *words(training, tmp_path / "e"), SF_RNT_TILE_AFFINITY="tile 1")
    assert mask.returncode == 2 and "error[USAGE]: SF_RNT_TILE_AFFINITY is 'tile 1'" in mask.stderr
    second.kill()
    for process in (first, second):
        process.wait()
    until(lambda: not daemon.held())


def test_a_run_on_a_tile_that_fails(daemon: Daemon, training: Path, tmp_path: Path) -> None:
    """It ends with one sentence that names its last checkpoint, from which training goes on; the tools say why."""
    run = daemon.start("snrun", *words(training, tmp_path / "a"), SF_RNT_TILE_AFFINITY="0xf")
    until(lambda: len(list((tmp_path / "a").glob("*.safetensors"))) > 1)
    tile = "/XRDU_0/RDU_0/TILE_0"
    assert daemon.run("snfault", "inject", "rdu", tile).returncode == 2, "that is not an RDU"
    injected = daemon.run("snfault", "inject", "tile", tile)
    assert f"the session of PID {run.pid} ends" in injected.stdout, injected.stderr
    _, said = run.communicate(timeout=PATIENCE_SECONDS)
    last = max((tmp_path / "a").glob("*.safetensors"))
    assert run.returncode == 1 and said.startswith(
        f"error[NODE]: {tile}: the tile does not answer (FTYPE_TILE_EXCLUDED"
    )
    assert len(said.splitlines()) == 2 and str(last) in said

    assert f"{tile} : FTYPE_TILE_EXCLUDED" in daemon.run("snconfig", "show", "Node", "dynamic").stdout
    assert f"{tile}   N/A" in daemon.run("sntilestat").stdout
    fault = json.loads(daemon.run("snfadm", "-l", "fault", "--json").stdout)
    assert [(entry["type"], entry["component"]) for entry in fault] == [("FTYPE_TILE_EXCLUDED", tile)]
    with urllib.request.urlopen(daemon.ready["metrics"], timeout=10) as response:
        metrics = response.read().decode()
    assert 'sambanova_tile_exec_percent{rdu="0",tile="0",xrdu="0"} NaN' in metrics
    assert 'sambanova_tile_idle_percent{rdu="1",tile="3",xrdu="3"} 100.0' in metrics
    assert "sambanova_platform_error_count 2.0" in metrics
    assert 'snc_node_faults{type="FTYPE_TILE_EXCLUDED"} 1.0' in metrics

    again = [*words(training, tmp_path / "a", 5), "--resume", last]
    refused = daemon.run("snrun", *again, SF_RNT_TILE_AFFINITY="0xf")
    assert refused.returncode == 1 and "--avoid tile:0" in refused.stderr
    assert daemon.run("snfault", "clear", "--all").returncode == 1, "diagnosed again"
    assert daemon.run("snfault", "repair", tile).returncode == 0
    assert daemon.run("snfault", "clear", "--all").returncode == 0
    assert daemon.run("snrun", *again, SF_RNT_TILE_AFFINITY="0xf").returncode == 0


def test_sessions_outlive_the_daemon(daemon: Daemon, training: Path, tmp_path: Path) -> None:
    """Killed and started again, it knows who holds what; the run did not notice."""
    run = daemon.start("snrun", *words(training, tmp_path / "a"))
    until(daemon.held)
    held = daemon.held()
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    again = start(daemon.folder)
    assert again.held() == held
    until(lambda: any(tile["percent"]["idle"] < 100 for tile in again.tiles()))  # type: ignore[index]
    assert run.poll() is None
    run.terminate()
    run.wait()
    until(lambda: not again.held())
    stop(again)


def test_tools(shared: Daemon, tmp_path: Path) -> None:
    static = shared.run("snconfig").stdout
    assert "Platform Name: DataScale SN10-8" in static and static.count("TILE Name") == 32
    both = shared.run("snconfig", "show", "Node", "all", "-j", tmp_path / "json").stdout
    assert both.count("Output JSON file: ") == 2
    kinds = sorted(path.name.rsplit("_", 2)[0] for path in (tmp_path / "json").iterdir())
    assert kinds == ["show_node_dynamic", "show_node_static"]
    dynamic = next(json.loads(p.read_text()) for p in (tmp_path / "json").glob("show_node_dynamic*"))
    assert list(dynamic["states"].values()).count("perfect") == 32
    assert "Total XRDU" not in shared.run("snconfig", "show", "Node", "op-state").stdout
    assert shared.run("sntilestat", "--skip-idle").stdout.count("\n") == 1
    assert shared.run("sntilestat", "-T", "--csv", "--count", 2, "-i", 0.2).stdout.count("TILE,%idle") == 2
    assert shared.run("snfadm", "-l", "inventory").stdout.count("perfect") == 32
    assert shared.run("snfadm", "-l", "policy", "-v").stdout.count("ADVICE") == 4
    assert shared.run("snfadm").returncode == 2
    reset = shared.run("snfault", "reset", "/XRDU_0/RDU_0").stdout
    assert reset == "/XRDU_0/RDU_0: came back\n"
    assert shared.run("snfault", "clear", "--all").stdout == "no fault stands\n"
    mistaken = shared.run("snfault", "inject", "rdu", "/XRDU_0/RDU_0/TILE_1")
    assert mistaken.returncode == 2 and "/XRDU_0/RDU_0/TILE_1 is a tile, not an RDU" in mistaken.stderr
    whole = shared.run("snfault", "repair", "/XRDU_0/RDU_0/TILE_1")
    assert whole.returncode == 2 and "try: snfadm -l fault" in whole.stderr
    assert "..." not in shared.run("snfault", "--help").stdout.partition("Commands:")[2], "a sentence is cut"
    assert "IBDEV" in shared.run("snconfig", "show", "Host", "rdma-dev").stdout


def test_sockets_and_logs_are_open_to_those_they_are_for(shared: Daemon) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in shared.folder.rglob("*")}
    assert (modes["snml.sock"], modes["snml-admin.sock"]) == (0o666, 0o600)
    assert (modes["sn.log"], modes["snd.log"]) == (0o666, 0o600)
    second = command(shared.folder, "snd", "--node", "sn10-8", "--port", 0)
    _, said = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 2 and "another process manages a node" in said
    stub = rpc.SNMLAdminRPCStub(grpc.insecure_channel(shared.ready["grpc"]))
    with pytest.raises(grpc.RpcError) as caught:
        stub.InjectFault(pb.InjectRequest(path="/XRDU_0/RDU_0"), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, "administration is on the administrator's socket"


def test_the_api_echoes_and_says_what_is_wrong(shared: Daemon) -> None:
    stub = rpc.SNMLRPCStub(grpc.insecure_channel(shared.ready["grpc"]))
    info = stub.GetSystemPlatformInfo(pb.Request(request_id=7))
    assert (info.request_id, info.platform_name) == (7, "DataScale SN10-8")
    assert stub.GetSystemVersionInfo(pb.Request()).inventory_version == 1
    installed = stub.GetResources(pb.ResourceQuery())
    assert (installed.rdu, installed.rdu_tile) == (8, 32)
    assert "does not say" in stub.OpenSession(pb.OpenSessionRequest()).error_details[0], "loopback tells no process"
    mine = rpc.SNMLRPCStub(grpc.insecure_channel(f"unix:{shared.folder / 'snml.sock'}"))
    for wrong, said in (
        (pb.OpenSessionRequest(request_id=8), "4 tiles"),
        (pb.OpenSessionRequest(request_id=8, placements=[pb.Placement(tiles=[4])]), "4 tiles"),
        (
            pb.OpenSessionRequest(request_id=8, placements=[pb.Placement(tiles=[0])], affinity="tile 1"),
            "SF_RNT_TILE_AFFINITY",
        ),
    ):
        response, call = mine.OpenSession.with_call(wrong)
        assert response.request_id == 8 and said in response.error_details[0]
        assert [tuple(pair) for pair in call.trailing_metadata()] == [("error-code", "USAGE")]
    assert "no log" in stub.GetLog(pb.LogRequest(log="gossip")).error_details[0]
    assert "know this session" in mine.ReportActivity(pb.ActivityReport(session_id=99)).ended


def test_a_session_is_its_own_process_s(shared: Daemon) -> None:
    """The kernel says whose it is, and nobody else closes it or reports for it."""
    mine = rpc.SNMLRPCStub(grpc.insecure_channel(f"unix:{shared.folder / 'snml.sock'}"))
    asked = pb.OpenSessionRequest(pef="mine", machine="SN10", placements=[pb.Placement(tiles=[0])])
    session = mine.OpenSession(asked).session_id
    assert set(shared.held().values()) == {os.getpid()}
    stranger = (
        "import sys, grpc\n"
        "from runtime.node.protocol import snml_rpc_pb2 as pb, snml_rpc_pb2_grpc as rpc\n"
        "stub = rpc.SNMLRPCStub(grpc.insecure_channel('unix:' + sys.argv[1]))\n"
        "number = int(sys.argv[2])\n"
        "print(stub.CloseSession(pb.CloseSessionRequest(session_id=number)).error_details)\n"
        "print(stub.ReportActivity(pb.ActivityReport(session_id=number)).error_details)\n"
    )
    words = [sys.executable, "-c", stranger, str(shared.folder / "snml.sock"), str(session)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count(f"session {session} belongs to PID {os.getpid()}") == 2
    assert set(shared.held().values()) == {os.getpid()}
    assert not mine.CloseSession(pb.CloseSessionRequest(session_id=session)).error_details
    assert not shared.held()


def test_what_the_daemon_cannot_use_is_a_usage_error(shared: Daemon) -> None:
    for name, *arguments in (
        ("snfault", "repair", "/XRDU_0/RDU_0/TILE_0"),
        ("snfault", "repair", "/XRDU_9"),
        ("snfault", "clear", "nothing"),
        ("snfault", "reset", "/XRDU_0/RDU_0/TILE_0"),
        ("snfault", "inject", "rdu", "/XRDU_9/RDU_0"),
    ):
        done = shared.run(name, *arguments)
        assert done.returncode == 2 and done.stderr.startswith("error[USAGE]: "), (name, arguments, done.stderr)


def test_without_a_daemon_the_tools_say_so(tmp_path: Path) -> None:
    nobody = Daemon(tmp_path, None, {})  # type: ignore[arg-type]
    for name, arguments in (("sntilestat", []), ("snfadm", ["-l", "fault"]), ("snfault", ["clear", "--all"])):
        done = nobody.run(name, *arguments)
        assert done.returncode == 1 and done.stderr.startswith("error[NODE]: no daemon") and "snd --node" in done.stderr


def test_a_session_without_a_daemon_imports_none_of_it(tmp_path: Path, training: Path) -> None:
    code = (
        "import sys\nfrom runtime.session import Session\n"
        f"session = Session({str(training)!r}); session.memory\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('grpc', 'psutil') or m == 'runtime.node.lease'])"
    )
    for where in ("off", str(tmp_path)):
        environment = {**os.environ, "SNC_NODE": where}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


def test_times_are_those_of_the_simulator(training: Path) -> None:
    session = Session(training)
    report = session.run_timing()
    times = list(section_times(session.pef, session.sections()))
    assert sum(time.total_us for time in times) == pytest.approx(report.us(report.cycles))
    assert placements(session.pef) == [{0, 1, 3}]
    assert all(time.tiles <= {0, 1, 3} for time in times)
