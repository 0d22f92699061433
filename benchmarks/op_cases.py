"""The operators that `benchmarks.ops` measures, by family, at the sizes of ResNet- and GPT-like models.

A case is a function of tensors in PyTorch's own words. With `gradient`, its gradients are a row of their own, with
respect to the operands that `learned` names by position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Operands = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class OpCase:
    """An operator at one size. `is_random`: its results are drawn, so that only their share of zeros compares."""

    family: str
    name: str
    function: Callable[..., Tensor]
    operands: Operands
    gradient: bool = False
    learned: tuple[int, ...] = (0,)
    is_random: bool = False


class OpModule(nn.Module):
    """A case as a model: the learned operands are its parameters, the others its inputs x0, x1, ..."""

    def __init__(self, case: OpCase, operands: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.function = case.function
        self.learned = case.learned if case.gradient else ()
        self.weights = nn.ParameterList(operands[position] for position in self.learned)
        self.inputs = {f"x{i}": x for i, x in enumerate(operands) if i not in self.learned}
        self.count = len(operands)

    def forward(self, *given: Tensor) -> Tensor:
        """The function of parameters and inputs, in the order of the operands."""
        learned, others = iter(self.weights), iter(given)
        return self.function(*(next(learned if i in self.learned else others) for i in range(self.count)))


def module_of(case: OpCase) -> OpModule:
    """The case as a model, the same in every process."""
    torch.manual_seed(0)
    return OpModule(case, case.operands())


def _normal(*shapes: tuple[int, ...]) -> Operands:
    return lambda: tuple(torch.randn(shape) for shape in shapes)


def _uniform(*shapes: tuple[int, ...]) -> Operands:
    """Numbers between 0.05 and 0.95."""
    return lambda: tuple(0.05 + 0.9 * torch.rand(shape) for shape in shapes)


def _indexed(shape: tuple[int, ...], extent: int, *index: int) -> Operands:
    """A tensor and indices below `extent`."""
    return lambda: (torch.randn(shape), torch.randint(extent, index))


def _scattered(target: tuple[int, ...], source: tuple[int, int]) -> Operands:
    """A target, one row of it for each row of the source, and the source."""

    def made() -> tuple[Tensor, ...]:
        rows = torch.randint(target[0], (source[0], 1)).expand(source).contiguous()
        return torch.randn(target), rows, torch.randn(source)

    return made


TEXT = (8, 512, 1024)
IMAGES = (32, 64, 56, 56)
SCORES = (4, 8, 512, 512)
LOGITS = (2048, 5000)


def _elementwise() -> Iterator[OpCase]:
    pair, one = _normal(TEXT, TEXT), _normal(TEXT)
    for name, function in {"add": torch.add, "mul": torch.mul, "div": torch.div, "maximum": torch.maximum}.items():
        yield OpCase("elementwise", name, function, pair)
    yield OpCase("elementwise", "add bias", torch.add, _normal(TEXT, TEXT[-1:]), True, (0, 1))
    yield OpCase("elementwise", "add channel bias", torch.add, _normal(IMAGES, (1, 64, 1, 1)))
    yield OpCase("elementwise", "where", lambda x, y: torch.where(x > 0, x, y), pair)
    yield OpCase("elementwise", "clamp", lambda x: x.clamp(-1, 1), one)
    yield OpCase("elementwise", "square", torch.square, one)
    yield OpCase("elementwise", "abs", torch.abs, one)


def _transcendental() -> Iterator[OpCase]:
    plain = {
        "exp": torch.exp, "erf": torch.erf, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "sin": torch.sin,
        "softplus": F.softplus,
    }  # fmt: skip
    for name, function in plain.items():
        yield OpCase("transcendental", name, function, _normal(TEXT))
    for name, function in {"log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt}.items():
        yield OpCase("transcendental", name, function, _uniform(TEXT))
    yield OpCase("transcendental", "pow", lambda x: x**2.5, _uniform(TEXT))


def _activations() -> Iterator[OpCase]:
    functions = {
        "relu": F.relu, "gelu": F.gelu, "gelu tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
        "tanh": torch.tanh, "sigmoid": torch.sigmoid, "leaky relu": F.leaky_relu, "elu": F.elu,
    }  # fmt: skip
    for name, function in functions.items():
        yield OpCase("activation", name, function, _normal(TEXT), True)


def _reductions() -> Iterator[OpCase]:
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "sum of rows": lambda x: x.sum(-1), "sum over rows": lambda x: x.sum((0, 1)), "sum": torch.sum,
        "mean of rows": lambda x: x.mean(-1), "variance of rows": lambda x: x.var(-1),
        "maximum of rows": lambda x: x.amax(-1), "maximum over rows": lambda x: x.amax(1),
        "argmax": lambda x: x.argmax(-1), "norms": lambda x: x.flatten(1).norm(dim=1),
    }  # fmt: skip
    for name, function in functions.items():
        yield OpCase("reduction", name, function, _normal((16, 512, 2048)))
    yield OpCase("reduction", "sum per channel", lambda x: x.sum((0, 2, 3)), _normal((64, 64, 56, 56)))


def _softmax() -> Iterator[OpCase]:
    yield OpCase("softmax", "attention scores", lambda x: x.softmax(-1), _normal(SCORES), True)
    yield OpCase("softmax", "vocabulary", lambda x: x.softmax(-1), _normal(LOGITS), True)
    yield OpCase("softmax", "channels", lambda x: x.softmax(1), _normal((16, 21, 128, 128)), True)
    yield OpCase("log_softmax", "vocabulary", lambda x: x.log_softmax(-1), _normal(LOGITS), True)
    yield OpCase("log_softmax", "short rows", lambda x: x.log_softmax(-1), _normal((200_000, 10)), True)
    yield OpCase("log_softmax", "channels", lambda x: x.log_softmax(1), _normal((16, 21, 128, 128)), True)


def _norms() -> Iterator[OpCase]:
    rows, learned = _normal(TEXT, TEXT[-1:], TEXT[-1:]), (0, 1, 2)
    yield OpCase("layer_norm", "text", lambda x, g, b: F.layer_norm(x, x.shape[-1:], g, b), rows, True, learned)
    yield OpCase(
        "rms_norm", "text", lambda x, g: F.rms_norm(x, x.shape[-1:], g), _normal(TEXT, TEXT[-1:]), True, (0, 1)
    )
    channels = _normal(IMAGES, (64,), (64,))
    yield OpCase(
        "batch_norm", "training", lambda x, g, b: F.batch_norm(x, None, None, g, b, True), channels, True, learned
    )
    yield OpCase("group_norm", "8 groups", lambda x, g, b: F.group_norm(x, 8, g, b), channels, True, learned)


def _matmul() -> Iterator[OpCase]:
    yield OpCase("matmul", "square", torch.matmul, _normal((1024, 1024), (1024, 1024)), True, (0, 1))
    yield OpCase("matmul", "scores", lambda q, k: q @ k.mT, _normal((64, 512, 64), (64, 512, 64)), True, (0, 1))
    yield OpCase("matmul", "values", torch.bmm, _normal((64, 512, 512), (64, 512, 64)), True, (0, 1))
    yield OpCase("matmul", "linear", F.linear, _normal((2048, 768), (3072, 768), (3072,)), True, (0, 1, 2))
    attention = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)  # noqa: E731
    yield OpCase("attention", "causal", attention, _normal(*[(2, 12, 512, 64)] * 3), True, (0, 1, 2))


def _convolutions() -> Iterator[OpCase]:
    def conv(family: str, name: str, x: tuple[int, ...], w: tuple[int, ...], **options: int) -> OpCase:
        function = (F.conv1d, F.conv2d, F.conv3d)[len(x) - 3]
        return OpCase(family, name, lambda x, w: function(x, w, **options), _normal(x, w), True, (0, 1))

    yield conv("convolution", "3x3", (8, 64, 56, 56), (64, 64, 3, 3), padding=1)
    yield conv("convolution", "3x3 few pixels", (8, 256, 14, 14), (256, 256, 3, 3), padding=1)
    yield conv("convolution", "1x1", (8, 256, 56, 56), (64, 256, 1, 1))
    yield conv("convolution", "7x7 stride 2", (4, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    yield conv("convolution", "3x3 stride 2", (8, 128, 56, 56), (128, 128, 3, 3), stride=2, padding=1)
    yield conv("convolution", "3x3 dilation 2", (8, 64, 56, 56), (64, 64, 3, 3), padding=2, dilation=2)
    yield conv("convolution", "patches", (16, 3, 224, 224), (768, 3, 16, 16), stride=16)
    yield conv("convolution 1d", "3", (16, 256, 512), (256, 256, 3), padding=1)
    yield conv("convolution 3d", "3x3x3", (2, 16, 16, 56, 56), (32, 16, 3, 3, 3), padding=1)
    yield conv("grouped convolution", "32 groups", (8, 128, 56, 56), (128, 4, 3, 3), padding=1, groups=32)
    yield conv("depthwise convolution", "3x3", (8, 144, 56, 56), (144, 1, 3, 3), padding=1, groups=144)
    yield conv(
        "depthwise convolution", "5x5 stride 2", (8, 144, 56, 56), (144, 1, 5, 5), stride=2, padding=2, groups=144
    )
    yield conv("depthwise convolution", "7x7", (8, 96, 56, 56), (96, 1, 7, 7), padding=3, groups=96)
    yield conv("depthwise convolution", "1d", (8, 1024, 1024), (1024, 1, 4), padding=3, groups=1024)
    upwards = lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1)  # noqa: E731
    yield OpCase(
        "transposed convolution", "4x4 stride 2", upwards, _normal((8, 128, 28, 28), (128, 64, 4, 4)), True, (0, 1)
    )


def _pooling() -> Iterator[OpCase]:
    large = _normal((16, 64, 112, 112))
    yield OpCase("max pooling", "2x2", lambda x: F.max_pool2d(x, 2), large, True)
    yield OpCase("max pooling", "3x3 stride 2", lambda x: F.max_pool2d(x, 3, 2, 1), large, True)
    yield OpCase("average pooling", "2x2", lambda x: F.avg_pool2d(x, 2), large, True)
    yield OpCase("average pooling", "3x3", lambda x: F.avg_pool2d(x, 3, 1, 1), large, True)
    yield OpCase("adaptive pooling", "average to 1x1", lambda x: F.adaptive_avg_pool2d(x, 1), large, True)
    yield OpCase("adaptive pooling", "average to 7x7", lambda x: F.adaptive_avg_pool2d(x, 7), large, True)
    yield OpCase("adaptive pooling", "maximum to 7x7", lambda x: F.adaptive_max_pool2d(x, 7), large, True)


def _indexing() -> Iterator[OpCase]:
    embed = lambda table, index: F.embedding(index, table)  # noqa: E731
    yield OpCase("embedding", "vocabulary", embed, _indexed((50257, 768), 50257, 8, 512), True)
    yield OpCase("embedding", "few rows", embed, _indexed((16, 768), 16, 8, 512), True)
    yield OpCase("gather", "of rows", lambda x, i: x.gather(-1, i), _indexed(LOGITS, LOGITS[1], 2048, 1024), True)
    yield OpCase("gather", "over rows", lambda x, i: x.gather(0, i), _indexed((4096, 512), 4096, 4096, 512), True)
    add_up = lambda x, i, source: x.scatter_add(0, i, source)  # noqa: E731
    graph = _scattered((10_000, 64), (60_000, 64))
    yield OpCase("scatter", "add", add_up, graph, True, (0, 2))
    yield OpCase(
        "scatter", "replace", lambda x, i, source: x.scatter(0, i, source), _scattered((60_000, 64), (10_000, 64))
    )
    yield OpCase(
        "index_select", "rows", lambda x, i: x.index_select(0, i), _indexed((10_000, 256), 10_000, 20_000), True
    )
    yield OpCase("index_select", "columns", lambda x, i: x.index_select(1, i), _indexed((4096, 1024), 1024, 512), True)


def _resizing() -> Iterator[OpCase]:
    images = _normal((8, 64, 56, 56))
    for mode in ("nearest", "bilinear"):
        yield OpCase(
            "interpolation",
            f"{mode} by 2",
            lambda x, mode=mode: F.interpolate(x, scale_factor=2, mode=mode),
            images,
            True,
        )
        yield OpCase(
            "interpolation",
            f"{mode} to 73x91",
            lambda x, mode=mode: F.interpolate(x, (73, 91), mode=mode),
            images,
            True,
        )


def _copies() -> Iterator[OpCase]:
    # Where a gradient is a view in PyTorch, there is nothing to compare.
    yield OpCase("copy", "cat", lambda x, y: torch.cat((x, y), 1), _normal(IMAGES, IMAGES))
    yield OpCase("copy", "pad", lambda x: F.pad(x, (1, 1, 1, 1)), _normal(IMAGES), True)
    yield OpCase("copy", "slice", lambda x: x[..., ::2] + 0, _normal(IMAGES), True)
    yield OpCase("copy", "transpose", lambda x: x.mT.contiguous(), _normal((16, 512, 512)))
    yield OpCase("copy", "heads", lambda x: x.view(8, 512, 16, 64).transpose(1, 2).contiguous(), _normal(TEXT))
    yield OpCase("copy", "channels last", lambda x: x.permute(0, 2, 3, 1).contiguous(), _normal(IMAGES))


def _losses() -> Iterator[OpCase]:
    def classes(*shape: int) -> Operands:
        return lambda: (torch.randn(shape), torch.randint(shape[1], (shape[0], *shape[2:])))

    pair = (16, 512, 512)
    yield OpCase("loss", "cross entropy", F.cross_entropy, classes(*LOGITS), True)
    yield OpCase("loss", "cross entropy of pixels", F.cross_entropy, classes(16, 21, 128, 128), True)
    yield OpCase("loss", "nll", F.nll_loss, classes(200_000, 10), True)
    yield OpCase("loss", "mse", F.mse_loss, _normal(pair, pair), True)
    yield OpCase("loss", "smooth l1", F.smooth_l1_loss, _normal(pair, pair), True)
    yield OpCase("loss", "bce", F.binary_cross_entropy, _uniform(pair, pair), True)
    yield OpCase("loss", "bce with logits", F.binary_cross_entropy_with_logits, _uniform(pair, pair), True)


def _ordering() -> Iterator[OpCase]:
    # Of equal elements, PyTorch's sort may put any first: here there are none.
    yield OpCase(
        "ordering", "sort", lambda x: x.sort(-1).values, lambda: (torch.rand(512, 1000).argsort(-1).float(),), True
    )
    yield OpCase("ordering", "top 5", lambda x: x.topk(5).values, _normal((1024, 1000)))
    yield OpCase("ordering", "top 40 of a vocabulary", lambda x: x.topk(40).values, _normal((32, 50257)))
    yield OpCase("scan", "cumsum of rows", lambda x: x.cumsum(-1), _normal(LOGITS), True)
    yield OpCase("scan", "cumsum over rows", lambda x: x.cumsum(0), _normal(LOGITS))


def _random() -> Iterator[OpCase]:
    yield OpCase("dropout", "text", lambda x: F.dropout(x, 0.1), _normal(TEXT), True, is_random=True)


GENERATORS = (
    _elementwise, _transcendental, _activations, _reductions, _softmax, _norms, _matmul, _convolutions, _pooling,
    _indexing, _resizing, _copies, _losses, _ordering, _random,
)  # fmt: skip
CASES = {f"{case.family}: {case.name}": case for generator in GENERATORS for case in generator()}
FAMILIES = tuple(dict.fromkeys(case.family for case in CASES.values()))
