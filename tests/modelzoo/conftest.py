"""The zoo's tests need the extra `zoo`; without it they are left out, and the report says so."""

from __future__ import annotations

import importlib.util

NEEDED = ("transformers", "tokenizers", "hydra", "h5py", "peft")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> str | None:
    """Say why nothing of the zoo is tested."""
    return f"tests/modelzoo left out: {', '.join(MISSING)} not installed (extra zoo)" if MISSING else None
