"""A model run once as PyTorch runs it, with PyTorch's own autograd, while everything computed is recorded.

What eager PyTorch does is what is recorded: custom backward functions, hooks, parts without gradients, checkpoints that
run again, tensors changed in place, and modules that assign new tensors to their buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import (
    disable_proxy_modes_tracing,
    get_proxy_mode,
    get_proxy_slot,
    make_fx,
    set_proxy_slot,
)
from torch.utils import _pytree as pytree

from compiler.frontend.assignment import Assignments
from compiler.frontend.dtypes import has_content
from compiler.frontend.host_random import standing, standing_of_own
from compiler.frontend.interception import Interception
from compiler.frontend.joint import Joint, Placeholder, Role
from compiler.frontend.locations import Locator
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.module_state import Attributes, Holdings, lent
from compiler.frontend.recording import FIRST_SEED, Recorder, functional, take_write_backs
from compiler.frontend.returned import say_left_out, tensors_in
from compiler.frontend.starts import Result, losses, output_names, the_loss
from compiler.frontend.state import Surroundings
from compiler.frontend.unheard import (
    check_classes,
    check_constants,
    check_hooks,
    check_modules,
    check_sources,
    check_threads,
    hooks_on,
    no_steps_of,
)
from ir.errors import CaptureError, Problem

STATE = (Role.PARAMETER, Role.BUFFER)
Decompositions = Mapping[Any, Callable[..., Any]]


@dataclass
class Made:
    """What a run has made: outputs, those of them that gradients may be given for, with the nodes that stand for these,
    those that are losses, the tensors that the model assigned to its buffers, and those that have gradients."""

    results: list[Result] = field(default_factory=list)
    starts: dict[int, fx.Node] = field(default_factory=dict)
    losses: list[int] = field(default_factory=list)
    assigned: list[Placeholder] = field(default_factory=list)
    trained: list[Placeholder] = field(default_factory=list)


class EagerRun:
    """Runs a model under `make_fx`, on stand-ins for its tensors."""

    def __init__(
        self, spec: ModelSpec, locator: Locator, *, inference: bool, surroundings: Surroundings | None = None
    ) -> None:
        self.spec = spec
        self.surroundings = surroundings
        self.inference = inference
        self.locator = locator
        self.recorder = Recorder(locator.start)
        self.interception = Interception(locator, self.recorder, spec.model, EagerRun.run.__code__)
        given = (*spec.inputs.items(), *spec.targets.items())
        self.sources = [
            *(Placeholder(name, Role.INPUT, tensor) for name, tensor in given),
            *(Placeholder(name, Role.PARAMETER, tensor) for name, tensor in spec.model.named_parameters()),
            *(Placeholder(name, Role.BUFFER, tensor) for name, tensor in spec.model.named_buffers()),
        ]
        self.made = Made()
        self.replaced: Mapping[int, str] = {}
        self.left_out: list[str] = []
        self.left_behind: Sequence[tuple[str, str]] = ()
        self.left_elsewhere: Sequence[str] = ()
        self.draws_on_host = self.draws_from_its_own = self.takes_items = False
        self.hollow: Mapping[int, Tensor] = {}

    def joint(self, stand_in: Callable[[Tensor], Tensor], decompositions: Decompositions) -> Joint:
        """The joint graph, traced on what `stand_in` makes of each of the model's tensors."""
        check_modules(self.spec.model, self.locator)
        check_classes(self.sources, self.locator)
        if not self.inference:
            check_sources(self.sources, self.locator)
        values = [stand_in(source.tensor) for source in self.sources]
        held = Holdings(self.spec.model).tensors()
        self.hollow = {id(tensor): stand_in(tensor) for tensor in held if not has_content(tensor)}
        drawn, own = standing(), standing_of_own(self.spec.model)
        module = make_fx(self.run, decomposition_table=decompositions, tracing_mode="real")(*values)
        self.draws_on_host = standing() != drawn
        self.draws_from_its_own = standing_of_own(self.spec.model) != own
        taken = {source.name for source in self.sources}
        names = output_names(self.made.results, self.spec.loss is not None, taken)
        sources = [*self.sources, *self.tangents(module.graph, names), *_lifted_constants(module)]
        values += [_like_others(source.tensor, values) for source in sources[len(values) :]]
        traced, recorder = functional(module, self.recorder, values, decompositions)
        return self.assembled(traced.graph, recorder, sources, names)

    def run(self, *arguments: Tensor) -> list[Tensor]:
        """Of stand-ins for the sources: the model's outputs, what it assigned to its buffers, and gradients."""
        leaves = [self.leaf(argument, source) for argument, source in zip(arguments, self.sources)]
        hooks = hooks_on(leaves)
        own = {id(s.tensor): leaf for s, leaf in zip(self.sources, leaves) if s.role in STATE}
        replacements = {**self.hollow, **own}
        held_by = holders(self.spec.model)
        assignments = Assignments()
        with (
            torch.random.fork_rng(devices=[]),
            lent(self.spec.model, replacements) as held,
            self.interception.active(),
            assignments,
            no_steps_of({id(source.tensor) for source in self.sources}, self.fail),
        ):
            torch.default_generator.manual_seed(FIRST_SEED)
            attributes = Attributes(self.spec.model)
            self.made = Made(self.called(leaves))
            say_left_out(self.left_out)
            self.differentiate()
            assigned = [
                (source, self.current(source, leaf, held_by[id(source.tensor)]))
                for source, leaf in zip(self.sources, leaves)
                if source.role in STATE
            ]
            check_hooks(self.sources, hooks, hooks_on(leaves), self.locator)
            self.replaced = held.replaced()
            self.left_behind = attributes.changed()
            if self.surroundings is not None:
                self.left_elsewhere = self.surroundings.changed()
                self.takes_items = self.surroundings.takes_from_iterators()
        self.recorder.flush()
        self.forget_foreign_gradients(leaves)
        changed = [
            (source, tensor)
            for (source, tensor), leaf in zip(assigned, leaves[-len(assigned) :])
            if tensor is not leaf or leaf in assignments.assigned
        ]
        self.made.assigned = [source for source, _ in changed]
        graded = [(source, leaf.grad) for source, leaf in zip(self.sources, leaves) if leaf.grad is not None]
        trained = [] if self.inference else graded
        self.made.trained = [source for source, _ in trained]
        outputs = [result.tensor for result in self.made.results]
        return [*outputs, *(tensor for _, tensor in changed), *(gradient for _, gradient in trained)]

    def leaf(self, argument: Tensor, source: Placeholder) -> Tensor:
        """What the model computes with in place of a tensor: a leaf with its hooks, if it has gradients."""
        learns = source.tensor.requires_grad  # so it does for inference too, where forward may turn gradients on
        with disable_proxy_modes_tracing():
            leaf = argument.detach()
            if isinstance(source.tensor, nn.Parameter):
                leaf = nn.Parameter(leaf, learns)
        tracer = get_proxy_mode().tracer
        set_proxy_slot(leaf, tracer, get_proxy_slot(argument, tracer))
        leaf.requires_grad_(learns)
        if learns and source.tensor._backward_hooks:
            leaf.register_hook(lambda gradient: _hooked(source.tensor, gradient))
        return leaf

    def called(self, leaves: Sequence[Tensor]) -> list[Result]:
        """What the model returns, the loss first where the model file computes it."""
        spec = self.spec
        inputs = dict(zip(spec.inputs, leaves))
        targets = leaves[len(inputs) : len(inputs) + len(spec.targets)]
        outputs = spec.call(spec.model, inputs)
        found = tensors_in(outputs, self.left_out.append)
        if spec.loss is not None:
            found = (spec.loss(outputs, *targets), found)
        self.recorder.flush()
        return [
            Result(_key(path), tensor, any(tensor is loss for loss in self.interception.losses))
            for path, tensor in pytree.tree_flatten_with_path(found)[0]
        ]

    def differentiate(self) -> None:
        """Run the backward pass, from every output that gradients may be given for."""
        if self.inference:
            return
        self.interception.backward = True
        made, results = self.made, self.made.results
        if not any(result.tensor.is_floating_point() for result in results):
            self.fail(
                "the model returns no floating-point tensor to differentiate",
                "return the loss first from forward, define `loss` in the model file, or compile for inference",
            )
        if self.spec.every_gradient:
            made.losses = losses(results)
            starts = [i for i, result in enumerate(results) if result.is_differentiable]
        else:
            starts = made.losses = the_loss(results)
            if not starts:
                self.fail(
                    "the loss, which is the first output, depends on nothing that can be trained",
                    "return the loss first, not detached and not made under torch.no_grad(); or compile for inference",
                )
        seeds = [torch.ones(t.shape, dtype=t.dtype, device=t.device) for t in (results[i].tensor for i in starts)]
        made.starts = {i: _node(seed) for i, seed in zip(starts, seeds)}
        self.recorder.flush()
        if starts:
            torch.autograd.backward([results[i].tensor for i in starts], seeds)

    def gradients(self, results: list[Result], leaves: Sequence[Tensor]) -> list[Tensor]:
        """The gradients that a call with these results gives to its leaves; none for inference."""
        if self.inference:
            return []
        self.made = Made(results)
        self.differentiate()
        self.interception.backward = False
        self.forget_foreign_gradients(leaves)
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    def forget_foreign_gradients(self, leaves: Sequence[Tensor]) -> None:
        """Tensors that are not the model's have the gradients that they had before."""
        stand_ins = set(map(id, leaves))
        for leaf, gradient in self.interception.foreign.items():
            if id(leaf) not in stand_ins:
                leaf.grad = gradient

    def fail(self, what: str, hint: str) -> NoReturn:
        """Raise CaptureError at the line that ran last."""
        raise CaptureError(Problem(what, self.recorder.location, hint))

    def current(self, source: Placeholder, leaf: Tensor, holders: Sequence[tuple[str, nn.Module, str]]) -> Tensor:
        """The tensor that the model's modules hold in the end in place of a leaf. Raises CaptureError for one of
        another type."""
        found = [getattr(module, f"_{source.role.value}s").get(name) for _, module, name in holders]
        tensor = found[0] if found else leaf
        path = holders[0][0] if holders else ""
        where = self.locator.location(None, path, None)
        kind = f"{source.role.value} {source.name}"
        if any(other is not tensor for other in found) or not isinstance(tensor, Tensor):
            what = f"after forward, {kind} is not one tensor in all modules that hold it"
            raise CaptureError(Problem(what, where, "write into it: buffer.copy_(value)"))
        if tensor.shape != leaf.shape or tensor.dtype != leaf.dtype:
            what = f"forward changes the type of {kind}: {_type(leaf)} becomes {_type(tensor)}"
            raise CaptureError(Problem(what, where, "keep its shape and element type: what is compiled is fixed"))
        return tensor

    def tangents(self, graph: fx.Graph, names: Sequence[str]) -> list[Placeholder]:
        """Placeholders in place of the nodes that stand for the gradients of outputs."""
        found = []
        for i, node in self.made.starts.items():
            placeholder = _new_placeholder(graph, f"tangent_{i}")
            placeholder.meta = dict(node.meta)
            node.replace_all_uses_with(placeholder)
            graph.erase_node(node)
            found.append(Placeholder(f"{names[i]}.grad", Role.TANGENT, node.meta["val"]))
        return found

    def assembled(self, graph: fx.Graph, recorder: Recorder, sources: Sequence[Placeholder], names: list[str]) -> Joint:
        """The joint graph with what the model leaves in its buffers as results, and without nodes that nothing uses."""
        made = self.made
        placeholders = dict(zip((node for node in graph.nodes if node.op == "placeholder"), sources))
        written = {placeholders[node]: value for node, value in take_write_backs(graph).items()}
        check_constants(placeholders, written, self.sources, self.replaced, self.locator, recorder.locations)
        check_threads(placeholders, self.sources, self.locator, recorder.locations)
        result = next(node for node in graph.nodes if node.op == "output")
        outputs, rest = result.args[0][: len(names)], result.args[0][len(names) :]
        assigned = dict(zip(made.assigned, rest))
        mutated = {
            source: assigned.get(source, written.get(source))
            for source in self.sources
            if source.role in STATE and (source in assigned or source in written)
        }
        result.args = ([*outputs, *mutated.values(), *rest[len(assigned) :]],)
        graph.eliminate_dead_code()  # before lowering, so that unused operators need no support
        return Joint(
            graph=graph,
            placeholders=tuple(sources),
            outputs=tuple(names),
            mutated=tuple(source.name for source in mutated),
            gradients=tuple(source.name for source in made.trained),
            losses=tuple(names[i] for i in made.losses),
            locations=recorder.locations,
            start=self.locator.start,
            draws=recorder.draws,
        )


