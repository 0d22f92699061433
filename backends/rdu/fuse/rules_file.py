"""The fusion rules of o1: which operators become one section, as YAML files say it.

    - gemm:                         # a name, which reports show
        priority: 40                # higher ones match first; default: 0
        heuristic: SAFE_GEMM        # recorded and shown; a string, or a mapping with a `name`
        sections: [FWD, BCKWD]      # the section types it is for; default: all
        pattern:                    # operators and who reads them; matching begins at the first
          product:
            op_type: [matmul, conv] # an operator, a class of them, or a list
            child: bias             # reads a result of this one; `children` for several
          bias:
            op_type: add
            required: false         # may be absent; what it leads to is then read from what leads to it
            child: activation
          activation:
            op_type: elementwise
            required: false

Of the names in `match_first_option: [a, b]`, in place of a child, the first that matches is the child. With
`included: false` an operator must match, and is not fused. `repeat: true` also takes all operators of these types that
are connected with this one.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import ir.ops  # noqa: F401  (registers every operator)
from backends.extensions import RULES, added, load_added
from ir.errors import Problem, UsageError
from ir.graph import SectionKind
from ir.op import OPS, CostClass
from ir.reading import what_went_wrong

DEFAULT_RULES = Path(__file__).parent / "rules" / "default.yaml"
"""The rules of plain --o1."""

CLASSES = {
    "gemm": CostClass.SYSTOLIC,
    "elementwise": CostClass.SIMD,
    "reduction": CostClass.REDUCE,
    "gather": CostClass.GATHER,
}
"""Names for all operators that one part of the machine computes; `any` is all of these."""

ALIASES = {
    "linear": "matmul", "bmm": "matmul", "mm": "matmul", "addmm": "matmul", "addbias": "add", "conv": "conv2d",
    "layernorm": "layer_norm", "subtract": "sub", "multiply": "mul", "divide": "div", "clamp_min": "maximum",
    "masked_fill": "where", "nll_loss": "nll", "mean": "sum", "reduce_sum": "sum", "max": "amax", "min": "amin",
}  # fmt: skip
"""PyTorch's names for operators that are called otherwise here."""

MAX_VARIANTS = 512
"""Ways in which optional operators may be present or absent in one pattern."""

LONGEST_FILE = 1 << 20
"""Characters of a file of rules."""

DEEPEST = 50
"""Lists and mappings in one another."""
_OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)

RULE_KEYS = frozenset({"name", "priority", "heuristic", "sections", "pattern"})
NODE_KEYS = frozenset({"op_type", "child", "children", "match_first_option", "required", "included", "repeat"})


