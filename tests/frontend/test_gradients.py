"""Training is PyTorch's own: what its autograd does with a model is what the program does, or there is a refusal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from backends.rdu.compile import BackendOptions, compile_program
from backends.rdu.machine import load_machine
from compiler.cli import main as snc
from compiler.frontend import recording
from compiler.frontend.assemble import Captured
from compiler.frontend.capture import capture
from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec, load_model
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.errors import CaptureError
from ir.graph import SectionKind, SymbolKind
from runtime.session import Session
from tests.frontend.reference import compare_inference, run

HERE = Path(__file__)


class Straight(torch.autograd.Function):  # type: ignore[misc]
    """Rounding, whose gradient is half of what comes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 0.5


class Parts(nn.Module):
    """Layers and buffers that the models below use."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", torch.zeros(()))
        self.plain = torch.ones(4)
        self.held = [self.student.weight]


def custom_backward(m: Parts, x: Tensor) -> Tensor:
    return Straight.apply(m.student(x)).square().mean()


def teacher_without_gradient(m: Parts, x: Tensor) -> Tensor:
    with torch.no_grad():
        wanted = m.norm(m.teacher(x))
    m.count += 1
    return (m.student(x) - wanted).square().mean()


@torch.no_grad()  # type: ignore[untyped-decorator]
def _taught(m: Parts, x: Tensor) -> Tensor:
    m.count.add_(1)
    return m.teacher(x)


def decorated(m: Parts, x: Tensor) -> Tensor:
    return (m.norm(m.student(x)) - _taught(m, x)).square().mean()


def switched(m: Parts, x: Tensor) -> Tensor:
    m.norm(x)
    torch.set_grad_enabled(False)
    wanted = m.teacher(x)
    torch.set_grad_enabled(True)
    return (m.student(x) * wanted).square().mean()


def tensor_hook(m: Parts, x: Tensor) -> Tensor:
    y = m.student(x)
    y.register_hook(lambda gradient: gradient * 3)
    return y.square().mean()


def hook_that_keeps(m: Parts, x: Tensor) -> Tensor:
    def keep(gradient: Tensor) -> None:
        m.count += gradient.abs().sum()

    y = m.student(x)
    y.register_hook(keep)
    return y.square().mean()


def module_hooks(m: Parts, x: Tensor) -> Tensor:
    return m.student(m.teacher(x)).square().mean()


def _hooked(m: Parts) -> None:
    m.student.register_full_backward_hook(lambda module, given, out: (given[0] * 2,))
    m.teacher.register_full_backward_pre_hook(lambda module, out: (out[0] * 0.5,))
    m.student.weight.register_hook(lambda gradient: gradient * 5)


def reentrant(m: Parts, x: Tensor) -> Tensor:
    y = checkpoint(lambda t: m.norm(torch.relu(m.student(t))), m.teacher(x), use_reentrant=True)
    return (y - x).square().mean()


def reentrant_without_gradient(m: Parts, x: Tensor) -> Tensor:
    """PyTorch gives the student no gradient: nothing that goes in asks for one."""
    return (checkpoint(m.student, x, use_reentrant=True) * m.teacher(x)).square().mean()


def not_reentrant(m: Parts, x: Tensor) -> Tensor:
    y = checkpoint(lambda t: m.norm(torch.relu(m.student(t))), m.teacher(x), use_reentrant=False)
    return (y - x).square().mean()


def several_losses(m: Parts, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = m.student(x)
    recon, kl = functional.mse_loss(y, x), y.square().mean()
    return recon + 4 * kl, recon, kl


def dict_of_losses(m: Parts, x: Tensor) -> dict[str, Tensor]:
    y = m.student(x)
    recon, kl = functional.mse_loss(y, x), y.square().mean()
    return {"recon": recon, "kl": kl, "loss": recon + 4 * kl}


def assigned_buffer(m: Parts, x: Tensor) -> Tensor:
    m.count = m.count + 1
    return (m.student(x) * m.count).square().mean()


def moving_average(m: Parts, x: Tensor) -> Tensor:
    with torch.no_grad():
        for mine, other in zip(m.teacher.parameters(), m.student.parameters()):
            mine.mul_(0.9).add_(other, alpha=0.1)
        wanted = m.teacher(x)
    return (m.student(x) - wanted).square().mean()


def moving_average_of_data(m: Parts, x: Tensor) -> Tensor:
    for mine, other in zip(m.teacher.parameters(), m.student.parameters()):
        mine.data = mine.data * 0.9 + other.data * 0.1
    return (m.student(x) - m.teacher(x).detach()).square().mean()


def gradient_penalty(m: Parts, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(torch.tanh(m.student(x)).sum(), x, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


def in_a_list(m: Parts, x: Tensor) -> Tensor:
    return (x @ m.held[0]).square().mean()


def sparse_table(m: Parts, x: Tensor) -> Tensor:
    rows = functional.embedding((x > 0).long()[:, 0], m.student.weight, sparse=True)
    return (rows * m.teacher(x)).square().mean()


def compiled_part(m: Parts, x: Tensor) -> Tensor:
    return torch.compile(m.student, backend="eager")(x).square().mean()


def functional_gradient(m: Parts, x: Tensor) -> Tensor:
    slopes = torch.func.vmap(torch.func.grad(lambda row: torch.tanh(m.student(row)).sum()))(x)
    return slopes.square().mean()


def in_place(m: Parts, x: Tensor) -> Tensor:
    y = m.student(x)
    y[:, 1:3] *= 2
    y[y > 0.5] = 0.25
    row = y[0]
    row.add_(1)
    return functional.relu_(y).square().mean()


MODELS: dict[str, tuple[Callable[[Parts, Tensor], Any], Callable[[Parts], None]]] = {
    function.__name__: (function, _hooked if function is module_hooks else lambda m: None)
    for function in (
        custom_backward, teacher_without_gradient, decorated, switched, tensor_hook, hook_that_keeps, module_hooks,
        reentrant, reentrant_without_gradient, not_reentrant, several_losses, dict_of_losses, assigned_buffer,
        moving_average, moving_average_of_data, gradient_penalty, in_a_list, in_place, compiled_part,
        sparse_table, functional_gradient,
    )
}  # fmt: skip


class Model(Parts):
    """One of the functions above as a model."""

    def __init__(self, function: Callable[[Parts, Tensor], Any], prepare: Callable[[Parts], None]) -> None:
        super().__init__()
        self.function = function
        prepare(self)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def spec_of(function: Callable[[Parts, Tensor], Any], prepare: Callable[[Parts], None] = lambda m: None) -> ModelSpec:
    """The same model and input every time: a copy would lose its hooks."""
    torch.manual_seed(3)
    model = Model(function, prepare)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return ModelSpec(model, {"x": torch.randn(5, 4)}, optimizer, file=HERE)


def loss_of(spec: ModelSpec) -> tuple[Tensor, list[Tensor]]:
    """The loss of a run in PyTorch, and all outputs in the program's order."""
    returned = spec.call(spec.model, spec.inputs)
    if isinstance(returned, dict):
        return returned["loss"], list(returned.values())
    outputs = list(returned) if isinstance(returned, tuple) else [returned]
    return outputs[0], outputs


