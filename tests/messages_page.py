"""The message page, `docs/messages.md`, from the code: `python -m tests.messages_page` writes it.

Every `Problem`, every error raised with a text, and every warning is read from the source, not from a list. What a
message says of the case at hand stands in it as <name>.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler.frontend.export_errors import RULES
from ir import errors
from ir.errors import SncError, UsageError
from tests.source_texts import Texts, called

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "messages.md"

FOLDERS = {
    "compiler": "Compiling: `snc`",
    "ir": "The graph language",
    "backends": "Mapping onto the chip",
    "pef": "Files: PEFs, their checks, and what lies beside them",
    "runtime": "Running: `snrun` and sessions",
    "workbench": "The workbench",
    "snc": "The Python interface",
    "sambaflow": "SambaFlow programs",
    "modelzoo": "The model zoo: `snc zoo`",
    "modelbox": "The model box: `snc box`",
}

KINDS = {
    "pef/checks/": "CHECK",
    "compiler/frontend/capture.py": "UNSUPPORTED",
    "compiler/frontend/lower": "UNSUPPORTED",
    "compiler/frontend/": "CAPTURE",
    "backends/rdu/infeasibility.py": "INFEASIBLE",
    "modelbox/": "REFUSED",
}
"""Of files that make problems for others to raise: what these raise."""

INTRODUCTION = """# Messages

Every message that a user can meet, with what to do about it. Generated from the code by
`python -m tests.messages_page`; a test keeps it current. Words in angle brackets stand for what the case at hand is
about.

An error is one line, `error[CODE]: file:line: what is wrong`, and below it `try:` with the remedy. Several problems of
a kind are reported at once. A command ends with status 0 if it did what it was asked for, with 2 for a command, call or
file that cannot be used (`USAGE`), else with 1. `-v` adds the traceback of an unforeseen error. Where a model's code
ends the process (`sys.exit`, `os._exit`), that is an error too, unless it does so below Python, by a signal or from C.

