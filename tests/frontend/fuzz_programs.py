"""Random small PyTorch modules, as the text of model files: every program is what its seed makes it.

A program is a chain of statements over tensors of [SAMPLES, WIDTH], drawn from what people write: layers, arithmetic,
views, changes in place, parts without gradients, functions with a backward of their own, hooks, checkpoints, buffers
that are written or assigned, shared and frozen parameters, and several outputs.
"""

from __future__ import annotations

import random
from collections.abc import Callable

SAMPLES, WIDTH = 5, 4

HEAD = '''"""Seed {seed}."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 0.5


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, gradient):
        x, y = ctx.saved_tensors
        return gradient * torch.tanh(y), gradient * x if ctx.needs_input_grad[1] else None


class Largest(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        values, places = x.max(1, keepdim=True)
        ctx.mark_non_differentiable(places)
        ctx.save_for_backward(x)
        return x - values, places

    @staticmethod
    def backward(ctx, gradient, _):
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3


@torch.no_grad()
def without_gradient(module, x):
    return module(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))
        self.scale, self.shift = (nn.Parameter(torch.rand(4) + 0.5) for _ in range(2))
        self.batch = nn.BatchNorm1d(4)
        self.layer = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.recurrent = nn.GRU(4, 4, batch_first=True)
        self.convolution = nn.Conv1d(1, 1, 3, padding=1)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.rand(4))
        self.parameters_held = [self.scale, self.shift]
{init}

    def forward(self, x, y):
{body}


model = Model
inputs = {{"x": torch.rand(5, 4) - 0.3, "y": torch.rand(5, 4) - 0.3}}
'''


