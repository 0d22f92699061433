"""Loading a model from a user's Python file.

`compiler/convention.py` says what a model file defines. `model.py:name` takes these from `name` instead: an object or
class with the same attributes, or a function without arguments that returns such an object or a tuple (model, inputs[,
optimizer[, loss]]).
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from compiler.convention import example, remedy
from compiler.frontend.locations import definition_line, make_importable
from compiler.optimizers import OptimizerSpec
from ir.errors import Problem, UsageError
from ir.location import Location
from pef.files import readable_refusal

Result = TypeVar("Result")


def call_with_inputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """What `model` returns for inputs named after forward's parameters, or in order where forward takes *tensors."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return model(*inputs.values())
    return model(**inputs)


CONSTANTS = (bool, int, float, str, type(None))
"""What may stand among the inputs beside tensors: it is part of the call, the same in every run."""


@dataclass(frozen=True)
class _CallWithConstants:
    """`call` with some of the inputs fixed, in the order in which all inputs were given."""

    call: Callable[[nn.Module, Mapping[str, Tensor]], Any]
    given: Mapping[str, Any]

    def __call__(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
        return self.call(model, {name: tensors.get(name, constant) for name, constant in self.given.items()})


@dataclass(frozen=True)
class ModelSpec:
    """A model with all that is needed to compile it.

    `inputs` and `targets` are sample tensors by name, in the order of forward's (loss's) parameters; None, numbers and
    text among the inputs become part of `call`, and `inputs` holds the tensors alone. `loss` maps
    forward's outputs and the targets to the loss; without it, forward returns the loss itself, first or as `loss`.
    `max_grad_norm` of None means gradients are not clipped. `file` is where the model was written. `call` is how the
    model is called with its inputs. With `every_gradient`, back-propagation can start from every differentiable
    output, not from the losses alone: the gradients of outputs that are not losses start from zeros. `regions` names
    modules, by their paths, that o1 makes one section each. `line` is where what has no line of its own counts as
    written; 0: where `file` defines the model.
    """

    model: nn.Module
    inputs: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer | OptimizerSpec | None = None
    loss: Callable[..., Tensor] | None = None
    max_grad_norm: float | None = None
    name: str = "model"
    file: Path = Path("model.py")
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    call: Callable[[nn.Module, Mapping[str, Tensor]], Any] = call_with_inputs
    every_gradient: bool = False
    regions: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    def __post_init__(self) -> None:
        given: Mapping[str, Any] = self.inputs
        wrong = [name for name, value in given.items() if not isinstance(value, (Tensor, *CONSTANTS))]
        hint = "give tensors; None, numbers and text are taken as part of the call"
        UsageError.raise_if(
            [Problem(f"input {name} is of type {type(given[name]).__name__}", hint=hint) for name in wrong]
        )
        if all(isinstance(value, Tensor) for value in given.values()):
            return
        fixed = {name: None if isinstance(value, Tensor) else value for name, value in given.items()}
        object.__setattr__(self, "call", _CallWithConstants(self.call, fixed))
        object.__setattr__(self, "inputs", {n: value for n, value in given.items() if isinstance(value, Tensor)})


def load_model(path: str, batch_size: int | None = None, seed: int = 0, *, inference: bool = False) -> ModelSpec:
    """The model in the file at `path`, written `model.py` or `model.py:name`; `seed` seeds its initial weights.

    For inference, what only training uses is left alone: optimizer, loss and targets. Raises UsageError where the file
    cannot be loaded or does not follow the convention.
    """
    file, name = _split(path)
    torch.manual_seed(seed)
    source = _named(_import_file(file), name, file)
    loader = _Loader(source, file, name)
    model = loader.model()
    inputs = loader.tensors("inputs", batch_size, _parameter_names(model.forward))
    spec = ModelSpec(model=model, inputs=inputs, name=name or file.stem, file=file)
    if inference:
        return spec
    loss = loader.loss()
    return replace(
        spec,
        optimizer=loader.optimizer(model),
        loss=loss,
        max_grad_norm=loader.max_grad_norm(),
        targets=loader.targets(loss, batch_size),
    )


def _split(path: str) -> tuple[Path, str | None]:
    """The file and the name after its colon, if there is one."""
    head, colon, name = path.rpartition(":")
    if not colon or not head.endswith(".py"):
        head, name = path, ""
    file = Path(head)
    with readable_refusal(file, "read", "check the path"):
        is_file = file.is_file()
    if not is_file:
        raise UsageError(Problem(f"there is no file {head}", hint="give the path of a model file, such as model.py"))
    if file.suffix != ".py":
        raise UsageError(Problem(f"{head} is not a Python file", hint="give the path of a model file ending in .py"))
    if not file.name.isprintable():
        what = f"the name of the file {head!r} has characters that cannot be shown"
        raise UsageError(Problem(what, hint="give it a name in UTF-8"))
    return file.resolve(), name or None


def _import_file(file: Path) -> ModuleType:
    """Run the file as a module, with its folder importable."""
    name = f"snc_model_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    make_importable(file.parent)
    sys.modules[name] = module
    loader = spec.loader
    try:
        _call(lambda: loader.exec_module(module), file, "running the file")
    except UsageError:
        sys.modules.pop(name, None)
        raise
    return module


def _call(action: Callable[[], Result], file: Path, doing: str) -> Result:
    """Run the user's code; what it raises becomes one UsageError at the user's line."""
    try:
        return action()
    except SyntaxError as error:
        where = Location(Path(error.filename or file).name, error.lineno or 1)
        raise UsageError(Problem(f"the file has a syntax error: {error.msg}", where)) from error
    except SystemExit as error:
        hint = "leave out sys.exit() and os._exit(), or put them under `if __name__ == '__main__':`"
        raise UsageError(Problem(f"{doing} ended the program", _line_in(file, error), hint)) from error
    except Exception as error:
        raise UsageError(Problem(f"{doing} raised {type(error).__name__}: {error}", _line_in(file, error))) from error


def _line_in(file: Path, error: BaseException) -> Location:
    """Where in the user's file something was raised."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return Location(file.name, (lines[-1] if lines else None) or 1)


def _named(module: ModuleType, name: str | None, file: Path) -> object:
    """What holds `model`, `inputs` and so on: the module, or what `name` in it stands for."""
    if name is None:
        return module
    if not hasattr(module, name):
        candidates = [key for key, value in vars(module).items() if hasattr(value, "model")]
        hint = f"it defines {', '.join(candidates)}" if candidates else f"define {name} in it, or leave out ':{name}'"
        raise UsageError(Problem(f"{file.name} does not define {name!r}", hint=hint))
    source = getattr(module, name)
    if callable(source) and not hasattr(source, "model"):
        source = _call(source, file, f"calling {name}()")
    if isinstance(source, tuple):
        return SimpleNamespace(**dict(zip(("model", "inputs", "optimizer", "loss"), source)))
    return source


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, or of a module's forward, without * and ** parameters."""
    called = function.forward if isinstance(function, nn.Module) else function
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each for each in inspect.signature(called).parameters.values() if each.kind not in variadic]


