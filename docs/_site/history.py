"""Results by commit: what the Model Zoo's cards held at every commit that changed them, read from git."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CARDS = "modelzoo/cards"
Row = tuple[str, str, str, str, str]
"""Size, use, batch, length, machine."""


def page() -> str:
    """A table per model: simulated time of a step at each commit that changed it."""
    lines = [
        "# Results by commit",
        "",
        "Simulated time of a step for every combination on a [card of the Model Zoo](../zoo.md), at each commit that",
        "changed it; read from the repository's history when this site was built. `snc zoo card` makes a card.",
        "",
    ]
    for card in sorted((ROOT / CARDS).glob("*.json")):
        lines += _card(card.stem)
    return "\n".join(lines) + "\n"


def _card(name: str) -> Iterator[str]:
    history: dict[Row, list[str]] = defaultdict(list)
    last: dict[Row, float] = {}
    for commit, date, text in _versions(f"{CARDS}/{name}.json"):
        for row, time in _rows(text):
            if last.get(row) != time:
                history[row].append(f"{time:,.1f} ({date}, `{commit}`)")
                last[row] = time
    yield f"## {name}"
    yield ""
    if not history:
        yield "No history: this site was not built from a clone of the repository."
        yield ""
        return
    yield "| Size | For | Batch | Length | Machine | µs per step, simulated, oldest first |"
    yield "|---|---|---|---|---|---|"
    for row, times in sorted(history.items()):
        yield f"| {' | '.join(row)} | {'; '.join(times)} |"
    yield ""


def _versions(path: str) -> Iterator[tuple[str, str, str]]:
    """Commit, date and content, oldest first; nothing without a history."""
    log = _git("log", "--reverse", "--format=%h %cs", "--", path)
    for line in log.splitlines():
        commit, date = line.split()
        text = _git("show", f"{commit}:{path}")
        if text:
            yield commit, date, text


def _rows(text: str) -> Iterator[tuple[Row, float]]:
    for entry in json.loads(text).get("measured", []):
        if entry.get("simulated_us") is not None:
            keys = ("size", "mode", "batch", "length", "machine")
            yield tuple(str(entry[key] if entry[key] is not None else "") for key in keys), entry["simulated_us"]  # type: ignore[misc]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout if done.returncode == 0 else ""