@pytest.mark.parametrize("name", MODELS)
def test_training_equals_pytorch(name: str) -> None:
    captured = capture(spec_of(*MODELS[name]), inference=False)
    spec, symbols = spec_of(*MODELS[name]), dict(captured.values)
    names = [s.name for s in captured.program.symbols if s.kind is SymbolKind.OUTPUT]
    assert spec.optimizer is not None
    for step in range(3):
        run(captured.program.graphs, symbols)
        spec.optimizer.zero_grad()
        loss, outputs = loss_of(spec)
        loss.backward()
        for output, tensor in zip(names, outputs, strict=True):
            close(symbols[output], to_array(tensor), f"{output} in step {step}")
        gradients = {n: p.grad for n, p in spec.model.named_parameters() if p.grad is not None}
        made = {s.name for s in captured.program.symbols if s.kind is SymbolKind.GRADIENT}
        assert made == {f"{n}.grad" for n in gradients}
        for parameter, gradient in gradients.items():
            close(symbols[f"{parameter}.grad"], to_array(gradient.to_dense()), f"{parameter}.grad in step {step}")
        spec.optimizer.step()
        for n, tensor in (*spec.model.named_parameters(), *spec.model.named_buffers()):
            if n in symbols:
                close(symbols[n], to_array(tensor), f"{n} after step {step}")