def _parameter_names(function: Callable[..., Any]) -> list[str]:
    return [parameter.name for parameter in _parameters(function)]


@dataclass(frozen=True)
class _Loader:
    """Reads the parts of the convention from the attributes of `source`."""

    source: object
    file: Path
    name: str | None

    def model(self) -> nn.Module:
        value = getattr(self.source, "model", None)
        if value is None:
            raise self.missing("model")
        if not isinstance(value, nn.Module) and callable(value):
            value = _call(value, self.file, "calling model()")
        if not isinstance(value, nn.Module):
            raise self.unusable("model", f"model is of type {type(value).__name__}, not a torch.nn.Module")
        return value

    def tensors(self, attribute: str, batch_size: int | None, names: list[str]) -> dict[str, Tensor]:
        """`inputs` or `targets`, by name; `names` are the parameters they are passed to."""
        value = getattr(self.source, attribute, None)
        if value is None:
            raise self.missing(attribute, next(iter(names), ""))
        if batch_size is not None and batch_size < 1:
            raise UsageError(Problem(f"a batch size of {batch_size} is not positive", hint="give one of at least 1"))
        if callable(value):
            value = self.call_with_batch(attribute, value, batch_size)
        tensors = self.by_name(attribute, value, names)
        self.check_batch(attribute, tensors, batch_size)
        return tensors

    def call_with_batch(self, attribute: str, function: Callable[..., Any], batch_size: int | None) -> object:
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters:
            return _call(function, self.file, f"calling {attribute}()")
        if batch_size is not None:
            return _call(lambda: function(batch_size), self.file, f"calling {attribute}({batch_size})")
        if parameters[0].default is inspect.Parameter.empty:
            name = f"{attribute}({parameters[0].name}) of {self.file.name}"
            raise UsageError(Problem(f"{name} needs a batch size", self.line(attribute), hint="give one, with -b"))
        return _call(function, self.file, f"calling {attribute}()")

    def by_name(self, attribute: str, value: object, names: list[str]) -> dict[str, Tensor]:
        if isinstance(value, Tensor):
            value = (value,)
        if isinstance(value, (tuple, list)):
            if len(value) > len(names):
                names = [*names, *(f"{attribute}_{i}" for i in range(len(names), len(value)))]
            value = dict(zip(names, value))
        allowed = (Tensor, *CONSTANTS) if attribute == "inputs" else (Tensor,)
        items = list(value.values()) if isinstance(value, dict) else []
        if not all(isinstance(item, allowed) for item in items) or not any(isinstance(item, Tensor) for item in items):
            raise self.unusable(attribute, f"{attribute} are not tensors")
        assert isinstance(value, dict)
        return {str(name): tensor for name, tensor in value.items()}

    def check_batch(self, attribute: str, tensors: dict[str, Tensor], batch_size: int | None) -> None:
        samples = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
        leading = {tensor.shape[0] for tensor in samples.values() if tensor.dim()}
        if batch_size is None or batch_size in leading:
            return
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in samples.items())
        raise UsageError(
            Problem(
                f"the batch size is {batch_size}, but {attribute} are {shapes}",
                self.line(attribute),
                hint=f"make {attribute} a function of the batch size: `def {attribute}(batch_size): ...`",
            )
        )

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        value: Any = getattr(self.source, "optimizer", None)
        if value is None or isinstance(value, torch.optim.Optimizer):
            return value
        if callable(value):
            make = value
            value = _call(lambda: make(model.parameters()), self.file, "calling optimizer(parameters)")
        if not isinstance(value, torch.optim.Optimizer):
            raise self.unusable(
                "optimizer", f"optimizer is of type {type(value).__name__}, not a torch.optim.Optimizer"
            )
        return value

    def loss(self) -> Callable[..., Tensor] | None:
        value: Callable[..., Tensor] | None = getattr(self.source, "loss", None)
        if value is not None and not callable(value):
            raise self.unusable("loss", f"loss is of type {type(value).__name__}, which cannot be called")
        return value

    def targets(self, loss: Callable[..., Tensor] | None, batch_size: int | None) -> dict[str, Tensor]:
        """What `loss` takes besides the outputs. Raises UsageError where it takes some and the file has none."""
        taken = _parameters(loss)[1:] if loss is not None else []
        needed = [parameter.name for parameter in taken if parameter.default is inspect.Parameter.empty]
        if getattr(self.source, "targets", None) is None:
            if not needed:
                return {}
            what = f"loss takes {', '.join(needed)}, but the file defines no targets"
            hint = f"write `{example('targets', needed[0])}`, or compile with --inference, which takes no loss"
            raise UsageError(Problem(what, self.line("loss"), hint))
        return self.tensors("targets", batch_size, [parameter.name for parameter in taken])

    def max_grad_norm(self) -> float | None:
        value = getattr(self.source, "max_grad_norm", None)
        if value is not None and (not isinstance(value, (int, float)) or value <= 0):
            raise self.unusable("max_grad_norm", f"max_grad_norm is {value!r}, which is not a number above 0")
        return None if value is None else float(value)

    def line(self, attribute: str) -> Location:
        """Where the file defines something, or what holds it; the first line where it does not."""
        return Location(self.file.name, definition_line(self.file, self.name or attribute))

    def missing(self, attribute: str, argument: str = "") -> UsageError:
        what = f"the file does not define {attribute!r}"
        return UsageError(Problem(what, self.line(attribute), remedy(attribute, argument)))

    def unusable(self, attribute: str, message: str) -> UsageError:
        return UsageError(Problem(message, self.line(attribute), remedy(attribute)))
