"""Every framework option of the command line, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VERBS = {
    "compile": "compile the model to a PEF",
    "run": "run a PEF: training, or inference with --inference",
    "test": "compare the results of CPU and RDU on one batch",
    "measure-performance": "measure latency and throughput of a PEF",
    "measure-sections": "measure every section of a PEF",
}
ALL_VERBS = frozenset(VERBS)
COMPILE = frozenset({"compile"})
EXECUTE = ALL_VERBS - COMPILE
MEASURE = frozenset({"measure-performance", "measure-sections"})


@dataclass(frozen=True)
class Option:
    """One option. `recorded`: only hardware can honour it; it is accepted, and kept in the PEF."""

    flags: tuple[str, ...]
    help: str
    verbs: frozenset[str] = ALL_VERBS
    keywords: dict[str, Any] = field(default_factory=dict)
    recorded: bool = False
    experimental: bool = False

    @property
    def name(self) -> str:
        """The attribute of the parsed arguments."""
        dest = self.keywords.get("dest")
        return str(dest) if dest else self.flags[-1].lstrip("-").replace("-", "_")


def _flag(flag: str, help: str, verbs: frozenset[str] = ALL_VERBS, **named: bool) -> Option:
    return Option((flag,), help, verbs, {"action": "store_true"}, **named)


def _value(
    flags: str,
    help: str,
    type: Any = str,
    default: Any = None,
    verbs: frozenset[str] = ALL_VERBS,
    recorded: bool = False,
) -> Option:
    return Option(tuple(flags.split()), help, verbs, {"type": type, "default": default}, recorded)


def _hardware(flags: str, help: str, type: Any = str, default: Any = None, nargs: Any = None) -> Option:
    keywords = {"type": type, "default": default, "nargs": nargs}
    return Option(tuple(flags.split()), help, ALL_VERBS, keywords, recorded=True, experimental=True)


def _hardware_flag(flag: str, help: str) -> Option:
    return _flag(flag, help, recorded=True, experimental=True)


MODEL = (
    _value("-b --batch-size", "samples in a batch; static in the graph", int, 1),
    _value("-mb --microbatch-size", "samples that stream through the RDU as one tile; changes time, not results", int),
    _flag("--inference", "forward sections only"),
    _value("-p --pef", "the PEF to run", default=""),
    _value("--mapping", "section or spatial", default="section"),
    _value("--num-spatial-batches", "batches consumed per run with --mapping spatial", int, 1),
    _value("--n-chips", "RDUs used by one copy of the model", int, 1, recorded=True),
    _value("--num-tiles", "tiles per chip", int, 4, recorded=True),
    _value("-ws --world-size", "replicas the graph is compiled for, at least", int, 1),
    _flag("--data-parallel", "one of several replicas that average their gradients"),
    _flag("--reduce-on-rdu", "average gradients device to device"),
    _value("--data-parallel-mode", "how replicas exchange gradients", default="normal", recorded=True),
    _value("--distlearn-config", "configuration of distributed learning", recorded=True),
    _value("--replica-timeout", "seconds to wait for the other replicas; default: 300, or CCL_TIMEOUT", float),
    _flag("--distributed-run", "the old name of --data-parallel"),
    _flag("--debug", "say everything; with --help, show experimental options too"),
    Option(("-v", "--verbose"), "say what is being done", ALL_VERBS, {"action": "store_true"}),
    _value("--log-level", "debug, info, warning or error"),
)
COMPILING = (
    _value("--pef-name", "name of the PEF and of its folder; default: with the time and process", verbs=COMPILE),
    _value("--output-folder", "the PEF becomes FOLDER/NAME/NAME.pef", default="./out", verbs=ALL_VERBS),
    _flag("--o0", "one operator per section"),
    _flag("--o1", "fuse by rules; one operator per section beside them"),
    _flag("--o3", "fuse the whole graph (default)"),
    _value("--optimization-rules", "YAML file with fusion rules for --o1, tried before the default ones"),
    _value("--arch", "sn10, sn20, sn30, sn40, or a machine file"),
    _value("--avoid", "hardware to map around: tile:3,unit:130,agcu:5"),
    _value("--graphamp-preset", "mp0: as written; mp1: products read bf16; mp4: everything bf16"),
)
HARDWARE = (
    _hardware_flag("--mac-v1", "generation of the graph compiler"),
    _hardware_flag("--mac-v2", "generation of the graph compiler"),
    _hardware("--mac-human-decision", "file with hand-written placement"),
    _hardware("--compiler-configs-file", "file with low-level settings"),
    _hardware("--resources-scaling-factors", "safety factors of resources", nargs="+"),
    _hardware_flag("--weight-sharing", "share weights"),
    _hardware_flag("--enable-conv-tiling", "tile large convolutions"),
    _hardware_flag("--enable-tiling", "tile large tensors"),
    _hardware_flag("--enable-stoc-rounding", "stochastic rounding"),
    _hardware_flag("--enable-stochastic-rounding", "stochastic rounding"),
    _hardware("--tensor-parallel", "batch or weight"),
    _hardware("--enable-mixed-precision-ops", "operators in mixed precision", nargs="*"),
    _hardware_flag("--plot", "plot graphs"),
    _hardware("--stage-instrumentation", "performance counters"),
    _hardware_flag("--include-read-stall-cycles", "count read stalls"),
    _hardware_flag("--gen-tensorboard", "write TensorBoard files"),
    _hardware_flag("--disable-retry-lower-visible-resources", "do not retry with fewer resources"),
    _hardware("--target-runtime-version", "version of the runtime"),
    _hardware_flag("--resources-check", "check resources"),
    _hardware_flag("--enable-hypersection", "join sections"),
    _hardware("--tiling-accum", "precision of accumulation"),
    _hardware("--weight-grad-reduce", "precision of reduced gradients"),
    _hardware_flag("--enable-pcu-scaling", "scale PCUs"),
    _hardware_flag("--loop-conversion", "convert loops"),
    _hardware_flag("--optimize-concat-split", "optimise concatenations"),
    _hardware_flag("--all-regions-hbm", "everything in HBM"),
    _hardware("--hbm-auto-alloc", "allocation of HBM"),
)
EXECUTING = (
    _flag("--run-graph-only", "time the device's graph alone", EXECUTE),
    _value("-n --num-iterations", "iterations to measure", int, 100, EXECUTE),
    _value("--min-duration", "measure for at least this many seconds", float, 0.0, EXECUTE),
    _value("--bench-report-json", "write throughput and latency to this file", verbs=EXECUTE),
    _value("--json", "the old name of --bench-report-json", verbs=EXECUTE),
    _value("--compiled-stats-json", "write what the PEF's sections take of the machine to this file", verbs=EXECUTE),
    _value("--json-counters", "write the simulated cycles of every section to this file", verbs=EXECUTE),
    _value("--num-sections", "sections to measure; 0 for all", int, 0, EXECUTE),
    _flag("--use-sambaloader", "load data with SambaLoader", EXECUTE, recorded=True),
    _flag("--visualize", "show differences", EXECUTE, recorded=True),
    _value("--acc-report-json", "write accuracy to this file", verbs=EXECUTE),
    _value("--gold-file-path", "file of results to compare with, for TestWithGold", verbs=EXECUTE),
    _flag("--listen-for-input", "wait for input", EXECUTE, recorded=True),
    _flag("--mock-inference", "without a device", EXECUTE, recorded=True),
    _flag("--dump-accuracy-debug-info", "write intermediate tensors", EXECUTE),
    _value("--resource-report-path", "compile: write what every section takes of the machine to this file"),
    _flag("--verbose-report", "a longer report", recorded=True),
)
OPTIONS = (*MODEL, *COMPILING, *HARDWARE, *EXECUTING)
"""All options; those of a program with the same name take their place."""

DEFAULTS: dict[str, Any] = {
    option.name: False if option.keywords.get("action") == "store_true" else option.keywords.get("default")
    for option in OPTIONS
}
"""Every attribute that programs read, with its value on verbs that lack the option."""


def without_effect(arguments: Mapping[str, Any]) -> list[str]:
    """The options among a program's arguments that only hardware can honour, as on the command line."""
    given = [o for o in OPTIONS if o.recorded and arguments.get(o.name) not in (None, False, [], DEFAULTS[o.name])]
    return [f"--{option.name.replace('_', '-')}" for option in given]
