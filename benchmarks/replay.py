"""Process replay: which PEFs and reports does a change change?

    python -m benchmarks.replay main                    this checkout beside another commit
    python -m benchmarks.replay --record before         keep what this checkout makes, in a folder
    python -m benchmarks.replay --against before        this checkout beside what was kept

Compiles a set of examples and Model Zoo entries, and compares what is in the PEFs, what the simulation says of their
time, and what `snc describe` says. Exit status 0 where nothing changed: that is how a change is proved neutral. A
change in a PEF is told in the words of `snc diff`. Nothing depends on the computer: two runs of one commit agree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIGESTS = "digests.json"

Digests = dict[str, dict[str, str]]
"""By case: the SHA-256 of its PEF and of each report, or the error it ends in."""


@dataclass(frozen=True)
class Case:
    """A model and how it is compiled: an example's file, or `zoo:NAME`."""

    name: str
    model: str
    inference: bool = False
    level: str = "o3"
    preset: str = "mp0"
    batch: int | None = None


CASES = (
    Case("res_ffn", "examples/res_ffn.py"),
    Case("res_ffn-o0", "examples/res_ffn.py", level="o0"),
    Case("lenet", "examples/lenet.py", inference=True),
    Case("lenet-train", "examples/lenet.py", batch=16),
    Case("lenet-mp4", "examples/lenet.py", inference=True, preset="mp4"),
    Case("transformer", "examples/transformer.py", inference=True, batch=8),
    Case("transformer-o1", "examples/transformer.py", inference=True, level="o1", batch=8),
    Case("zoo-gpt", "zoo:gpt", inference=True, batch=2),
    Case("zoo-unet2d", "zoo:unet2d", inference=True, batch=2),
)
"""What is compiled: every level and preset, convolutions and attention, training and inference."""


def record(folder: Path, names: Sequence[str]) -> Digests:
    """Compile the cases with the code on Python's path, keep the PEFs in `folder`, and write their digests.

    Raises ImportError where that code lacks what is used here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {case.name: _digests(case, folder) for case in CASES if not names or case.name in names}
    (folder / DIGESTS).write_text(json.dumps(found, indent=1) + "\n")
    return found


def _digests(case: Case, folder: Path) -> dict[str, str]:
    from ir.errors import SncError
    from pef.facts import as_dict as described
    from runtime.profile.tables import as_dict as profiled
    from runtime.timing import simulate

    try:
        path = _compiled(case, folder)
    except SncError as error:
        return {"error": str(error)}
    from pef import file

    pef = file.read(path)
    facts = json.dumps(described(pef), sort_keys=True)
    profile = json.dumps(profiled(simulate(pef)), sort_keys=True)
    contents = {"pef": path.read_bytes(), "description": facts.encode(), "profile": profile.encode()}
    return {what: hashlib.sha256(content).hexdigest() for what, content in contents.items()}


def _compiled(case: Case, folder: Path) -> Path:
    from compiler.driver import CompileRequest, compile_model, compile_spec

    model = case.model.removeprefix("zoo:")
    request = CompileRequest(
        model if case.model.startswith("zoo:") else str(ROOT / model),
        case.inference,
        case.batch,
        folder,
        case.name,
        level=case.level,
        preset=case.preset,
    )
    if not case.model.startswith("zoo:"):
        return compile_model(request).pef_path
    from modelzoo.catalogue import find

    spec = find(model).spec("tiny", training=not case.inference, batch=case.batch)
    return compile_spec(spec, request).pef_path


def record_commit(commit: str, folder: Path, names: Sequence[str]) -> Digests:
    """The same with the code of another commit, in a work tree and a process of its own.

    This file is run as it stands here, so that commits which do not have it can be asked too.
    """
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            words = [sys.executable, __file__, "--record", str(folder.resolve()), *names]
            environment = {**os.environ, "PYTHONPATH": str(tree)}
            if subprocess.run(words, cwd=tree, env=environment).returncode:
                sys.exit(f"{commit} cannot be replayed: take a later commit")
        finally:
            _git("worktree", "remove", "--force", str(tree))
    found: Digests = json.loads((folder / DIGESTS).read_text())
    return found


def _git(*words: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *words], check=True)


def differences(before: Digests, after: Digests) -> dict[str, list[str]]:
    """For every case that is not as it was, what changed of it."""
    changed = {}
    for name in dict.fromkeys([*before, *after]):
        first, second = before.get(name, {}), after.get(name, {})
        what = [key for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key)]
        if what:
            changed[name] = what
    return changed


def told(changed: Mapping[str, Sequence[str]], before: Path, after: Path) -> Iterator[str]:
    """The changes in words; those of PEFs as `snc diff` has them, where both were kept."""
    from pef import file
    from workbench.diff.compare import compare

    for name, what in changed.items():
        yield f"{name}: changed: {', '.join(what)}"
        paths = [folder / name / f"{name}.pef" for folder in (before, after)]
        if "pef" in what and all(path.exists() for path in paths):
            yield from (f"    {sentence}" for sentence in compare(*map(file.read, paths)).sentences())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", help="a commit to compare with, such as main")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="what --record kept")
    parser.add_argument(
        "--record", type=Path, metavar="FOLDER", help="keep what this checkout makes, and compare nothing"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=[case.name for case in CASES],
        metavar="CASE",
        help=f"this case alone, and others given so: {', '.join(case.name for case in CASES)}",
    )
    arguments = parser.parse_args()
    if [arguments.commit, arguments.against, arguments.record].count(None) != 2:
        parser.error("give a commit, or --against, or --record")
    if arguments.record is not None:
        try:
            record(arguments.record, arguments.only)
        except ImportError as error:
            sys.exit(f"the code is too old for this replay: {error}")
        return 0
    with tempfile.TemporaryDirectory() as place:
        before, after = arguments.against or Path(place) / "before", Path(place) / "after"
        if arguments.commit is not None:
            kept = record_commit(arguments.commit, before, [f"--only={name}" for name in arguments.only])
        else:
            kept = json.loads((before / DIGESTS).read_text())
        if arguments.only:
            kept = {name: digests for name, digests in kept.items() if name in arguments.only}
        found = record(after, arguments.only)
        changed = differences(kept, found)
        for line in told(changed, before, after):
            print(line)
        print(f"{len(found)} compiled, {len(changed)} changed")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