Lines that begin with `note:` or `warning:` change no exit status.
"""


@dataclass(frozen=True)
class Message:
    """One message: the code of its error, or `note`; text and remedy with <names> for what varies."""

    code: str
    text: str
    remedy: str


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION, *_codes(), ""]
    files = {folder: sorted((ROOT / folder).rglob("*.py")) for folder in FOLDERS}
    passed_on = messengers(path for paths in files.values() for path in paths)
    for folder, title in FOLDERS.items():
        found = {path: messages(path, passed_on) for path in files[folder]}
        found = {path: [each for each in listed if _has_words(each.text)] for path, listed in found.items()}
        if any(found.values()):
            lines += [f"## {title}", ""]
        for path, listed in found.items():
            if listed:
                lines += [f"### {path.relative_to(ROOT)}", "", "| Code | Message | Try |", "|---|---|---|"]
                kind = next(
                    (code for start, code in KINDS.items() if str(path.relative_to(ROOT)).startswith(start)), ""
                )
                lines += [f"| {each.code or kind} | {_cell(each.text)} | {_cell(each.remedy)} |" for each in listed]
                lines.append("")
    return "\n".join([*lines, *_tracing()])


def _kind(path: Path) -> str:
    place = str(path.relative_to(ROOT))
    return next((code for start, code in KINDS.items() if place.startswith(start)), "")


def codes() -> dict[str, type[SncError]]:
    """The error classes of the toolchain by their codes."""
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SncError)]
    return {each.code: each for each in found if each is not SncError}


def _codes() -> Iterator[str]:
    yield "## Codes"
    yield ""
    yield "| Code | Exit status | Cause | What to do |"
    yield "|---|---|---|---|"
    for code, each in codes().items():
        cause, _, fix = " ".join((each.__doc__ or "").split()).partition(" Fix: ")
        yield f"| `{code}` | {2 if each is UsageError else 1} | {cause.removeprefix('Cause: ')} | {fix} |"


def _tracing() -> Iterator[str]:
    yield "## What tracing stops at"
    yield ""
    yield "Causes that are known of what PyTorch raises while a model is traced (`CAPTURE`):"
    yield ""
    yield "| Message | Try |"
    yield "|---|---|"
    for _, message, hint in RULES:
        yield f"| {_cell(message)} | {_cell(hint)} |"
    yield ""


def _has_words(text: str) -> bool:
    """Whether a message is more than what others say."""
    return any(letter.isalpha() for letter in re.sub(r"<[^>]*>", "", text))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def messages(path: Path, passed_on: Mapping[str, Messenger]) -> list[Message]:
    """The messages of a file, in its order."""
    tree = ast.parse(path.read_text())
    raised = sorted({name for node in ast.walk(tree) for name in _error_names(node)})
    found = []
    for function, call in _calls(tree):
        name = called(call.func)
        messenger = passed_on.get(name)
        if not call.args or _is_log(call) or not (name in (*PROBLEMS, *REFUSALS, *ERRORS, *NOTES) or messenger):
            continue
        texts = Texts(tree, function, call)
        if name in PROBLEMS and not _parameter(function, call.args[0]):
            code = "/".join(_code(each) for each in _raising(function, call) or raised)
            found.append(Message(code, texts.of(call.args[0]), texts.of(_argument(call, PROBLEMS[name], "hint"))))
        elif name in REFUSALS and len(call.args) > 1 and texts.is_text(call.args[1]):
            found.append(Message(called(call.args[0]), texts.of(call.args[1]), texts.of(_argument(call, 2, "hint"))))
        elif messenger is not None and texts.is_text(text := _argument(call, *messenger.text)):
            hint = _argument(call, *messenger.hint) if messenger.hint else None
            found.append(Message(messenger.code, texts.of(text), texts.of(hint)))
        elif name in ERRORS and texts.is_text(call.args[0]):
            found.append(Message(_code(name), texts.of(call.args[0]), ""))
        elif name in NOTES and texts.is_text(call.args[0]):
            found.append(Message("note", texts.formatted(call.args), ""))
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Messenger:
    """A function that makes a problem of a text it is given: where it takes text and hint, by position and name."""

    code: str
    text: tuple[int, str]
    hint: tuple[int, str] | None


def messengers(paths: Iterable[Path]) -> dict[str, Messenger]:
    """The functions of these files whose callers write the message, by name."""
    found = {}
    for path in paths:
        tree = ast.parse(path.read_text())
        raised = sorted({name for node in ast.walk(tree) for name in _error_names(node)})
        for function, call in _calls(tree):
            if called(call.func) in PROBLEMS and (text := _parameter(function, call.args[0])):
                hint = _argument(call, PROBLEMS[called(call.func)], "hint")
                code = "/".join(_code(each) for each in _raising(function, call) or raised)
                given = _parameter(function, hint) if hint is not None else None
                found[function.name] = Messenger(code, text, given)  # type: ignore[attr-defined]
    return found


def _is_log(call: ast.Call) -> bool:
    """Whether a call writes into a log that only administrators read."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id == "log" and called(call.func) not in NOTES


PROBLEMS = {"Problem": 2, "Refused": 1}
"""What holds a message and its remedy: the position of the remedy."""
REFUSALS = ("Refusal",)
NOTES = ("warning", "note")


def _parameter(function: ast.AST, node: ast.expr) -> tuple[int, str] | None:
    """Which parameter of a function an expression is, `self` not counted; None where it is none."""
    if not isinstance(node, ast.Name) or not isinstance(function, ast.FunctionDef):
        return None
    names = [each.arg for each in (*function.args.args, *function.args.kwonlyargs) if each.arg not in ("self", "cls")]
    return (names.index(node.id), node.id) if node.id in names else None


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return named or (call.args[position] if len(call.args) > position else None)


ERRORS = {each.__name__: each for each in codes().values()}


def _code(name: str) -> str:
    return ERRORS[name].code


def _error_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        name = called(node.func)
        owner = called(node.func.value) if name == "raise_if" and isinstance(node.func, ast.Attribute) else name
        if owner in ERRORS:
            yield owner


def _raising(function: ast.AST, call: ast.Call) -> list[str]:
    """The errors that are raised with this problem: the one that holds it, else those of its function."""
    inside = [node for node in ast.walk(function) if isinstance(node, ast.Call) and any(_error_names(node))]
    holding = [node for node in inside if any(inner is call for inner in ast.walk(node))]
    return sorted({name for node in holding[-1:] or inside for name in _error_names(node)})


def _calls(tree: ast.AST, owner: ast.AST | None = None) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Every call with the innermost function around it, in the order of the text."""
    for node in ast.iter_child_nodes(tree):
        inner = node if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else owner or tree
        if isinstance(node, ast.Call):
            yield inner, node
        yield from _calls(node, inner)


if __name__ == "__main__":
    PAGE.write_text(page())
