"""What a model file defines, said once: `snc compile --help` and every error about a model file show it from here."""

from __future__ import annotations

MODEL_FILE = {
    "model": "an nn.Module, or a callable without arguments that returns one, such as its class",
    "inputs": "sample tensors: a dict name -> tensor or a tuple in the order of forward's parameters, or a function "
    "inputs(batch_size) that returns one. Only shapes and element types matter",
    "optimizer": "for training: a torch.optim.Optimizer over model.parameters(), or a function of the parameters that "
    "returns one",
    "loss": "for training, where forward does not return the loss first or as `loss` of a dict: a function "
    "loss(outputs, *targets) of what forward returns",
    "targets": "what loss takes besides the outputs, given the way inputs are",
    "max_grad_norm": "a positive number: clip the global norm of the gradients to it",
}
"""Each name that a model file may define, with what it is. `model` and `inputs` are required."""

EXAMPLES = {
    "model": "model = MyModule",
    "inputs": "def inputs(batch_size=32): return {{'{name}': torch.randn(batch_size, 64)}}",
    "optimizer": "def optimizer(parameters): return torch.optim.AdamW(parameters, lr=1e-3)",
    "loss": "def loss(outputs, {name}): return torch.nn.functional.cross_entropy(outputs, {name})",
    "targets": "def targets(batch_size=32): return {{'{name}': torch.zeros(batch_size, dtype=torch.long)}}",
    "max_grad_norm": "max_grad_norm = 1.0",
}


def example(name: str, argument: str = "") -> str:
    """A line that defines `name`, to start from; `argument` names the tensor in it."""
    return EXAMPLES[name].format(name=argument or ("label" if name in ("loss", "targets") else "x"))


def remedy(name: str, argument: str = "") -> str:
    """What to write for a definition that is missing or unusable: an example, and what it may be."""
    return f"write `{example(name, argument)}` ({name}: {MODEL_FILE[name]})"


def table(width: int = 76) -> str:
    """The convention as lines of at most `width` columns, for `--help`."""
    import textwrap

    lines = []
    for name, what in MODEL_FILE.items():
        lines += textwrap.wrap(what, width, initial_indent=f"  {name:15}", subsequent_indent=" " * 17)
    return "\n".join(lines)
