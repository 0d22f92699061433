"""Model cards: measured, kept as JSON, and written out as pages. Nothing on a card is typed in by hand."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modelzoo.combination import CARDS, Combination, usual
from modelzoo.entry import Entry
from modelzoo.measurement import measure
from modelzoo.trial import try_tiny
from pef.files import write_bytes

COLUMNS = ("configuration", "for", "batch", "length", "machine", "parameters", "sections", "PEF", "step", "roofline")


def make(entry: Entry, size: str | None = None, progress: Callable[[str], None] = lambda what: None) -> None:
    """Measure everything on a card anew, or what is of one size, and write it."""
    path = CARDS / f"{entry.name}.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    measured = [record for record in kept.get("measured", []) if size is not None and record["size"] != size]
    for combination in usual(entry):
        if size in (None, combination.size):
            progress(f"{entry.name}: {combination}")
            measured.append(measure(entry.name, combination))
    trial = kept.get("trial")
    if size in (None, "tiny"):
        progress(f"{entry.name}: training the tiny configuration")
        with tempfile.TemporaryDirectory() as folder:
            trial = try_tiny(entry, Path(folder)).as_dict()
    content = {"measured": sorted(measured, key=lambda record: _order(entry, record)), "trial": trial}
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())
    write_bytes(path.with_suffix(".md"), page(entry, content).encode())


def read(entry: Entry) -> str:
    """The card as it was last made; without figures where it never was."""
    path = CARDS / f"{entry.name}.json"
    return page(entry, json.loads(path.read_text()) if path.exists() else {"measured": [], "trial": None})


def page(entry: Entry, content: dict[str, Any]) -> str:
    """A card in Markdown."""
    return "\n".join([*_about(entry), *_trial(entry, content["trial"]), *_measured(content["measured"]), ""])


def _about(entry: Entry) -> Iterator[str]:
    yield f"# {entry.title}"
    yield ""
    yield f"{entry.about} {entry.source}."
    yield ""
    for name, size in entry.sizes.items():
        yield f"- **{name}**: {size.published}"
    for note in entry.notes:
        yield f"- {note}"
    yield ""


def _trial(entry: Entry, trial: dict[str, Any] | None) -> Iterator[str]:
    quality = entry.recipe.quality
    yield "## Trained"
    yield ""
    if trial is None:
        yield f"Not yet; the goal is: {quality.told(quality.goal)}."
        yield ""
        return
    outcome = "reached" if trial["reached"] else "missed"
    yield (
        f"`snc zoo run {entry.name}` takes {trial['steps']} steps, from a loss of {trial['first_loss']:.4g} to "
        f"{trial['last_loss']:.4g}, in {trial['host_seconds']:.0f} s of host time with both compiles."
    )
    yield (
        f"On samples it has not seen: {quality.told(trial['quality'])} (goal {quality.shown(quality.goal)}, "
        f"{outcome}); in PyTorch with the same weights, {quality.shown(trial['quality_in_pytorch'])}."
    )
    yield (
        "Trained by PyTorch from the same seed on the same batches, the loss differs by at most "
        f"{trial['largest_difference']:.1e} at any step."
    )
    yield ""


def _measured(records: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Tested combinations"
    yield ""
    yield "Step: simulated time on the RDU. Roofline: the least time the machine allows, as a share of the step."
    yield "Compile: time and peak memory of the host, on the computer that made this card."
    yield ""
    yield f"| {' | '.join(COLUMNS)} | compile |"
    yield f"|{'---|' * (len(COLUMNS) + 1)}"
    for record in records:
        start = [record[key] for key in ("size", "mode", "batch")]
        words = [*start, record["length"] or "", record["machine"], _count(record.get("parameters"))]
        yield f"| {' | '.join(map(str, [*words, *_figures(record)]))} |"
    yield ""
    for record in records:
        if "refused" in record:
            named = Combination(**{key: record[key] for key in Combination.__dataclass_fields__})
            yield f"- {named} did not compile: {record['refused']}"


def _figures(record: dict[str, Any]) -> list[str]:
    host = (
        f"{record['host_seconds']:.0f} s, {record['host_peak_mib'] / 1024:.1f} GiB" if "host_seconds" in record else ""
    )
    if "refused" in record:
        return ["not compiled", "", "", "", host]
    share = record["roofline_us"] / record["simulated_us"]
    sections = f"{record['sections']} ({record['configurations']} different)"
    return [sections, _bytes(record["pef_bytes"]), _time(record["simulated_us"]), f"{share:.0%}", host]


def _order(entry: Entry, record: dict[str, Any]) -> tuple[Any, ...]:
    return (list(entry.sizes).index(record["size"]), record["mode"] != "training", record["machine"] != "sn30")


def _count(number: int | None) -> str:
    if number is None:
        return ""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _bytes(number: int) -> str:
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.0f} KiB"


def _time(us: float) -> str:
    return f"{us / 1e6:.3g} s" if us >= 1e6 else f"{us / 1e3:.3g} ms" if us >= 1e3 else f"{us:.3g} us"
