"""What a rule is, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Client = TypeVar("Client")


class Broken(Exception):
    """A rule does not hold; the message says what was seen."""


class NotOffered(Exception):
    """The server does not have what the rule is about, and need not."""


@dataclass(frozen=True)
class Rule(Generic[Client]):
    """One sentence of the protocol and the function that tries it: returns, or raises Broken or NotOffered."""

    name: str
    says: str
    attempt: Callable[[Client], None]


@dataclass(frozen=True)
class Verdict:
    """What became of a rule: passed, failed or skipped."""

    protocol: str
    rule: str
    says: str
    result: str
    seen: str = ""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {key: value for key, value in vars(self).items() if value}


class Rules(Generic[Client]):
    """The rules of one protocol, in the order they are written."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self._rules: list[Rule[Client]] = []

    def __call__(self, attempt: Callable[[Client], None]) -> Callable[[Client], None]:
        """Decorator: the function's docstring is the rule."""
        says = " ".join((attempt.__doc__ or "").split())
        self._rules.append(Rule(attempt.__name__, says, attempt))
        return attempt

    def hold(self, client: Client) -> list[Verdict]:
        """Try them all."""
        return [self._judge(rule, client) for rule in self._rules]

    def _judge(self, rule: Rule[Client], client: Client) -> Verdict:
        result, seen = "passed", ""
        try:
            rule.attempt(client)
        except Broken as broken:
            result, seen = "failed", str(broken)
        except NotOffered as missing:
            result, seen = "skipped", str(missing)
        except Exception as error:  # a server that is not as expected can make a client fail in any way
            result, seen = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Verdict(self.protocol, rule.name, rule.says, result, seen)


def require(holds: bool, seen: str) -> None:
    """Raises Broken."""
    if not holds:
        raise Broken(seen)
