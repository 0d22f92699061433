"""A drill for administrators: train, lose a tile in the middle, find it, compile around it, and go on.

    python examples/drill.py                              watch it
    python examples/drill.py --page docs/operations.md    and put its log into the page

Everything happens in a temporary folder, on a simulated SN30-8 of its own, with the commands that an administrator
would type. The run is bound to RDU 0 by SF_RNT_TILE_AFFINITY: with the whole node to choose from, it would simply
start again on another RDU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MODEL = Path(__file__).with_name("lenet.py")
MODULES = {
    "snc": "compiler.cli",
    "snd": "runtime.node.daemon",
    "snrun": "runtime.snrun.cli",
    "snconfig": "runtime.node.tools.snconfig",
    "sntilestat": "runtime.node.tools.sntilestat",
    "snfadm": "runtime.node.tools.snfadm",
    "snfault": "runtime.node.tools.snfault",
}
RDU_0 = "0xff"
TILE = "/XRDU_0/RDU_0/TILE_2"
EVERY = 50
"""Steps from checkpoint to checkpoint."""
MORE = 2 * EVERY
"""Steps after the last checkpoint that survives."""
PATIENCE_SECONDS = 120.0
BEGIN, END = "<!-- drill: python examples/drill.py --page docs/operations.md -->", "<!-- end of drill -->"


@dataclass
class Drill:
    """A folder in which commands run, and the log of them."""

    folder: Path
    log: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add lines to the log, without the paths of this computer, and show them."""
        text = text.replace(sys.executable, "python").replace(f"{self.folder}/", "").rstrip()
        self.log.append(text)
        print(text, flush=True)

    def process(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        """Start a command without showing anything."""
        name, *arguments = map(str, words)
        return subprocess.Popen(
            [sys.executable, "-m", MODULES[name], *arguments],
            cwd=self.folder,
            env={**os.environ, "SNC_NODE": str(self.folder / "node"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def show(self, *words: object, keep: str = "", last: int = 0, **environment: str) -> str:
        """Run a command and show it with its output: the lines with `keep` in them, or the `last` ones; returns all."""
        self.say(f"$ {_typed(words, environment)}")
        output, _ = self.process(*words, **environment).communicate(timeout=PATIENCE_SECONDS)
        lines = [line for line in output.splitlines() if keep in line]
        self.say("\n".join(lines[-last:]))
        return output


def _typed(words: Sequence[object], environment: dict[str, str]) -> str:
    return " ".join([*(f"{name}={value}" for name, value in environment.items()), *map(str, words)])


@contextmanager
def node(drill: Drill) -> Iterator[None]:
    """The daemon of a node of the drill's own."""
    drill.say("$ snd --node sn30-8 &")
    daemon = drill.process("snd", "--node", "sn30-8", "--port", 0, "--exporter-port", 0)
    try:
        _until(lambda: (drill.folder / "node" / "snml.sock").exists(), "the daemon to start")
        yield
    finally:
        daemon.terminate()
        daemon.communicate(timeout=PATIENCE_SECONDS)


def rehearse(drill: Drill) -> float:
    """Do it all; returns the largest relative difference of the losses from those of a run without any fault."""
    (drill.folder / MODEL.name).write_bytes(MODEL.read_bytes())
    with node(drill):
        drill.show("snc", "compile", MODEL.name, "-b", 32, last=2)
        pef, checkpoints = "out/lenet/lenet.pef", drill.folder / "out/lenet/checkpoints"
        train = ("snrun", pef, "--train", "--steps", 100000, "--log-every", EVERY, "--checkpoint-every", EVERY)
        drill.say(f"$ {_typed(train, {'SF_RNT_TILE_AFFINITY': RDU_0})} &")
        run = drill.process(*train, SF_RNT_TILE_AFFINITY=RDU_0)
        _until(lambda: len(list(checkpoints.glob("*.safetensors"))) > 1, "two checkpoints")
        time.sleep(1)
        drill.show("sntilestat", "-i", 1, "--skip-idle")
        drill.show("snfault", "inject", "tile", TILE)
        drill.say("\n".join(run.communicate(timeout=PATIENCE_SECONDS)[0].splitlines()[-4:]))
        drill.say("\nWhat the three tools say:")
        drill.show("snconfig", "show", "Node", "dynamic", keep="/XRDU_0/RDU_0")
        drill.show("sntilestat", keep="N/A")
        drill.show("snfadm", "-l", "fault", "-v")
        drill.say("\nThe same PEF cannot use this RDU any more; one that is mapped around the tile can:")
        last = max(checkpoints.glob("*.safetensors"))
        done = int(last.stem.rpartition("-")[2])
        go_on = ("--train", "--steps", MORE, "--log-every", EVERY, "--resume", last.relative_to(drill.folder))
        drill.show("snrun", pef, *go_on, last=2, SF_RNT_TILE_AFFINITY=RDU_0)
        drill.show(
            "snc", "compile", MODEL.name, "-b", 32, "--pef-name", "around", "--avoid", "tile:2", keep="mapped around"
        )
        around = "out/around/around.pef"
        rest = drill.show("snrun", around, *go_on, "--accept-recompiled", last=4, SF_RNT_TILE_AFFINITY=RDU_0)
        drill.say("\nThe tile is replaced:")
        drill.show("snfault", "repair", TILE)
        drill.show("snfault", "clear", "--all")
        drill.show("snfadm", "-l", "fault", "-a")
    return _compared(drill, pef, done, rest)


def _compared(drill: Drill, pef: str, done: int, rest: str) -> float:
    """Against a run of as many steps without a fault."""
    whole = (
        "snrun",
        pef,
        "--train",
        "--steps",
        done + MORE,
        "--log-every",
        EVERY,
        "--json",
        "--checkpoint-dir",
        "whole",
    )
    output, _ = drill.process(*whole, SNC_NODE="off").communicate(timeout=PATIENCE_SECONDS)
    expected = {entry["step"]: entry["loss"] for entry in json.loads(output)["losses"]}
    words = [line.split() for line in rest.splitlines() if line.startswith("step ")]
    found = {int(step): float(loss) for _, step, _, loss in words}
    drill.say(f"\nLosses after step {done}, and those of a run without a fault:")
    for step, loss in found.items():
        drill.say(f"step {step:<7} {loss:.6g}   {expected[step]:.6g}")
    return max(abs(loss - expected[step]) / abs(expected[step]) for step, loss in found.items())


def _until(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.05)


def put_into(page: Path, log: Sequence[str]) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n```\n" + "\n".join(log) + f"\n```\n{END}{after}")


def main() -> int:
    """Rehearse; exit status 1 where training went on differently."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="a Markdown page with the marks of the drill")
    page = parser.parse_args().page
    with tempfile.TemporaryDirectory() as folder:
        drill = Drill(Path(folder).resolve())
        difference = rehearse(drill)
    drill.say(f"largest relative difference: {difference:.2g}")
    if page is not None:
        put_into(page, drill.log)
    return 0 if difference < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
