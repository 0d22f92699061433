"""Exercise 6: an ablation. One option at a time: what does each bring for the example of all pages?"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

from fabric import Todo, expect, grade

from compiler.driver import CompileRequest, compile_model
from runtime.timing import simulate

MODEL = Path(__file__).resolve().parents[3] / "examples" / "res_ffn.py"
BASE: dict[str, Any] = {"batch_size": 64, "level": "o3", "preset": "mp0", "arch": "sn30"}


def variants() -> dict[str, dict[str, Any]]:
    """The options of each row of the table: the base, and one change of one option in every other."""
    # TODO 1: level, preset, arch and batch_size: each changed by at least one row, one at a time.
    raise Todo(1)


def ns_per_sample(options: Mapping[str, Any], folder: Path) -> tuple[float, str]:
    """Simulated nanoseconds per sample of an inference PEF, and what its longest section is bound by, as `load`."""
    # TODO 2: `compile_model(CompileRequest(...)).pef`, `simulate(pef)`; report.ns(report.cycles) is a whole batch.
    # Each of `report.sections` has `cycles` and `bound`; the word is `bound.name.lower()`.
    raise Todo(2)


def self_check() -> None:
    """A base and at least four rows that each change one option; the table says which change brings most."""
    rows = variants()
    expect(rows.get("base") == BASE, "the row `base` is the base")
    expect(len(rows) >= 5, "at least four changes are to be tried")
    for name, options in rows.items():
        changed = [key for key in BASE if options.get(key) != BASE[key]]
        expect(name == "base" or len(changed) == 1, f"{name} changes {len(changed)} options: one at a time")
    touched = {key for options in rows.values() for key in BASE if options[key] != BASE[key]}
    expect(touched == set(BASE), f"nothing varies {', '.join(sorted(set(BASE) - touched))}")
    with tempfile.TemporaryDirectory() as folder:
        measured = {name: ns_per_sample(options, Path(folder)) for name, options in rows.items()}
    base = measured["base"][0]
    print("| row | ns per sample (simulated) | of base | bound by |\n|---|---|---|---|")
    for name, (time, bound) in measured.items():
        expect(time > 0, f"{name} takes no time")
        print(f"| {name} | {time:,.1f} | {time / base:.2f} | {bound} |")
    best = min(measured, key=lambda name: measured[name][0])
    bound = measured["base"][1]
    expect(bound == "load", f"the base is bound by load, not {bound}: small sections cost more to start than to run")
    expect("batch_size" in [key for key in BASE if rows[best][key] != BASE[key]], f"{best} wins? Try a larger batch")


if __name__ == "__main__":
    grade(self_check)