@dataclass(frozen=True, slots=True)
class PatternNode:
    """One operator of a pattern. Each of `children` lists the names of those that may be this child, best first."""

    name: str
    op_types: frozenset[str]
    children: tuple[tuple[str, ...], ...] = ()
    required: bool = True
    included: bool = True
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Variant:
    """A pattern without choices: operators, and edges from producer to reader as indices into them."""

    nodes: tuple[PatternNode, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named pattern; `sections` are the graphs it is for. `variants` are the ways to match it, the fullest first."""

    name: str
    pattern: tuple[PatternNode, ...]
    priority: int = 0
    heuristic: str = ""
    sections: tuple[SectionKind, ...] = tuple(SectionKind)

    @property
    def label(self) -> str:
        """What reports call it."""
        return f"{self.name} ({self.heuristic})" if self.heuristic else self.name

    def variants(self) -> list[Variant]:
        """Every choice of optional operators and of alternatives, in the order in which they are tried."""
        return list(dict.fromkeys(_variants(self.pattern)))


def read_rules(path: Path | str | None = None, *, with_default: bool = True) -> tuple[Rule, ...]:
    """The rules of a file in the order they are tried, then the default ones. `path` may be the name of rules that an
    installed package adds.

    Raises UsageError with everything that is wrong in the file.
    """
    if path is not None and not Path(path).suffix and str(path) in added(RULES):
        found = load_added(RULES, str(path))
        path = found() if callable(found) else found
    own = _parse(Path(path)) if path is not None else []
    default = _parse(DEFAULT_RULES) if with_default else []
    return (*_by_priority(own), *_by_priority(default))


def _by_priority(rules: Sequence[Rule]) -> list[Rule]:
    return sorted(rules, key=lambda rule: -rule.priority)


def _parse(path: Path) -> list[Rule]:
    try:
        text = path.read_text(encoding="utf-8")
        _require_plain(path, text)
        root = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(
            Problem(f"{path} cannot be read: {what_went_wrong(error)}", hint="check the path and the syntax")
        ) from error
    parser = _Parser(path, {} if root is None else dict(_lines(root, ())))
    rules = [parser.rule(name, body, place) for name, body, place in parser.named(content)]
    UsageError.raise_if(parser.problems)
    return rules


def _require_plain(path: Path, text: str) -> None:
    """Raise UsageError for a file that would grow without end when it is followed: one too large, or with aliases."""
    if len(text) > LONGEST_FILE:
        raise UsageError(Problem(f"{path} has more than {LONGEST_FILE:,} characters", hint="give a file of rules"))
    depth = 0
    for token in yaml.scan(text):
        where = f"{path.name}:{token.start_mark.line + 1}"
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if isinstance(token, yaml.AliasToken):
            raise UsageError(Problem(f"*{token.value} is an alias", where, "write out what it stands for"))
        if depth > DEEPEST:
            raise UsageError(
                Problem(f"lists and mappings are nested deeper than {DEEPEST}", where, "write a flat rule")
            )


Place = tuple[str | int, ...]
"""Where something stands in a file: the keys and positions that lead to it."""


def _lines(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    """The line of everything in a file."""
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, str(key.value)), key.start_mark.line + 1
            for inner, line in _lines(value, (*place, str(key.value))):
                if inner != (*place, str(key.value)):
                    yield inner, line
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*place, index))


class _Parser:
    """Reads rules, and collects everything that is wrong with them."""

    def __init__(self, path: Path, lines: Mapping[Place, int]) -> None:
        self.path = path
        self.lines = lines
        self.problems: list[Problem] = []

    def problem(self, message: str, place: Place, hint: str) -> None:
        """Note what is wrong at a place, or at the nearest thing around it that has a line."""
        while place not in self.lines and place:
            place = place[:-1]
        self.problems.append(Problem(message, f"{self.path}:{self.lines.get(place, 1)}", hint))

    def named(self, content: Any) -> Iterator[tuple[str, Mapping[str, Any], Place]]:
        """Name, body and place of every rule of a file: a mapping, or a list of rules, each with or under its name."""
        if isinstance(content, Mapping):
            entries: list[tuple[Any, Any, Place]] = [(name, body, (str(name),)) for name, body in content.items()]
        elif isinstance(content, list):
            entries = [self.entry(entry, index) for index, entry in enumerate(content)]
        else:
            entries = []
        if not entries:
            self.problem("the file holds no rules", (), "write a list of named rules, each with a pattern")
        for name, body, place in entries:
            if isinstance(body, Mapping):
                yield str(name), body, place
            else:
                self.problem(f"rule {name} says nothing", place, "give it `pattern:` with the operators to fuse")

    def entry(self, entry: Any, index: int) -> tuple[Any, Any, Place]:
        """A list's entry: `{name: body}`, or a body with its name in it."""
        if isinstance(entry, Mapping) and len(entry) == 1 and "pattern" not in entry:
            name, body = next(iter(entry.items()))
            return name, body, (index, str(name))
        name = entry.get("name", f"rule_{index}") if isinstance(entry, Mapping) else f"rule_{index}"
        return name, entry, (index,)

    def rule(self, name: str, body: Mapping[str, Any], place: Place) -> Rule:
        """One rule."""
        self.keys(body, RULE_KEYS, f"rule {name}", place)
        pattern = body.get("pattern")
        if not isinstance(pattern, Mapping) or not pattern:
            self.problem(f"rule {name} has no pattern", place, "give it `pattern:` with the operators to fuse")
            pattern = {}
        priority = body.get("priority", 0)
        if isinstance(priority, bool) or not isinstance(priority, int):
            self.problem(f"rule {name} has priority {priority!r}", (*place, "priority"), "give a whole number")
            priority = 0
        nodes = tuple(
            self.node(str(key), value, pattern, (*place, "pattern", str(key))) for key, value in pattern.items()
        )
        rule = Rule(name, nodes, priority, _heuristic(body.get("heuristic")), self.sections(body, name, place))
        if nodes and not any(problem for problem in self.problems):
            self.structure(rule, (*place, "pattern"))
        return rule

    def sections(self, body: Mapping[str, Any], name: str, place: Place) -> tuple[SectionKind, ...]:
        """The section types a rule is for."""
        given = body.get("sections")
        if given is None:
            return tuple(SectionKind)
        known = {kind.value: kind for kind in SectionKind}
        words = [str(word).upper() for word in (given if isinstance(given, list) else [given])]
        for word in words:
            if word not in known:
                hint = f"use {', '.join(known)}"
                self.problem(f"rule {name} is for sections of type {word}", (*place, "sections"), hint)
        return tuple(known[word] for word in words if word in known)

    def node(self, name: str, body: Any, pattern: Mapping[str, Any], place: Place) -> PatternNode:
        """One operator of a pattern."""
        if not isinstance(body, Mapping) or "op_type" not in body:
            self.problem(f"{name} has no op_type", place, "name the operator, such as `op_type: matmul`")
            return PatternNode(name, frozenset())
        self.keys(body, NODE_KEYS, name, place)
        for key in ("required", "included", "repeat"):
            if not isinstance(body.get(key, True), bool):
                self.problem(f"{name} has {key}: {body[key]!r}", (*place, key), "write true or false")
        children = tuple(self.children(body, place))
        for child in itertools.chain.from_iterable(children):
            if child not in pattern:
                hint = _nearest(child, [str(other) for other in pattern])
                self.problem(f"the child {child!r} of {name} is not in the pattern", place, hint)
        given = body["op_type"]
        types = [self.types(str(word), place) for word in (given if isinstance(given, list) else [given])]
        return PatternNode(
            name,
            frozenset().union(*types),
            children,
            body.get("required", True) is not False,
            body.get("included", True) is not False,
            body.get("repeat", False) is True,
        )

    def children(self, body: Mapping[str, Any], place: Place) -> Iterator[tuple[str, ...]]:
        """The children of an operator, each as the names of its alternatives."""
        for key in ("child", "children"):
            given = body.get(key, [])
            for child in given if isinstance(given, list) else [given]:
                if isinstance(child, Mapping):
                    yield from self.options(child.get("match_first_option"), (*place, key))
                else:
                    yield (str(child),)
        if "match_first_option" in body:
            yield from self.options(body["match_first_option"], (*place, "match_first_option"))

    def options(self, given: Any, place: Place) -> Iterator[tuple[str, ...]]:
        """The alternatives of one child."""
        if isinstance(given, list) and given:
            yield tuple(map(str, given))
        else:
            self.problem("the alternatives of a child are not a list", place, "write `match_first_option: [a, b]`")

    def types(self, word: str, place: Place) -> frozenset[str]:
        """The operators that a word stands for."""
        busy = {name for name, op in OPS.items() if op.cost.kind is not CostClass.FREE}
        if word == "any":
            return frozenset(busy)
        if word in CLASSES:
            return frozenset(name for name in busy if OPS[name].cost.kind is CLASSES[word])
        name = ALIASES.get(word, word)
        if name in busy:
            return frozenset({name})
        if name in OPS or word in ("view", "transpose", "flatten", "squeeze", "unsqueeze", "contiguous", "t"):
            hint = "leave it out: views take no time, and patterns look through them"
            self.problem(f"{word} is a view, which no pattern holds", (*place, "op_type"), hint)
        else:
            hint = _nearest(word, [*busy, *ALIASES, *CLASSES, "any"])
            self.problem(f"there is no operator {word!r}", (*place, "op_type"), hint)
        return frozenset()

    def keys(self, body: Mapping[str, Any], known: frozenset[str], what: str, place: Place) -> None:
        """Note keys that mean nothing."""
        for key in body:
            if key not in known:
                self.problem(f"{what} has the unknown key {key!r}", (*place, str(key)), _nearest(str(key), known))

    def structure(self, rule: Rule, place: Place) -> None:
        """Note patterns that cannot be matched as they are written."""
        if not rule.pattern[0].required:
            hint = "matching begins at the first: make it required, or write a required one first"
            self.problem(f"the first operator of rule {rule.name} is optional", place, hint)
            return
        if _choices(rule.pattern) > MAX_VARIANTS:
            hint = "split the rule in two"
            self.problem(f"rule {rule.name} has more than {MAX_VARIANTS} ways to match", place, hint)
            return
        for variant in rule.variants():
            if not variant.nodes or variant.nodes[0] != rule.pattern[0] or _is_circular(variant):
                hint = "begin with an operator that leads to the others, and name children downstream only"
                self.problem(f"the children of rule {rule.name} go in a circle, or do not reach all", place, hint)
                return
            if not _connected(variant):
                names = ", ".join(node.name for node in variant.nodes)
                hint = "connect them by `child`, or write a rule for each part"
                self.problem(f"the operators {names} of rule {rule.name} are not connected", place, hint)
                return


def _heuristic(given: Any) -> str:
    """A heuristic's name."""
    if isinstance(given, Mapping):
        return str(given.get("name") or ", ".join(f"{key}: {value}" for key, value in given.items()))
    return str(given or "")


def _nearest(word: str, known: Sequence[str] | frozenset[str]) -> str:
    """What to write instead."""
    close = difflib.get_close_matches(word, sorted(known), n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"use one of {', '.join(sorted(known))}"


# -- patterns without choices ------------------------------------------------------------------------------------------


def _choices(pattern: Sequence[PatternNode]) -> int:
    count = 1 << sum(not node.required for node in pattern)
    for options in itertools.chain.from_iterable(node.children for node in pattern):
        count *= len(options)
    return count


def _variants(pattern: Sequence[PatternNode]) -> Iterator[Variant]:
    optional = [node.name for node in pattern if not node.required]
    alternatives = [(node.name, options) for node in pattern for options in node.children]
    for taken in itertools.product(*(options for _, options in alternatives)):
        children: dict[str, list[str]] = {node.name: [] for node in pattern}
        for (name, _), child in zip(alternatives, taken):
            children[name].append(child)
        for present in itertools.product((True, False), repeat=len(optional)):
            absent = {name for name, here in zip(optional, present) if not here}
            yield _variant(pattern, children, absent)


def _variant(pattern: Sequence[PatternNode], children: Mapping[str, Sequence[str]], absent: set[str]) -> Variant:
    """The pattern with these children and without what is absent, or is only the child of what was not taken."""
    below = {name for options in (node.children for node in pattern) for names in options for name in names}
    reached: dict[str, None] = {}
    edges: dict[tuple[str, str], None] = {}

    def follow(name: str, source: str | None, trail: tuple[str, ...]) -> None:
        if name in trail:
            return
        if name not in absent:
            if source is not None:
                edges[source, name] = None
            if name in reached:
                return
            reached[name] = None
            source = name
        for child in children[name]:
            follow(child, source, (*trail, name))

    for node in pattern:
        if node.name not in below:
            follow(node.name, None, ())
    kept = tuple(node for node in pattern if node.name in reached)
    index = {node.name: number for number, node in enumerate(kept)}
    return Variant(kept, tuple((index[source], index[child]) for source, child in edges))


def _connected(variant: Variant) -> bool:
    reached = {0} if variant.nodes else set()
    while True:
        more = {end for edge in variant.edges if reached & set(edge) for end in edge} - reached
        if not more:
            return len(reached) == len(variant.nodes)
        reached |= more


def _is_circular(variant: Variant) -> bool:
    """Whether the edges lead back to where they began."""
    edges = set(variant.edges)
    while edges:
        begun = {source for source, _ in edges} - {end for _, end in edges}
        if not begun:
            return True
        edges = {edge for edge in edges if edge[0] not in begun}
    return False
