"""`pytest tests/passes --update` writes what the passes make now as what is expected."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag."""
    parser.addoption("--update", action="store_true", help="rewrite the expected texts")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether to rewrite the expected texts."""
    return bool(request.config.getoption("--update"))
