"""What a model can be compiled for, and which of that the zoo has compiled itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelzoo.entry import Entry

CARDS = Path(__file__).parent / "cards"
MACHINE = "sn30"
"""Where nothing else is asked for."""

log = logging.getLogger("snc")


@dataclass(frozen=True, order=True)
class Combination:
    """A configuration of a model with a batch, a sequence length (None where there is none) and a machine."""

    size: str
    mode: str
    batch: int
    length: int | None
    machine: str

    def __str__(self) -> str:
        length = f", length {self.length}" if self.length else ""
        return f"{self.size} {self.mode}, batch {self.batch}{length}, on {self.machine}"


def usual(entry: Entry) -> Iterator[Combination]:
    """What a card is measured for: every size for training and inference; the tiny one on a second machine too."""
    for name, size in entry.sizes.items():
        machines = (MACHINE, "sn40l") if name == "tiny" else (MACHINE,)
        for machine in machines:
            for mode in ("training", "inference") if machine == MACHINE else ("inference",):
                yield Combination(name, mode, size.batch, size.length, machine)


def records(name: str) -> list[dict[str, Any]]:
    """What was measured of a model, as its card says; nothing before the first measurement."""
    path = CARDS / f"{name}.json"
    return list(json.loads(path.read_text())["measured"]) if path.exists() else []


def listed(name: str) -> list[Combination]:
    """The combinations that compiled when the card was made."""
    fields = Combination.__dataclass_fields__
    return [Combination(**{key: record[key] for key in fields}) for record in records(name) if "refused" not in record]


def warn_unless_listed(entry: Entry, asked: Combination) -> bool:
    """Whether a combination is on the list; if not, warn, name the list, and leave the decision to the compiler."""
    known = listed(entry.name)
    if asked in known:
        return True
    shown = "\n".join(f"    {combination}" for combination in sorted(known, key=_key)) or "    (none yet)"
    log.warning("%s: %s has not been tested; trying anyway. Tested are\n%s", entry.name, asked, shown)
    return False


def _key(combination: Combination) -> tuple[Any, ...]:
    return tuple("" if value is None else str(value) for value in asdict(combination).values())
