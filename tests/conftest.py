"""What holds for all tests.

Properties are tested on the same examples in every run; `HYPOTHESIS_PROFILE=search` looks for new ones. What tests
record for people to read is shown when the run ends.
"""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

os.environ["SNC_NODE"] = "off"  # a daemon of whoever runs the tests has nothing to do with them
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("search", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_finish() -> None:
    """All that was imported stays to the end: the garbage collector need not look through it again and again."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                terminalreporter.write_line(f"{report.nodeid}: {name}: {value}")