def close(actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], name: str) -> None:
    """Within what rounding does to a batch norm of few samples."""
    scale = float(np.abs(expected).max(initial=0))
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-6 + 1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("function", [moving_average, hook_that_keeps, not_reentrant])
def test_what_forward_and_hooks_change_on_the_simulated_device(function: Callable[[Parts, Tensor], Any]) -> None:
    captured = capture(spec_of(function), inference=False)
    expected = dict(captured.values)
    run(captured.program.graphs, expected)
    program = PassManager(standard_pipeline("mp0")).run(captured.program)
    session = Session(compile_program(program, load_machine("sn30"), BackendOptions()))
    known = {symbol.name for symbol in program.symbols if symbol.kind is not SymbolKind.ACTIVATION}
    for name in known & set(captured.values):
        session.write(name, captured.values[name])
    session.run()
    changed = {output.symbol for graph in program.graphs for output in graph.outputs} & known
    assert changed & {"count", "teacher.weight", "norm.running_mean"}
    for name in changed:
        close(session.read(name), expected[name], name)


def refusal(function: Callable[[Parts, Tensor], Any], prepare: Callable[[Parts], None] = lambda m: None) -> str:
    with pytest.raises(CaptureError) as raised:
        capture(spec_of(function, prepare), inference=False)
    return str(raised.value)


def _line(text: str) -> int:
    """The line of this file that begins with a text."""
    return next(i for i, line in enumerate(HERE.read_text().splitlines(), 1) if line.strip().startswith(text))


def writes_what_is_no_buffer(m: Parts, x: Tensor) -> Tensor:
    m.plain += x.mean(0)
    return (m.student(x) * m.plain).square().mean()


def replaces_what_is_no_buffer(m: Parts, x: Tensor) -> Tensor:
    m.plain = m.plain * 0.9
    return (m.student(x) * m.plain).square().mean()


def no_gradient_at_all(m: Parts, x: Tensor) -> Tensor:
    return m.student(x).detach().sum()


def mistaken_call(m: Parts, x: Tensor) -> Tensor:
    return m.student()  # type: ignore[call-arg]


def larger_buffer(m: Parts, x: Tensor) -> Tensor:
    m.count = x.sum(0).detach()
    return m.student(x).sum()


def test_state_that_is_no_buffer_is_refused_at_its_line() -> None:
    line = _line("m.plain += x.mean(0)")
    assert f"test_gradients.py:{line}: forward writes into a tensor, float32[4], that is not a buffer" in refusal(
        writes_what_is_no_buffer
    )
    line = _line("m.plain = m.plain * 0.9")
    text = refusal(replaces_what_is_no_buffer)
    assert f"test_gradients.py:{line}: forward reads plain and then replaces it, which is not a buffer" in text
    assert "register it: self.register_buffer(name, tensor)" in text


class Adapting(nn.Module):
    """A step on the input's own loss before the prediction, and the forces that belong to it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            error = functional.linear(place, self.first.weight).square().mean()
            slope, force = torch.autograd.grad(error, [self.first.weight, place])
        return self.second(functional.linear(x, self.first.weight - 0.1 * slope)), force


def test_inference_may_turn_gradients_on() -> None:
    torch.manual_seed(1)
    spec = ModelSpec(Adapting(), {"x": torch.randn(6, 4)}, file=HERE)
    compare_inference(spec, capture(spec, inference=True))


def test_a_loss_without_a_gradient_is_refused() -> None:
    assert "depends on nothing that can be trained" in refusal(no_gradient_at_all)


def test_a_mistake_within_forward_is_no_mistake_about_inputs() -> None:
    text = refusal(mistaken_call)
    assert (
        f"test_gradients.py:{_line('return m.student()  #')}: PyTorch could not trace the model: Linear.forward()"
        in text
    )


def test_a_buffer_keeps_its_type() -> None:
    assert "forward changes the type of buffer count: float32[] becomes float32[4]" in refusal(larger_buffer)


def test_a_hook_after_the_gradient_is_refused() -> None:
    def prepare(m: Parts) -> None:
        m.student.weight.register_post_accumulate_grad_hook(lambda parameter: None)

    text = refusal(tensor_hook, prepare)
    assert "(student): parameter student.weight has a hook that runs after its gradient is complete" in text


class Tripled(nn.Parameter):
    """A parameter of a class that computes in its own way."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*arguments, **(named or {}))
        return result * 3 if function is torch.nn.functional.linear else result


