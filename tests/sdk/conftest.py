"""A fresh session and an empty folder for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sambaflow import samba
from sambaflow.logging import samba_logger


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[samba.SambaSession]:
    """The program's session, with nothing loaded; the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    samba.session.reset()
    samba.session.arguments = {}
    level = samba_logger.logger.level
    yield samba.session
    samba_logger.setLevel(level)
    samba.session.reset()
    samba.session.arguments = {}