def _hooked(tensor: Tensor, gradient: Tensor) -> Tensor:
    """A gradient after the hooks that a tensor has by now: some remove themselves."""
    for hook in list((tensor._backward_hooks or {}).values()):
        found = hook(gradient)
        gradient = gradient if found is None else found
    return gradient


def _key(path: Sequence[Any]) -> str:
    """The dict keys on the way to an output, joined by dots."""
    return ".".join(str(entry.key) for entry in path if isinstance(entry, pytree.MappingKey))


def _like_others(tensor: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The tensor; ones in place of one without content where all others are no fake tensors."""
    if not isinstance(tensor, FakeTensor) or any(isinstance(other, FakeTensor) for other in others):
        return tensor
    return torch.ones(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def _node(tensor: Tensor) -> fx.Node:
    """The node that made a tensor."""
    return get_proxy_slot(tensor, get_proxy_mode().tracer).proxy.node


def holders(model: nn.Module) -> dict[int, list[tuple[str, nn.Module, str]]]:
    """By the id of a parameter or buffer: the modules that hold it, with their paths and their names for it."""
    found: dict[int, list[tuple[str, nn.Module, str]]] = {}
    for path, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    found.setdefault(id(tensor), []).append((path, module, name))
    return found


def _lifted_constants(module: fx.GraphModule) -> list[Placeholder]:
    """Further placeholders in place of the tensors that the graph holds."""
    lifted: dict[str, tuple[fx.Node, Placeholder]] = {}
    for node in module.graph.find_nodes(op="get_attr"):
        if node.target not in lifted:
            tensor = getattr(module, node.target)
            placeholder = _new_placeholder(module.graph, f"constant_{len(lifted)}")
            placeholder.meta = dict(node.meta)
            placeholder.meta.setdefault("val", tensor)
            role = Role.CONSTANT if has_content(tensor) else Role.BUFFER
            lifted[node.target] = placeholder, Placeholder(placeholder.name, role, tensor)
        node.replace_all_uses_with(lifted[node.target][0])
        module.graph.erase_node(node)
    module.recompile()
    return [placeholder for _, placeholder in lifted.values()]


def _new_placeholder(graph: fx.Graph, name: str) -> fx.Node:
    """A placeholder after all others."""
    others = [node for node in graph.nodes if node.op == "placeholder"]
    with graph.inserting_after(others[-1]) if others else graph.inserting_before(None):
        return graph.placeholder(name)


def _type(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