class Doubled(Tensor):
    """A tensor of a class that computes in its own way."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = super().__torch_function__(function, types, arguments, named or {})
        return result * 2 if function is torch.sin else result


def doubled(m: Parts, x: Tensor) -> Tensor:
    return torch.sin(m.student(x).as_subclass(Doubled)).as_subclass(Tensor).mean()


def test_tensors_of_classes_that_compute_in_their_own_way_are_refused() -> None:
    def prepare(m: Parts) -> None:
        m.student.weight = Tripled(m.student.weight.detach())

    text = refusal(lambda m, x: m.student(x).mean(), prepare)
    assert "(student): parameter student.weight is of class Tripled, which computes in its own way" in text
    place = f"test_gradients.py:{_line('return torch.sin(m.student(x).as')}"
    assert f"{place}: forward computes with tensors of a class of its own" in refusal(doubled)


def hook_at_every_call(m: Parts, x: Tensor) -> Tensor:
    m.student.weight.register_hook(lambda gradient: gradient * 0.5)
    return m.student(x).square().mean()


def test_a_hook_that_every_call_adds_is_refused() -> None:
    text = refusal(hook_at_every_call)
    assert "(student): forward registers a hook on parameter student.weight, and every call would add another" in text


def in_another_thread(m: Parts, x: Tensor) -> Tensor:
    with ThreadPoolExecutor(1) as pool:
        y = pool.submit(lambda: x.mean(0)).result()
    return (m.student(x) - y).square().mean()


def test_what_another_thread_computes_is_refused() -> None:
    place = f"test_gradients.py:{_line('return (m.student(x) - y).square().mean()')}"
    assert f"{place}: forward uses a tensor, float32[4], that was not made in the thread" in refusal(in_another_thread)


def test_parameters_that_share_memory_are_refused() -> None:
    def prepare(m: Parts) -> None:
        m.teacher.weight = nn.Parameter(m.student.weight.data)

    text = refusal(module_hooks, prepare)
    assert "parameter teacher.weight shares memory with parameter student.weight" in text


def test_constants_that_share_memory_with_parameters_are_refused() -> None:
    def prepare(m: Parts) -> None:
        m.plain = m.student.bias.data

    assert "shares memory with parameter student.bias" in refusal(lambda m, x: (m.student(x) * m.plain).sum(), prepare)


def drop_in_checkpoint(m: Parts, x: Tensor) -> Tensor:
    return checkpoint(lambda t: m.drop(torch.exp(m.student(t))), x.exp(), use_reentrant=False).sum()


def test_a_checkpoint_draws_the_same_numbers_again() -> None:
    """The gradient goes where the forward mask let through: the loss is linear in what is dropped."""
    captured = capture(spec_of(drop_in_checkpoint), inference=False)
    hyper = {s.name for s in captured.program.symbols if s.kind is SymbolKind.HYPER}
    assert {name for name in hyper if name.startswith("drop")} == {"drop.p"}
    symbols = dict(captured.values)
    run(captured.program.graphs, symbols)
    model = spec_of(drop_in_checkpoint).model
    with torch.no_grad():
        kept = torch.exp(model.student(torch.from_numpy(symbols["x"]).exp())).numpy()
    assert symbols["student.bias.grad"].sum() == pytest.approx(float(symbols["loss"]), rel=1e-5)
    assert float(symbols["loss"]) != pytest.approx(float(kept.sum()), rel=1e-3)


def places(captured: Captured, kind: SectionKind) -> set[tuple[str, int, str]]:
    graph = captured.program.graph(kind)
    assert graph is not None
    return {(node.op.name, node.location.line, node.location.module) for node in graph.nodes}


def test_nodes_of_custom_backwards_and_hooks_have_their_own_lines() -> None:
    backward = places(capture(spec_of(custom_backward), inference=False), SectionKind.BCKWD)
    assert ("mul", _line("return gradient * 0.5"), "") in backward
    hooked = places(capture(spec_of(tensor_hook), inference=False), SectionKind.BCKWD)
    assert ("mul", _line("y.register_hook(lambda gradient: gradient * 3)"), "") in hooked
    line = _line("return m.student(m.teacher(x)).square().mean()")
    assert ("matmul", line, "teacher") in places(capture(spec_of(module_hooks), inference=False), SectionKind.BCKWD)


def caches(m: Parts, x: Tensor) -> Tensor:
    m.last = x
    m.extra = nn.Linear(4, 4)
    return m.student(x).sum()


@contextlib.contextmanager
def as_before(model: nn.Module) -> Iterator[None]:
    """Nothing that the model holds changes."""
    before = dict(vars(model))
    tensors = {n: t.clone() for n, t in (*model.named_parameters(), *model.named_buffers())}
    random = torch.get_rng_state()
    yield
    assert vars(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    for n, tensor in (*model.named_parameters(), *model.named_buffers()):
        assert torch.equal(tensor, tensors[n])
        assert tensor.grad is None


@pytest.mark.parametrize("function", [caches, teacher_without_gradient, moving_average_of_data])
def test_tracing_leaves_the_model_as_it_was(function: Callable[[Parts, Tensor], Any]) -> None:
    spec = spec_of(function)
    with as_before(spec.model):
        capture(spec, inference=False)


def test_several_scalars_start_from_the_loss_alone() -> None:
    captured = capture(spec_of(several_losses), inference=False)
    starts = [s.name for s in captured.program.symbols if s.kind is SymbolKind.OUTPUT_GRADIENT]
    assert captured.losses == ("loss",)
    assert starts == ["loss.grad"]
    assert capture(spec_of(dict_of_losses), inference=False).losses == ("loss",)


SEVERAL: dict[str, tuple[Callable[[Tensor, Tensor], Any], tuple[str, ...]]] = {
    "a total and its parts": (lambda a, b: (a + 2 * b, a, b), ("loss",)),
    "parts and then the total": (lambda a, b: {"recon": a, "kl": b, "total": a + 2 * b}, ("total",)),
    "a loss and its perplexity": (lambda a, b: (a, a.exp()), ("loss",)),
    "two losses of two networks": (lambda a, b: {"generator": a, "critic": b}, ("generator", "critic")),
    "a loss and predictions": (lambda a, b: (a, b.expand(3)), ("loss",)),
    "no loss": (lambda a, b: (a.expand(3), b.expand(3)), ("output", "output_1")),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_where_a_program_starts_that_does_not_say(name: str) -> None:
    """The SDK's rule: losses start from ones, and what a loss is made of or what is made of it does not count twice."""
    form, expected = SEVERAL[name]

    def function(m: Parts, x: Tensor) -> Any:
        return form(functional.mse_loss(m.student(x), x), m.teacher(x).square().mean())

    spec = spec_of(function)
    given = ModelSpec(spec.model, spec.inputs, file=HERE, every_gradient=True)
    captured = capture(given, inference=False)
    assert captured.losses == expected
    starts = {s.name for s in captured.program.symbols if s.kind is SymbolKind.OUTPUT_GRADIENT}
    assert {n for n in starts if np.all(captured.values[n] == 1)} == {f"{n}.grad" for n in expected}


