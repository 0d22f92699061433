"""Texts of messages as they are written in the source, with <name> for what varies."""

from __future__ import annotations

import ast
import re


def called(function: ast.expr) -> str:
    """The last name of what is called, without its arguments."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class Texts:
    """Texts as they are written around a call: what a variable was given before it, and what a function of the file
    returns, in their places."""

    def __init__(self, tree: ast.Module, function: ast.AST, call: ast.Call) -> None:
        self.given: dict[str, list[ast.expr]] = {}
        for statement in tree.body:
            self._take(statement)
        for statement in getattr(function, "body", []) if function is not tree else []:
            self._before(statement, call)
        self.returned = {
            each.name: [node.value for node in ast.walk(each) if isinstance(node, ast.Return) and node.value]
            for each in ast.walk(tree)
            if isinstance(each, ast.FunctionDef)
        }

    def _before(self, statement: ast.AST, call: ast.Call) -> None:
        """Take what is assigned before the call: of branches that it is in no part of, each counts."""
        if statement.lineno > call.lineno or isinstance(statement, (ast.FunctionDef, ast.ClassDef)):  # type: ignore[attr-defined]
            return
        if not any(node is call for node in ast.walk(statement)):
            if not _leaves(statement):
                self._take(*[node for node in ast.walk(statement) if isinstance(node, ast.Assign)])
            return
        for part in ast.iter_child_nodes(statement):
            if isinstance(part, (ast.stmt, ast.ExceptHandler)):
                self._before(part, call)

    def _take(self, *statements: ast.AST) -> None:
        """Note what these assign, in place of what was known."""
        fresh: dict[str, list[ast.expr]] = {}
        for statement in statements:
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    _note(fresh, target, statement.value)
        self.given.update(fresh)

    def is_text(self, node: ast.expr | None) -> bool:
        """Whether an expression is a text that can be read from the code."""
        if isinstance(node, ast.Name):
            return any(self.is_text(value) for value in self.given.get(node.id, []))
        if isinstance(node, ast.BinOp):
            return self.is_text(node.left)
        if isinstance(node, ast.IfExp):
            return self.is_text(node.body)
        return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))

    def of(self, node: ast.expr | None) -> str:
        """An expression as text: literals as they are, alternatives with `or` between, the rest as <name>."""
        match node:
            case None | ast.Constant(value=None):
                return ""
            case ast.Constant(value=value):
                return str(value)
            case ast.JoinedStr(values=values):
                return "".join(self.of(value) for value in values)
            case ast.FormattedValue(value=ast.Constant(value=value)):
                return str(value)
            case ast.FormattedValue(value=value):
                text = self.of(value)
                text = f"({text.strip()})" if " or " in text else text
                return text if isinstance(value, (ast.Name, ast.Call, ast.IfExp)) else _placeholder(value)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.of(left) + self.of(right)
            case ast.IfExp(body=body, orelse=orelse):
                return " or ".join(filter(None, (self.of(body).strip(), self.of(orelse).strip())))
            case ast.Name(id=name):
                return self._one_of(self.given.get(name, [])) or _placeholder(node)
            case ast.Call(func=function):
                return self._one_of(self.returned.get(called(function), [])) or _placeholder(node)
        return _placeholder(node)

    def _one_of(self, values: list[ast.expr]) -> str:
        """The texts among these, as alternatives."""
        return " or ".join(dict.fromkeys(self.of(value) for value in values if self.is_text(value)))

    def formatted(self, arguments: list[ast.expr]) -> str:
        """A logging call's text with its arguments in their places."""
        rest = iter(arguments[1:])
        return re.sub(r"%[sd]", lambda _: self.of(next(rest)), self.of(arguments[0]))


def _leaves(statement: ast.AST) -> bool:
    """Whether nothing after a statement is reached where it applies: what it assigns is not seen there."""
    body = statement.body if isinstance(statement, ast.If) and not statement.orelse else []
    return bool(body) and isinstance(body[-1], (ast.Raise, ast.Return, ast.Continue))


def _note(given: dict[str, list[ast.expr]], target: ast.expr, value: ast.expr) -> None:
    if isinstance(target, ast.Name):
        given.setdefault(target.id, []).append(value)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for each, part in zip(target.elts, value.elts):
            _note(given, each, part)


def _placeholder(node: ast.expr | None) -> str:
    """What stands for a value: the last name in the expression that makes it."""
    if isinstance(node, ast.IfExp):
        return _placeholder(node.body)
    if isinstance(node, ast.Call):
        return (
            _placeholder(node.args[0]) if node.args and called(node.func) in PLAIN else f"<{_words(called(node.func))}>"
        )
    if isinstance(node, (ast.Subscript, ast.Starred)):
        return _placeholder(node.value)
    if isinstance(node, ast.BoolOp):
        return _placeholder(node.values[0])
    if isinstance(node, ast.BinOp):
        return _placeholder(node.left if _placeholder(node.left) != "<...>" else node.right)
    if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
        return _placeholder(node.elt if not isinstance(node.elt, ast.JoinedStr) else node.generators[0].iter)
    return f"<{_words(called(node))}>" if isinstance(node, (ast.Name, ast.Attribute)) else "<...>"


PLAIN = ("str", "repr", "listed", "list", "len", "sorted", "map", "join")
"""Functions that show what they are given."""


def _words(name: str) -> str:
    return name.strip("_").replace("_", " ") or "..."
