"""Reports of accuracy as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class AccuracyReport:
    """Accuracy of a run. `val_accuracy` is the older form of `val_metrics`."""

    val_metrics: dict[str, Any] = field(default_factory=dict)
    train_metrics: dict[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    num_iterations: int | None = None
    val_accuracy: Any = None

    def save(self, path: str) -> None:
        """Write the report."""
        filled = {key: value for key, value in asdict(self).items() if value is not None}
        Path(path).write_text(json.dumps(filled, indent=2, default=float) + "\n")
