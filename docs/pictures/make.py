"""Draws every picture of the documentation from PEFs that are compiled for it: `python docs/pictures/make.py [FOLDER]`.

The model is examples/res_ffn.py, the example of all pages, for inference and for training with batches of 64. Nothing
in a picture is made up: sections, phases, loops, slices, rings, units and sites are those of the PEF, cycles are those
of `snrun --profile`. Pictures change when the mapping does: run this again and look at them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import draw_chip  # noqa: E402
import draw_course  # noqa: E402
import draw_section  # noqa: E402
import draw_streaming  # noqa: E402
import draw_time  # noqa: E402
from facts import Facts  # noqa: E402
from svg import Canvas  # noqa: E402

from compiler.driver import CompileRequest, compile_model  # noqa: E402

MODEL = ROOT / "examples" / "res_ffn.py"
BATCH = 64


def compiled(folder: Path, inference: bool) -> Facts:
    """The example's PEF and what is known of it."""
    name = "digits" if inference else "digits_training"
    return Facts.of(compile_model(CompileRequest(str(MODEL), inference, BATCH, folder, name)).pef_path)


def pictures(inference: Facts, training: Facts) -> dict[str, Canvas]:
    """Every picture by name."""
    return {
        "lowering": draw_section.lowering(inference, MODEL.read_text().splitlines()),
        "sections": draw_time.sections(training),
        "phase": draw_section.phase(inference),
        "nest": draw_streaming.nest(inference),
        "ring": draw_streaming.ring(inference),
        "pipeline": draw_time.pipeline(inference),
        "stage": draw_chip.stage(inference),
        "floorplan": draw_chip.floorplan(inference),
    }


def main(folder: Path) -> None:
    """Compile, simulate and draw."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as out:
        inference, training = compiled(Path(out), True), compiled(Path(out), False)
        drawn = {**pictures(inference, training), **draw_course.pictures()}
    for name, canvas in drawn.items():
        canvas.write(folder / f"{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
