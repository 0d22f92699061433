"""What holds for all tests.

Properties are tested on the same examples in every run; `HYPOTHESIS_PROFILE=search` looks for new ones. What tests
record for people to read is shown when the run ends.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, a core each: threads would only wait
os.environ["SNC_NODE"] = "off"  # a daemon of whoever runs the tests has nothing to do with them
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("search", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_finish() -> None:
    """All that was imported stays to the end: the garbage collector need not look through it again and again."""
    gc.freeze()


def _modules_of_tests() -> dict[str, ModuleType]:
    """Those that have been collected, by the names they are imported under."""
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if "test_" in name}
    own = [name for name, file in files.items() if file and Path(file).is_relative_to(TESTS)]
    return {name: sys.modules[name] for name in own if name.rpartition(".")[2].startswith("test_")}


@pytest.fixture(autouse=True, scope="module")
def _without_other_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only what a module of tests takes from others is imported beside it, as where it is run alone: a trace looks
    through every Python module of the user's for what a model's code may keep there."""
    needed = {getattr(value, "__module__", None) for value in vars(request.module).values()}
    others = {name: m for name, m in _modules_of_tests().items() if m is not request.module and name not in needed}
    for name in others:
        del sys.modules[name]
    yield
    sys.modules.update(others)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{report.nodeid}: {name}: {value}")
