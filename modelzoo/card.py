"""Model cards: measured, kept as JSON, and written out as pages. Nothing on a card is typed in by hand."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compiler.driver import CompileRequest, CompileResult
from compiler.frontend.model_file import ModelSpec
from modelzoo.combination import CARDS, MACHINE, Combination, usual
from modelzoo.entry import Entry
from modelzoo.measurement import LIMIT_SECONDS, compile_measured, measure
from modelzoo.trial import OTHER_SEEDS, Trial, quality_from_seed, try_tiny
from pef.files import write_bytes

COLUMNS = ("configuration", "for", "batch", "length", "machine", "parameters", "sections", "PEF", "step", "roofline")


def make(
    entry: Entry,
    size: str | None = None,
    progress: Callable[[str], None] = lambda what: None,
    limit_seconds: int = LIMIT_SECONDS,
) -> None:
    """Measure everything on a card anew, or what is of one size, and write it. Compiles of published sizes end after
    `limit_seconds` of processor time each."""
    kept = stored(entry)
    measured = [record for record in kept["measured"] if size is not None and record["size"] != size]
    content = {**kept, "measured": measured}
    if size in (None, "tiny"):
        progress(f"{entry.name}: training the tiny configuration")
        content["trial"], compiled = _tried(entry)
        measured += compiled
        content["seeds"] = other_seeds(entry, progress)
    done = {(record["size"], record["mode"], record["machine"]) for record in measured}
    for combination in usual(entry):
        missing = (combination.size, combination.mode, combination.machine) not in done
        if missing and size in (None, combination.size):
            progress(f"{entry.name}: {combination}")
            measured.append(measure(entry.name, combination, limit_seconds))
    write(entry, content)


def _tried(entry: Entry) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The trial of the tiny configuration, and records of what was compiled for it."""
    compiled: list[dict[str, Any]] = []
    asked = {wanted.mode: wanted for wanted in usual(entry) if wanted.size == "tiny" and wanted.machine == MACHINE}

    def compile(spec: ModelSpec, request: CompileRequest) -> CompileResult:
        result, figures = compile_measured(spec, request)
        mode = "inference" if request.inference else "training"
        compiled.append({**asdict(asked[mode]), **figures})
        return result

    with tempfile.TemporaryDirectory() as folder:
        return try_tiny(entry, Path(folder), compile=compile).as_dict(), compiled


def make_seeds(entry: Entry, progress: Callable[[str], None] = lambda what: None) -> None:
    """Train from other seeds anew, keep the rest of a card, and write it."""
    write(entry, {**stored(entry), "seeds": other_seeds(entry, progress)})


def other_seeds(entry: Entry, progress: Callable[[str], None]) -> dict[str, float]:
    """The quality that PyTorch reaches from each of the other seeds."""
    progress(f"{entry.name}: training from other seeds in PyTorch")
    return {str(seed): quality_from_seed(entry, seed) for seed in OTHER_SEEDS}


def write(entry: Entry, content: dict[str, Any]) -> None:
    """Keep what was measured, and write the page."""
    content["measured"].sort(key=lambda record: _order(entry, record))
    path = CARDS / f"{entry.name}.json"
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())
    write_bytes(path.with_suffix(".md"), page(entry, content).encode())


def stored(entry: Entry) -> dict[str, Any]:
    """What was measured when the card was last made."""
    path = CARDS / f"{entry.name}.json"
    nothing: dict[str, Any] = {"measured": [], "trial": None, "seeds": {}}
    return {**nothing, **json.loads(path.read_text())} if path.exists() else nothing


def read(entry: Entry) -> str:
    """The card as it was last made; without figures where it never was."""
    return page(entry, stored(entry))


def page(entry: Entry, content: dict[str, Any]) -> str:
    """A card in Markdown."""
    trained = _trial(entry, content["trial"]), _seeds(entry, content["seeds"])
    return "\n".join([*_about(entry), *trained[0], *trained[1], *_measured(content["measured"]), ""])


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
        f"{trial['last_loss']:.4g}, in {trial['host_seconds']:.0f} s of processor time with both compiles."
    )
    yield (
        f"On samples it has not seen: {quality.told(trial['quality'])} (goal {quality.shown(quality.goal)}, "
        f"{outcome}); in PyTorch with the same weights, {quality.shown(trial['quality_in_pytorch'])}."
    )
    yield (
        "Trained by PyTorch from the same seed on the same batches, the loss differs by at most "
        f"{trial['largest_difference']:.1e} at any step."
    )
    verdict = Trial(**trial).verdict
    if verdict is not None:
        yield f"PyTorch in float64 as the judge of that, {verdict}."
    yield ""


def _seeds(entry: Entry, found: dict[str, float]) -> Iterator[str]:
    """What the recipe is worth beside the seed it was tuned on."""
    if not found:
        return
    quality = entry.recipe.quality
    worst = min(found.values()) if quality.higher_is_better else max(found.values())
    yield (
        f"From {len(found)} other seeds of data, weights and order, trained in PyTorch: "
        f"mean {quality.shown(sum(found.values()) / len(found))}, worst {quality.shown(worst)} "
        f"(goal {'reached' if quality.reached(worst) else 'missed'} by the worst)."
    )
    yield ""


def _measured(records: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Tested combinations"
    yield ""
    yield "Step: simulated time on the RDU. Roofline: the least time the machine allows, as a share of the step."
    yield "Compile: processor time (CPU), or time by the clock, and peak memory of the computer that made this card."
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
    host = _host(record)
    if "refused" in record:
        return ["not compiled", "", "", "", host]
    share = record["roofline_us"] / record["simulated_us"]
    sections = f"{record['sections']} ({record['configurations']} different)"
    return [sections, _bytes(record["pef_bytes"]), _time(record["simulated_us"]), f"{share:.0%}", host]


def _host(record: dict[str, Any]) -> str:
    if "host_peak_mib" not in record:
        return ""
    seconds = (
        f"{record['processor_seconds']:.0f} s CPU"
        if "processor_seconds" in record
        else f"{record['host_seconds']:.0f} s"
    )
    return f"{seconds}, {record['host_peak_mib'] / 1024:.1f} GiB"


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
