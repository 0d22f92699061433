"""Two PEFs beside one another: options, symbols, sections, stages, and simulated time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pef import pef_pb2 as pb
from pef.facts import Facts, as_dict
from pef.wording import duration
from runtime.timing import Report, simulate

STEADY = 1e-9
"""Relative changes below this do not count."""


@dataclass(frozen=True, slots=True)
class Change:
    """One number or text that is not what it was: of what, which, before, after."""

    of: str
    what: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class SectionTime:
    """Simulated microseconds of a section in both; None where one does not have it."""

    name: str
    before_us: float | None
    after_us: float | None


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Everything that is different; `is_same` says that nothing is but names, hashes and places in files."""

    changes: Sequence[Change]
    times: Sequence[SectionTime]
    before_us: float
    after_us: float

    @property
    def is_same(self) -> bool:
        """Whether both do the same in the same time."""
        return not self.changes and abs(self.before_us - self.after_us) <= STEADY * self.before_us

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "simulated_us": {"before": self.before_us, "after": self.after_us},
            "sections": [asdict(time) for time in self.times],
            "changes": [asdict(change) for change in self.changes],
            "words": self.sentences(),
        }

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def __repr__(self) -> str:
        return f"<comparison: {duration(self.before_us)} before, {duration(self.after_us)} after (simulated)>"

    def sentences(self) -> list[str]:
        """The result in words: time first, then where it comes from, then what changed."""
        if self.is_same:
            return [f"Both do the same in the same time: {duration(self.before_us)} (simulated)."]
        return [self._time(), *self._slower_and_faster(), *self._kinds()]

    def _time(self) -> str:
        shown = f"{duration(self.before_us)} before, {duration(self.after_us)} after (simulated)"
        ratio = self.after_us / self.before_us
        if abs(ratio - 1) <= 5e-4:
            return f"The time stays: {shown}."
        if ratio >= 2:
            return f"It takes {ratio:.1f} times as long: {shown}."
        return f"It takes {abs(ratio - 1):.1%} {'longer' if ratio > 1 else 'less time'}: {shown}."

    def _slower_and_faster(self) -> Iterator[str]:
        """The sections that contribute most to the change in time."""
        moved = [(time, (time.after_us or 0.0) - (time.before_us or 0.0)) for time in self.times]
        moved = sorted((each for each in moved if abs(each[1]) > 5e-4 * self.before_us), key=lambda each: -abs(each[1]))
        for time, delta in moved[:3]:
            if time.before_us is None:
                yield f"Section {time.name} is new: {duration(time.after_us or 0.0)}."
            elif time.after_us is None:
                yield f"Section {time.name} is gone: it took {duration(time.before_us)}."
            elif (was := duration(time.before_us)) != (now := duration(time.after_us)):
                word = "slower" if delta > 0 else "faster"
                yield f"Section {time.name} is {duration(abs(delta))} {word}: {was}, now {now}."

    def _kinds(self) -> Iterator[str]:
        groups: dict[str, list[Change]] = {}
        for change in self.changes:
            groups.setdefault(change.of.partition(" ")[0], []).append(change)
        for group, changes in groups.items():
            kinds = Counter(change.what for change in changes)
            there = [f"{kinds.pop(what)} {what.removeprefix('is ')}" for what in ("is new", "is gone") if what in kinds]
            other = ", ".join(f"{what} ({count})" for what, count in kinds.most_common())
            yield f"{group.capitalize()}: {'; '.join([*there, *([f'different {other}'] if other else [])])}."


def compare(before: pb.Pef, after: pb.Pef) -> Comparison:
    """What is different between two PEFs. Raises IllegalPefError where one is not legal.

    Sections are matched by name, stages by position among those of one name, symbols by name. Time is simulated for
    all sections of both.
    """
    first, second = as_dict(before), as_dict(after)
    reports = simulate(before), simulate(after)
    changes = [
        *_values("options", first["options"] or {}, second["options"] or {}),
        *_values("machine", first["machine"], second["machine"]),
        *_symbols(first["symbols"], second["symbols"]),
        *_sections(first, second),
    ]
    return Comparison(changes, list(_times(*reports)), *(report.us(report.cycles) for report in reports))


