"""A note that comes while a progress bar is shown has lines of its own."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest

from compiler.cli import progress_display
from ir.ending import show_messages


class Terminal(io.StringIO):
    """What a terminal gets."""

    def isatty(self) -> bool:
        return True


def test_a_note_does_not_hang_on_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    show_messages()
    with progress_display(quiet=False) as progress:
        progress("capturing the graph", 0.3)
        logging.getLogger("snc").warning("note: model.py: no optimizer")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", terminal.getvalue())
    assert "note: model.py: no optimizer" in re.split(r"[\r\n]+", plain)


def test_without_a_bar_notes_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    show_messages()
    logging.getLogger("snc").warning("note: it")
    logging.getLogger("snc").info("all that is being done")
    assert capsys.readouterr() == ("", "note: it\n")
