"""Where the compiler's time goes: wall time of every phase of compiling the examples.

python -m benchmarks.compile_time [--only lenet]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from compiler.driver import CompileRequest, compile_model

EXAMPLES = {name: f"examples/{name}.py" for name in ("res_ffn", "lenet", "transformer")}


class PhaseTimes:
    """A progress callback that adds up the seconds between calls by what was being done, without section names."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._doing, self._since = "", time.perf_counter()

    def __call__(self, what: str, done: float) -> None:
        now = time.perf_counter()
        if self._doing:
            self.seconds[self._doing] = self.seconds.get(self._doing, 0.0) + now - self._since
        self._doing, self._since = _phase(what), now


def _phase(what: str) -> str:
    """What the compiler is doing, without the section it is doing it to."""
    return what.partition(" section ")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(EXAMPLES), action="append", help="this example; may be given again")
    arguments = parser.parse_args()
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only or EXAMPLES:
            times = PhaseTimes()
            compile_model(CompileRequest(EXAMPLES[name], output_folder=Path(folder)), times)
            columns[name] = times.seconds
    table = Table("phase, in seconds", *columns)
    for phase in dict.fromkeys(phase for seconds in columns.values() for phase in seconds):
        table.add_row(phase, *(f"{seconds.get(phase, 0.0):.2f}" for seconds in columns.values()))
    table.add_row("all", *(f"{sum(seconds.values()):.2f}" for seconds in columns.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
