"""The command line of SambaFlow programs: verbs with the framework's options and the program's own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ir.errors import Problem, UsageError
from ir.reading import what_went_wrong
from sambaflow.logging import samba_logger
from sambaflow.samba._program.ending import progress
from sambaflow.samba._program.options import ALL_VERBS, DEFAULTS, OPTIONS, VERBS, Option
from sambaflow.samba._replicas import distributed
from sambaflow.samba._verify.gold import require_gold
from sambaflow.samba.session import current_session

ParserFunction = Callable[[argparse.ArgumentParser], Any]


class _Parser(argparse.ArgumentParser):
    """A parser in which the program's options replace the framework's of the same name."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**{"conflict_handler": "resolve", **named})


def parse_app_args(
    argv: Sequence[str] | None = None,
    dev_mode: bool = False,
    common_parser_fn: ParserFunction | None = None,
    test_parser_fn: ParserFunction | None = None,
    run_parser_fn: ParserFunction | None = None,
    compile_parser_fn: ParserFunction | None = None,
    measure_parser_fn: ParserFunction | None = None,
    **ignored: Any,
) -> argparse.Namespace:
    """The arguments of a program: `command` is the verb, and every attribute that programs read is there on every verb.

    Each `*_parser_fn` gets the parser of its verb (the common one every verb's) and adds the program's options, which
    may redefine the framework's. Options beginning with two dashes that nobody defines are an error, as in argparse.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    functions = {"compile": compile_parser_fn, "run": run_parser_fn, "test": test_parser_fn}
    functions |= {"measure-performance": measure_parser_fn, "measure-sections": measure_parser_fn}
    show_all = dev_mode or "--debug" in arguments
    parser = _Parser(description="A SambaFlow program.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    verbs = parser.add_subparsers(dest="command", required=True, title="modes of operation", parser_class=_Parser)
    for verb, text in VERBS.items():
        sub = verbs.add_parser(
            verb, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        for option in OPTIONS:
            if verb in option.verbs:
                _add(sub, option, show_all)
        for function in (common_parser_fn, functions[verb]):
            if function is not None:
                function(sub)
    parsed = parser.parse_args(arguments)
    for name, value in DEFAULTS.items():
        if not hasattr(parsed, name):
            setattr(parsed, name, value)
    _remember(parsed)
    if parsed.command == "test":
        require_gold(parsed.gold_file_path)
    distributed.wait_at_most(parsed.replica_timeout)
    progress.begin(parsed, is_own=arguments == sys.argv[1:])
    if parsed.command != "compile" and True in (parsed.data_parallel, parsed.distributed_run):
        distributed.start()
    return parsed


def _add(parser: argparse.ArgumentParser, option: Option, show_all: bool) -> None:
    keywords = dict(option.keywords)
    keywords["help"] = option.help if show_all or not option.experimental else argparse.SUPPRESS
    parser.add_argument(*option.flags, **keywords)


def _remember(arguments: argparse.Namespace) -> None:
    """Let the session know the arguments, and set how much is logged."""
    current_session().arguments = dict(vars(arguments))
    if arguments.debug:
        samba_logger.setLevel("debug")
    elif arguments.verbose:
        samba_logger.setLevel("info")
    if arguments.log_level:
        samba_logger.setLevel(str(arguments.log_level))


def parse_yaml_to_args(yaml_path: str, args: argparse.Namespace) -> argparse.Namespace:
    """The arguments with those of a YAML file laid over them; dashes in names count as underscores.

    Nested mappings are flattened, section by section. Raises UsageError where the file does not hold a mapping.
    """
    import yaml

    path = Path(yaml_path)
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        what = f"{yaml_path} cannot be read: {what_went_wrong(error)}"
        raise UsageError(Problem(what, hint="check the path and the syntax")) from error
    if not isinstance(content, Mapping):
        raise UsageError(Problem(f"{yaml_path} holds no mapping", hint="write lines like `batch_size: 32`"))
    merged = argparse.Namespace(**vars(args))
    for key, value in _flat(content):
        setattr(merged, key.replace("-", "_"), value)
    _remember(merged)
    return merged


def _flat(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        found += _flat(value) if isinstance(value, Mapping) else [(str(key), value)]
    return found


class SambaConfig:
    """The arguments as a dictionary; `schema` is accepted for programs that name one."""

    def __init__(self, args: argparse.Namespace, schema: Any = None) -> None:
        self.args = args
        self.schema = schema

    def get_all_params(self) -> dict[str, Any]:
        """All arguments by name."""
        return dict(vars(self.args))


__all__ = ["ALL_VERBS", "SambaConfig", "parse_app_args", "parse_yaml_to_args"]
