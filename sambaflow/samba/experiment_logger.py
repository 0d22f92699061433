"""Meters that programs of 2020 to 2022 log with."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class AccMeter:
    """A running mean. `format` is how it is printed: a format such as `:.2f`, `.2f` or `%.2f`."""

    def __init__(self, name: str = "", format: str = ":g") -> None:
        self.name = name
        self.format = format
        self.total = 0.0
        self.count = 0

    def update(self, value: float, n: int = 1) -> None:
        """Count `value` n times."""
        self.total += float(value) * n
        self.count += n

    @property
    def avg(self) -> float:
        """The mean so far."""
        return self.total / self.count if self.count else 0.0

    @property
    def shown(self) -> float:
        """The number that is printed."""
        return self.avg

    def __str__(self) -> str:
        number = self.format % self.shown if "%" in self.format else format(self.shown, self.format.lstrip(":"))
        return f"{self.name} {number}".lstrip()


class CountMeter(AccMeter):
    """A running sum: `total`."""

    @property
    def shown(self) -> float:
        """The number that is printed."""
        return self.total


class DisplayMeter(AccMeter):
    """The latest value: `value`."""

    value = 0.0

    def update(self, value: float, n: int = 1) -> None:
        """Show `value`."""
        super().update(value, n)
        self.value = float(value)

    @property
    def shown(self) -> float:
        """The number that is printed."""
        return self.value


class Logger:
    """Writes lines to a file, or to standard output without one."""

    def __init__(self, path: str | None = None) -> None:
        self.path = Path(path) if path else None

    def log(self, *parts: Any) -> None:
        """Write one line."""
        line = " ".join(map(str, parts))
        if self.path is None:
            print(line)
            return
        with self.path.open("a") as file:
            file.write(line + "\n")
