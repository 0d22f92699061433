"""The stills of docs/report.md: a slow ResNet, its report, the action that the report names, and what it brought.

    python -m benchmarks.report_stills

compiles, reports, follows the report's next action twice, takes the pictures in docs/pictures with Chromium, and writes
the table of docs/report.md. Nothing in it is typed by hand. Needs `chromium`, `chromedriver` and selenium.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
PAGE = ROOT / "docs" / "report.md"
MODEL = "examples/resnet.py"
FIRST = ("-b", "4", "--inference")
ACTIONS = 2
SIZE = (1360, 850)
BEGIN, END = "<!-- numbers: python -m benchmarks.report_stills -->", "<!-- end of numbers -->"

Facts = dict[str, Any]


def snc(*arguments: str) -> str:
    """A command of ours, run as a user would; its standard output."""
    command = [sys.executable, "-c", "from compiler.cli import main; main()", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def compiled(folder: Path, name: str, options: Sequence[str]) -> Path:
    """The PEF of the model with some options."""
    snc("compile", MODEL, *options, "--pef-name", name, "-o", str(folder))
    return folder / name / f"{name}.pef"


def reported(pef: Path, before: Path | None) -> Facts:
    """The facts of a PEF whose page is written beside it."""
    against = ["--against", str(before)] if before is not None else []
    page = str(pef.with_suffix(".html"))
    facts: Facts = json.loads(snc("report", str(pef), "--model", MODEL, *against, "--json", "-o", page))
    return facts


def followed(options: Sequence[str], action: str) -> tuple[str, ...]:
    """The options of a compile with an action's in place of its own."""
    words = action.split()
    kept = list(options)
    for name, value in zip(words[::2], words[1::2]):
        if name in kept:
            kept[kept.index(name) + 1] = value
        else:
            kept += [name, value]
    return tuple(kept)


def stills(page: Path, number: int, facts: Facts) -> None:
    """The first screen of a report; of the first one also what a click on its largest contributor shows."""
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={SIZE[0]},{SIZE[1]}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(page.as_uri())
        WebDriverWait(driver, 60).until(lambda d: d.execute_script("return document.documentElement.dataset.ready"))
        driver.save_screenshot(str(PICTURES / f"report-{number}.png"))
        if number == 1:
            driver.execute_script("document.querySelector('.card li button').click()")
            driver.execute_script("document.querySelector('#floorplan').scrollIntoView()")
            driver.save_screenshot(str(PICTURES / f"report-{number}-selected.png"))
    finally:
        driver.quit()


def table(rows: Sequence[tuple[tuple[str, ...], Facts, Facts | None]]) -> str:
    """The steps of the way with their numbers; `action` is what led to a row."""
    lines = [
        f"| `snc compile {MODEL}` | a step | per sample | of the roofline | estimated gain | simulated gain |",
        "|---|---|---|---|---|---|",
    ]
    before: float | None = None
    for options, facts, action in rows:
        us = facts["verdict"]["cycles"] / (facts["machine"]["clock_ghz"] * 1e3)
        sample = us / facts["options"]["batch_size"]
        gains = (
            f"{action['speedup']:.2f} times | {before / sample:.2f} times" if action and before is not None else " | "
        )
        share = f"{facts['verdict']['roofline_share']:.0%}"
        lines.append(f"| `{' '.join(options)}` | {us:,.1f} us | {sample:,.2f} us | {share} | {gains} |")
        before = sample
    return "\n".join(lines)


def main() -> None:
    """Walk the way, and write down what was seen."""
    PICTURES.mkdir(exist_ok=True)
    rows: list[tuple[tuple[str, ...], Facts, Facts | None]] = []
    options: tuple[str, ...] = FIRST
    action: Facts | None = None
    before: Path | None = None
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, ACTIONS + 2):
            pef = compiled(Path(folder), f"resnet_{number}", options)
            facts = reported(pef, before)
            stills(pef.with_suffix(".html"), number, facts)
            rows.append((options, facts, action))
            print(facts["verdict"]["sentence"])
            levers = facts["levers"]
            if levers["action"] is None:
                break
            action, before = levers["tried"][levers["action"]], pef
            options = followed(options, action["option"])
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table(rows)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
