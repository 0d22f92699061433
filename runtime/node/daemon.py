"""`snd`: the daemon of a simulated node."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ir.ending import exit_status
from runtime.node.door import Door
from runtime.node.hardware import load_node, node_names
from runtime.node.places import Places, places

LOOPBACK = "127.0.0.1"
PORT = 50053
REAP_SECONDS = 1.0
"""How soon the tiles of a process that died are free."""
GRACE_SECONDS = 1.0
WORKERS = 16

log = logging.getLogger("snc.snd")


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line of `snd`."""

    node: str
    folder: Path | None
    port: int
    exporter_port: int | None
    exporter_config: Path | None
    no_exporter: bool


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--node", default="sn30-8", show_default=True, metavar="|".join([*node_names(), "FILE"]), help="The node."
)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="State, sockets, logs; default: $SNC_NODE."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="gRPC, on loopback; 0: any."
)
@click.option("--exporter-port", type=click.IntRange(0, 65535),
              help="Prometheus metrics, on loopback; 0: any. Default: the configuration's, else 9101.")  # fmt: skip
@click.option("--exporter-config", type=click.Path(dir_okay=False, path_type=Path),
              help="Which metrics, and the port; default: $SAMBANOVA_EXPORTER_CONFIG_FILE.")  # fmt: skip
@click.option("--no-exporter", is_flag=True, help="No metrics.")
@click.option("-v", "--verbose", is_flag=True, help="Print the traceback of an unforeseen error.")
def main(verbose: bool, **options: Any) -> None:
    """Manage a simulated DataScale node: who runs on which tiles, what is broken, and what follows from it.

    Runs in the foreground and prints one line of JSON once it is ready; systemd (Type=notify) is told too. While it
    runs, every snrun and every SambaFlow program of this computer is a session on the node's tiles; with SNC_NODE=off
    it ignores the node.

    \b
      snd --node sn30-8 &                       the node: 8 RDUs of 8 tiles
      snrun out/lenet/lenet.pef                 a session on the tiles it needs
      sntilestat                                what tiles do, and for whom
      snconfig show Node static                 the hardware; dynamic: its state
      snfadm -l inventory                       as a list; error, fault: logs
      snfault inject tile /XRDU_0/RDU_0/TILE_3  break something
      kill %1                                   it ends; the state stays

    State, sockets and logs are in $SNC_NODE, else in ~/.local/state/snc/node: node.db, snml.sock for all users,
    snml-admin.sock for the one who started the daemon, log/snd.log, and log/sn.log of the runs.
    """

    def run() -> bool:
        serve(Settings(**options))
        return True

    sys.exit(exit_status(run, verbose))


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises UsageError for what stands in the way."""
    from pef.locks import only_writer
    from runtime.node import logs
    from runtime.node.manager import Manager
    from runtime.node.store import Store

    node = load_node(settings.node)
    where = _places(settings)
    with only_writer(where.folder, "manages a node with the state in", "end it, or give another --folder"):
        logs.log_to(log, where.daemon_log, "SND", 0o600, logs.LEVELS["INFO"])
        logs.also_to_console(log, "SND")
        store = Store(where.database, settings.node)
        manager = Manager(node, store)
        manager.start()
        where.application_log.touch(exist_ok=True)
        with suppress(PermissionError):
            where.application_log.chmod(0o666)
        try:
            _serve(manager, where, settings)
        finally:
            store.close()


def _places(settings: Settings) -> Places:
    found = places()
    if settings.folder is not None or found is None:
        return Places((settings.folder or Path("node")).absolute())
    return found


def _serve(manager: Any, where: Places, settings: Settings) -> None:
    from runtime.node.exporter import read_config, serve_metrics

    config = None if settings.no_exporter else read_config(settings.exporter_config)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    servers, door, port = _grpc(manager, where, settings)
    ready = {"platform": manager.node.platform, "socket": str(where.socket), "grpc": f"{LOOPBACK}:{port}"}
    exporter = None
    if config is not None:
        wanted = config.http_port if settings.exporter_port is None else settings.exporter_port
        exporter, metrics_port = serve_metrics(manager, LOOPBACK, wanted, config.collectors)
        ready["metrics"] = f"http://{LOOPBACK}:{metrics_port}/metrics"
    log.info("%s is up", manager.node.platform)
    print(json.dumps(ready), flush=True)
    _notify("READY=1")
    while not ending.wait(REAP_SECONDS):
        manager.reap()
    _notify("STOPPING=1")
    door.close()
    for server in servers:
        server.stop(GRACE_SECONDS).wait()
    if exporter is not None:
        exporter.shutdown()
    for path in (where.socket, where.inner_socket, where.admin_socket):
        path.unlink(missing_ok=True)
    log.info("%s is down", manager.node.platform)


def _grpc(manager: Any, where: Places, settings: Settings) -> tuple[list[Any], Door, int]:
    """Two servers: for all users on loopback and behind a door, for the daemon's own user on a socket; and the port."""
    import grpc

    from ir.errors import Problem, UsageError
    from runtime.node.protocol import snml_rpc_pb2_grpc as rpc
    from runtime.node.service import AdminCalls, UserCalls

    options = [("grpc.so_reuseport", 0)]
    everybody = grpc.server(ThreadPoolExecutor(WORKERS), options=options)
    rpc.add_SNMLRPCServicer_to_server(UserCalls(manager, settings.node), everybody)
    admin = grpc.server(ThreadPoolExecutor(2), options=options)
    rpc.add_SNMLRPCServicer_to_server(UserCalls(manager, settings.node), admin)
    rpc.add_SNMLAdminRPCServicer_to_server(AdminCalls(manager), admin)
    mask = os.umask(0o177)  # a socket must never be open to others, not even before its permissions are set
    try:
        port = everybody.add_insecure_port(f"{LOOPBACK}:{settings.port}")
        everybody.add_insecure_port(f"unix:{where.inner_socket}")
        admin.add_insecure_port(f"unix:{where.admin_socket}")
        everybody.start()
        admin.start()
        door = Door(where.socket, where.inner_socket)
    except (RuntimeError, OSError) as error:
        what = f"cannot listen on {LOOPBACK}:{settings.port} and {where.socket}"
        raise UsageError(
            Problem(what, hint="give another --port, or 0 for any free one, or a shorter --folder")
        ) from error
    finally:
        os.umask(mask)
    return [everybody, admin], door, int(port)


def _notify(state: str) -> None:
    """Tell systemd, where it started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, suppress(OSError):
        notify.connect("\0" + address[1:] if address.startswith("@") else address)
        notify.sendall(state.encode())


if __name__ == "__main__":
    main()