VAE = """import torch
from torch import nn

class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc(x)
        recon, kl = (y - x).square().mean(), y.square().mean()
        return recon + 0.1 * kl, recon, kl

model = Vae
optimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.1)
inputs = (torch.randn(8, 4),)
"""


def test_compiling_tells_where_gradients_start(tmp_path: Path) -> None:
    file = tmp_path / "vae.py"
    file.write_text(VAE)
    result = CliRunner().invoke(snc, ["compile", str(file), "--output-folder", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "gradients start from ones at loss\n" in result.output


VALUES = """import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc(x)
        s = torch.linalg.svdvals(y)
        z = torch.nonzero(y > 0)
        w = torch.unique(x)
        if y.sum() > 0:
            y = -y
        return y.sum() + s.sum() + z.sum() + w.sum()

model = Net
inputs = (torch.randn(2, 4),)
"""


def test_a_refusal_is_lines_of_our_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Everything after the first thing that depends on values is checked too, and PyTorch prints nothing above it."""
    file = tmp_path / "net.py"
    file.write_text(VALUES)
    with pytest.raises(CaptureError) as raised:
        capture(load_model(str(file)), inference=False)
    lines = [str(problem.where) for problem in raised.value.problems]
    assert [line.partition(" ")[0] for line in lines] == ["net.py:11", "net.py:12", "net.py:13", "net.py:14"]
    assert capfd.readouterr() == ("", "")


def one_gradient_for_all(m: Parts, x: Tensor) -> Tensor:
    """PyTorch copies a gradient that several parameters have."""
    return (x + m.student.bias + m.teacher.bias + m.norm.bias).square().sum()


def test_copied_gradients_do_not_need_a_second_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "functionalize", None)
    captured = capture(spec_of(one_gradient_for_all), inference=False)
    symbols = dict(captured.values)
    run(captured.program.graphs, symbols)
    spec = spec_of(one_gradient_for_all)
    loss_of(spec)[0].backward()
    for name in ("student.bias", "teacher.bias", "norm.bias"):
        expected = spec.model.get_parameter(name).grad
        assert expected is not None
        close(symbols[f"{name}.grad"], to_array(expected), name)