class Program:
    """The text of the program of a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.names = ["x", "y"]
        self.init: list[str] = []
        self.body: list[str] = []

    def text(self) -> str:
        """The model file."""
        for statement in self.random.sample(INIT, self.random.randint(0, 3)):
            self.init.append(statement)
        self.say(f"h0 = self.{self.layer()}(x)")
        self.names.append("h0")
        for _ in range(self.random.randint(2, 7)):
            self.random.choice(STATEMENTS)(self)
        self.finish()
        lines = ["\n".join(f"        {line}" for line in part) for part in (self.init, self.body)]
        return HEAD.format(seed=self.seed, init=lines[0], body=lines[1])

    def say(self, *lines: str) -> None:
        """Further lines of forward."""
        self.body.extend(lines)

    def new(self, expression: str) -> None:
        """A new tensor."""
        name = f"h{len(self.names)}"
        self.say(f"{name} = {expression}")
        self.names.append(name)

    def any(self) -> str:
        """One of the tensors so far, rather a late one."""
        return self.random.choice(self.names[-4:])

    def layer(self) -> str:
        """The name of a module from tensors to tensors."""
        return self.random.choice(["first", "second", "third", "batch", "layer"])

    def finish(self) -> None:
        """Return losses and tensors in one of several ways."""
        parts = [self.names[-1], self.any(), self.any()]
        learned = " + h0.square().mean() * 0.1" if self.random.random() < 0.8 else ""
        self.say(f"fit = functional.mse_loss({parts[0]}, y){learned}")
        self.say(f"rest = ({parts[1]} * 0.5).square().mean() + {parts[2]}.mean() * 0.1")
        self.say(self.random.choice(RETURNS).replace("HIDDEN", self.any()))


def _line(*choices: str) -> Callable[[Program], None]:
    """A statement that makes a new tensor of A, B (tensors) and L (a module)."""

    def say(program: Program) -> None:
        text = program.random.choice(choices)
        program.new(text.replace("A", program.any()).replace("B", program.any()).replace("L", program.layer()))

    return say


def _block(*choices: str) -> Callable[[Program], None]:
    """Lines, of which NEW is a new tensor."""

    def say(program: Program) -> None:
        text = program.random.choice(choices)
        name = f"h{len(program.names)}"
        text = text.replace("NEW", name).replace("L", program.layer())
        program.say(*text.replace("A", program.any()).replace("B", program.any()).split("\n"))
        program.names.append(name)

    return say


STATEMENTS: list[Callable[[Program], None]] = [
    _line("self.L(A)", "self.L(torch.tanh(A))", "self.L(A) + A"),
    _line("torch.tanh(A)", "torch.relu(A)", "torch.softmax(A, 1)", "torch.sin(A)", "functional.gelu(A)", "A.abs()"),
    _line("A + B", "A * B", "A - B", "torch.where(A > 0, A, B)", "torch.maximum(A, B)", "A / (B.abs() + 1)"),
    _line("A * self.scale", "A + self.shift", "A * self.parameters_held[0]", "functional.linear(A, self.first.weight)"),
    _line("A - A.mean(0, keepdim=True)", "A.flip(1)", "torch.cat([A[:, :2], B[:, 2:]], 1)", "A.t().reshape(5, 4)",
          "torch.stack([A, B]).sum(0)", "A[torch.tensor([4, 2, 0, 1, 1])]", "A.cumsum(1) * 0.5"),
    _line("A.detach()", "A.data * 2", "A.detach() * B", "A + (B - B.detach())", "without_gradient(self.L, A)"),
    _line("Straight.apply(A)", "Reversed.apply(A)", "Product.apply(A, B)", "Largest.apply(A)[0]",
          "Doubled.apply(A + 0)", "Straight.apply(self.L(A)) * B"),
    _line("self.attention(A[None], B[None], B[None])[0][0]", "self.recurrent(A[None])[0][0]",
          "self.convolution(A[:, None])[:, 0]", "functional.dropout(A, 0.0)"),
    _line("A * self.mean", "A + self.count", "A - self.batch.running_mean"),
    _block("NEW = A + 0\nNEW.mul_(0.5)", "NEW = A * 1\nNEW[:, 1] = B[:, 0]", "NEW = A * 1\nNEW[0].add_(1)",
           "NEW = A * 2\nNEW += B", "NEW = A * 1\npart = NEW[:, 1:3]\npart.tanh_()",
           "NEW = A * 1\nNEW[NEW > 0.5] = 0.1",
           "NEW = A * 1\nNEW.clamp_(-0.5, 0.5)", "NEW = A * 1\nfunctional.relu_(NEW)",
           "NEW = A.clone()\nNEW.view(-1)[::3] *= self.scale[0]", "NEW = A * 1\nNEW.masked_fill_(B > 0, 0.25)",
           "NEW = torch.zeros(5, 4)\nNEW[1:] = A[1:]\nNEW[0].copy_(B[1])"),
    _block("with torch.no_grad():\n    NEW = self.L(A)", "with torch.no_grad():\n    NEW = A * B\nNEW = NEW + A",
           "with torch.no_grad():\n    with torch.enable_grad():\n        NEW = self.L(A)",
           "torch.set_grad_enabled(False)\nNEW = self.L(A)\ntorch.set_grad_enabled(True)",
           "with torch.set_grad_enabled(self.count.dim() == 1):\n    NEW = A * self.scale"),
    _block("NEW = A * 1\nif NEW.requires_grad:\n    NEW.register_hook(lambda gradient: gradient * 2)",
           "NEW = A * 1\nif NEW.requires_grad:\n    NEW.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))",
           "NEW = A * 1\nif NEW.requires_grad:\n    NEW.register_hook(lambda gradient: None)"),
    _block("self.count += 1\nNEW = A * 1", "self.count = self.count + 1\nNEW = A / (self.count + 1)",
           "self.mean.mul_(0.9).add_(A.detach().mean(0), alpha=0.1)\nNEW = A - self.mean",
           "self.mean = 0.9 * self.mean + 0.1 * A.detach().mean(0)\nNEW = A * self.mean",
           "NEW = A - self.mean\nwith torch.no_grad():\n    self.mean.copy_(A.mean(0))",
           "with torch.no_grad():\n    self.mean += self.scale * 0.1\nNEW = A * self.mean"),
    _block("NEW = checkpoint(lambda t: torch.tanh(self.L(t)), A, use_reentrant=False)",
           "NEW = checkpoint(lambda t: self.L(torch.relu(t)) * t, A, use_reentrant=True)",
           "NEW = checkpoint(lambda t, u: self.first(t) * self.L(u), A, B, use_reentrant=False)",
           "NEW = checkpoint(self.L, A, use_reentrant=True)"),
    _block("(slope,) = torch.autograd.grad(torch.tanh(self.first(A)).sum(), self.first.weight, create_graph=True,"
           " allow_unused=True)\nNEW = A * slope.sum(0)",
           "leaf = A.detach().requires_grad_()\n(slope,) = torch.autograd.grad((leaf * self.scale).sin().sum(), leaf,"
           " create_graph=True)\nNEW = A + slope"),
    _block("with torch.no_grad():\n    self.third.weight.mul_(0.9).add_(self.first.weight, alpha=0.1)\n"
           "NEW = self.third(A)",
           "self.third.weight.data = self.third.weight.data * 0.9 + self.first.weight.data * 0.1\nNEW = self.third(A)",
           "self.third.bias.data.clamp_(-0.1, 0.1)\nNEW = self.third(A)"),
    _block("NEW = A\nfor _ in range(2):\n    NEW = self.second(NEW) + self.shift"),
]  # fmt: skip
"""Every kind of statement is as likely as any other."""

INIT = [
    "self.second.weight = self.first.weight",
    "self.third.bias = self.first.bias",
    "self.first.requires_grad_(False)",
    "self.third.weight.requires_grad_(False)",
    "self.scale.requires_grad_(False)",
    "self.batch.eval()",
    "self.first.register_full_backward_hook(lambda m, given, out: tuple(g if g is None else g * 2 for g in given))",
    "self.second.register_full_backward_pre_hook(lambda m, out: (out[0] * 0.5,))",
    "self.third.register_forward_hook(lambda m, given, out: out * 2)",
    "self.second.register_forward_pre_hook(lambda m, given: (given[0] * 0.5,))",
    "self.scale.register_hook(lambda gradient: gradient * 10) if self.scale.requires_grad else None",
]
"""What a constructor may do further."""

RETURNS = [
    "return fit",
    "return fit + rest",
    "return fit + 0.3 * rest, fit, rest",
    "return fit + rest, HIDDEN",
    "return {'loss': fit + rest, 'hidden': HIDDEN, 'fit': fit}",
    "return {'hidden': HIDDEN.detach(), 'loss': fit}",
    "return (fit * 2, None, (HIDDEN, 3))",
    "return rest",
]