def _times(before: Report, after: Report) -> Iterator[SectionTime]:
    first, second = ({s.name: report.us(s.cycles) for s in report.sections} for report in (before, after))
    for name in dict.fromkeys([*first, *second]):
        yield SectionTime(name, first.get(name), second.get(name))


def _values(of: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield Change(of, key, before.get(key), after.get(key))


def _symbols(before: Sequence[Facts], after: Sequence[Facts]) -> Iterator[Change]:
    first, second = ({symbol["name"]: symbol for symbol in symbols} for symbols in (before, after))
    for name in dict.fromkeys([*first, *second]):
        if name not in second:
            yield Change(f"symbols {name}", "is gone", first[name]["type"], None)
        elif name not in first:
            yield Change(f"symbols {name}", "is new", None, second[name]["type"])
        else:
            for key in ("type", "kind", "tier"):
                if first[name][key] != second[name][key]:
                    yield Change(f"symbols {name}", key, first[name][key], second[name][key])


_SECTION = ("kind", "rule", "phases", "stages", "operators", "pcus", "pmus", "loops")
_STAGE = ("pcus", "parallel", "loops", "firings", "compute_cycles_per_firing", "sites")
_BUFFER = ("type", "axes", "depth", "bytes", "pmus", "sites")


def _sections(before: Facts, after: Facts) -> Iterator[Change]:
    first, second = ({section["name"]: section for section in facts["sections"]} for facts in (before, after))
    shown: set[tuple[int, int]] = set()
    for name in dict.fromkeys([*first, *second]):
        if name not in second:
            yield Change(f"sections {name}", "is gone", _operators(before, first[name]), None)
        elif name not in first:
            yield Change(f"sections {name}", "is new", None, _operators(after, second[name]))
        else:
            yield from _keys(f"sections {name}", first[name], second[name], _SECTION)
            pair = first[name]["configuration"], second[name]["configuration"]
            if pair not in shown:  # sections that share a configuration change together
                shown.add(pair)
                own = before["configurations"][pair[0]], after["configurations"][pair[1]]
                yield from _inside(name, *own)


def _operators(facts: Facts, section: Facts) -> str:
    phases = facts["configurations"][section["configuration"]]["phases"]
    return ", ".join(stage["name"] for phase in phases for stage in phase["stages"])


def _inside(section: str, before: Facts, after: Facts) -> Iterator[Change]:
    def stages(facts: Facts) -> dict[str, Facts]:
        return _numbered(stage for phase in facts["phases"] for stage in phase["stages"])

    yield from _parts("stages", section, stages(before), stages(after), _STAGE)
    yield from _parts("buffers", section, _numbered(before["buffers"]), _numbered(after["buffers"]), _BUFFER)


def _numbered(parts: Any) -> dict[str, Facts]:
    """Parts by name; those of one name numbered."""
    found: dict[str, Facts] = {}
    for part in parts:
        name, number = part["name"], 2
        while name in found:
            name, number = f"{part['name']} #{number}", number + 1
        found[name] = part
    return found


def _parts(
    group: str, section: str, before: Mapping[str, Facts], after: Mapping[str, Facts], keys: Sequence[str]
) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield Change(f"{group} {section}/{name}", "is gone", name, None)
        elif name not in before:
            yield Change(f"{group} {section}/{name}", "is new", None, name)
        else:
            yield from _keys(f"{group} {section}/{name}", before[name], after[name], keys)


def _keys(of: str, before: Facts, after: Facts, keys: Sequence[str]) -> Iterator[Change]:
    for key in keys:
        if before[key] != after[key]:
            yield Change(of, key, before[key], after[key])
