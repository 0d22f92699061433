"""Functions of numbers where they have a corner, a jump, a pole or a tie, and a gradient is a matter of choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, tensor

from tests.frontend.sweep_cases import Call

INF = float("inf")
NUMBERS = (-6.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0)
TABLE = ((1.0, 3.0, 3.0, 3.0), (2.0, 2.0, 0.0, 1.0), (0.0, 0.0, 0.0, 0.0), (-1.0, -1.0, -2.0, 5.0))
SIGNS = (1.0, -1.0) * 6 + (1.0,)
LABELS = ((0, 2, -1, 1), (-1, 0, 1, 2), (3, 2, 1, 0), (1, -1, -1, -1))
ROWS = ((0,) * 4, (0,) * 4, (1,) * 4, (1,) * 4)
BAGS = (0, 2, 2, 1)

Function = Callable[[Tensor], Any]

OF_NUMBERS: dict[str, Function] = {
    "relu": F.relu, "relu6": F.relu6, "hardtanh": lambda x: F.hardtanh(x, -1, 2), "hardshrink": F.hardshrink,
    "softshrink": F.softshrink, "celu": lambda x: F.celu(x, 0.7), "elu": F.elu, "selu": F.selu,
    "leaky_relu": F.leaky_relu, "threshold": lambda x: F.threshold(x, 0.5, 0.1), "logsigmoid": F.logsigmoid,
    "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "mish": F.mish, "silu": F.silu, "gelu": F.gelu,
    "gelu of tanh": lambda x: F.gelu(x, approximate="tanh"), "softplus": F.softplus,
    "softplus that bends": lambda x: F.softplus(x, 2.0, 1.0), "softsign": F.softsign, "tanhshrink": F.tanhshrink,
    "abs": torch.abs, "sign": torch.sign, "trunc": torch.trunc, "frac": torch.frac, "floor": torch.floor,
    "ceil": torch.ceil, "round": torch.round, "round to a digit": lambda x: torch.round(x, decimals=1),
    "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "log": torch.log, "log1p": torch.log1p, "log2": torch.log2,
    "log10": torch.log10, "exp2": torch.exp2, "expm1": torch.expm1, "reciprocal": torch.reciprocal,
    "sinc": torch.sinc, "asin": torch.asin, "acos": torch.acos, "atanh": torch.atanh, "acosh": torch.acosh,
    "logit": torch.logit, "logit within": lambda x: torch.logit(x, 0.1), "erf": torch.erf, "lgamma": torch.lgamma,
    "entr": torch.special.entr, "ndtr": torch.special.ndtr, "nan_to_num": lambda x: torch.nan_to_num(1 / x),
    "clamp": lambda x: x.clamp(-1, 2), "clamp by tensors": lambda x: x.clamp(tensor(-1.0), tensor(2.0)),
    "power 0": lambda x: x**0, "power 1": lambda x: x**1, "power 2": lambda x: x**2, "power 3": lambda x: x**3,
    "power 0.5": lambda x: x**0.5, "power -1": lambda x: x**-1, "power -0.5": lambda x: x**-0.5,
    "power 1.5": lambda x: x**1.5, "power of 2": lambda x: 2.0**x, "power of 0": lambda x: 0.0**x,
    "fmod": lambda x: torch.fmod(x, 2), "remainder": lambda x: torch.remainder(x, 2),
    "remainder of a negative": lambda x: torch.remainder(x, -2),
    "floor division": lambda x: torch.div(x, 2, rounding_mode="floor"),
    "division toward zero": lambda x: torch.div(x, 2, rounding_mode="trunc"),
    "xlogy": lambda x: torch.xlogy(x, x.abs()), "xlog1py": lambda x: torch.special.xlog1py(x, x.abs()),
    "softmin": lambda x: F.softmin(x, 0), "logsumexp": lambda x: torch.logsumexp(x, 0), "prod": torch.prod,
    "cumprod": lambda x: x.cumprod(0), "cummax": lambda x: x.cummax(0)[0], "cummin": lambda x: x.cummin(0)[0],
    "median": torch.median, "max": torch.max, "min": torch.min, "amax": torch.amax, "amin": torch.amin,
    "aminmax": lambda x: list(torch.aminmax(x)), "std": torch.std, "var of one": lambda x: x[:1].var(0),
    "var of one and none": lambda x: x[:1].var(0, correction=0), "std of one": lambda x: x[:1].std(),
    "std of equals": lambda x: (x * 0).std(), "var of all corrected": lambda x: x[:3].var(correction=3),
    "std of more corrected": lambda x: x[:3].std(correction=5), "quantile": lambda x: torch.quantile(x, 0.3),
    "quantiles": lambda x: torch.quantile(x, tensor([0.0, 0.25, 0.5, 1.0])),
    "lower quantile": lambda x: torch.quantile(x, 0.3, interpolation="lower"),
    "middle quantile": lambda x: torch.quantile(x, 0.4, interpolation="midpoint"),
    "nanquantile": lambda x: torch.nanquantile(x, 0.4), "gradient": lambda x: torch.gradient(x)[0],
    "gradient of edges": lambda x: torch.gradient(x, spacing=0.5, edge_order=2)[0], "norm": torch.norm,
    "norm of zeros": lambda x: (x * 0).norm(), "norm 1": lambda x: x.norm(1), "norm inf": lambda x: x.norm(INF),
    "norm -inf": lambda x: x.norm(-INF), "norm 3": lambda x: x.norm(3), "norm 0.5": lambda x: x.norm(0.5),
    "normalize zeros": lambda x: F.normalize(x * 0, dim=0), "dist": lambda x: torch.dist(x, x.detach()),
    "cosine of zeros": lambda x: F.cosine_similarity(x * 0, x, 0),
    "distance of equals": lambda x: F.pairwise_distance(x[None], x[None].detach()),
    "smooth_l1": lambda x: F.smooth_l1_loss(x, torch.zeros(13)),
    "smooth_l1 of 0": lambda x: F.smooth_l1_loss(x, torch.zeros(13), beta=0.0),
    "huber": lambda x: F.huber_loss(x, torch.zeros(13), delta=2.0), "l1": lambda x: F.l1_loss(x, torch.zeros(13)),
    "hinge": lambda x: F.hinge_embedding_loss(x, tensor(SIGNS)), "soft": lambda x: F.soft_margin_loss(x, tensor(SIGNS)),
    "ranking": lambda x: F.margin_ranking_loss(x, x.detach().flip(0), tensor(SIGNS), margin=1.0),
    "poisson": lambda x: F.poisson_nll_loss(x.abs(), torch.arange(13.0), log_input=False, full=True),
    "gaussian": lambda x: F.gaussian_nll_loss(x, torch.zeros(13), x.detach().abs()),
    "cross entropy of 0 and 1": lambda x: F.binary_cross_entropy(x.clamp(0, 1), (x.detach() > 0).float()),
    "cross entropy of large": lambda x: F.binary_cross_entropy_with_logits(x * 50, (x.detach() > 1).float()),
    "kl_div": lambda x: F.kl_div(x, (tensor(SIGNS) < 0).float(), reduction="sum"),
    "kl_div of logarithms": lambda x: F.kl_div(x.detach(), x, reduction="sum", log_target=True),
}  # fmt: skip

OF_TABLES: dict[str, Function] = {
    "multi_margin": lambda x: F.multi_margin_loss(x, torch.arange(4)),
    "multi_margin squared": lambda x: F.multi_margin_loss(
        x, tensor([1, 1, 2, 3]), p=2, margin=2.0, weight=tensor([1.0, 2.0, 0.5, 1.0])
    ),
    **{
        f"multilabel_margin {reduction}": partial(
            lambda x, reduction: F.multilabel_margin_loss(x, tensor(LABELS), reduction=reduction), reduction=reduction
        )
        for reduction in ("none", "mean", "sum")
    },
    "multilabel_margin of a vector": lambda x: F.multilabel_margin_loss(x[0], tensor([2, -1, 1, 0])),
    "multilabel_soft_margin": lambda x: F.multilabel_soft_margin_loss(x, (x.detach() > 1).float()),
    "amax": lambda x: x.amax(1), "amin of two": lambda x: x.amin((0, 1)), "max": lambda x: x.max(1)[0],
    "median": lambda x: x.median(1)[0], "sort": lambda x: x.sort(dim=1, descending=True, stable=True)[0],
    **{f"cdist {p}": partial(lambda x, p: torch.cdist(x, x.detach(), p=p), p=p) for p in (0, 0.5, 1, 1.5, 2, 3, INF)},
    **{f"pdist {p}": partial(F.pdist, p=p) for p in (1.0, 2.0, INF)},
    "triplet": lambda x: F.triplet_margin_loss(x, x.flip(0), x.flip(1), swap=True, p=1),
    "cosine": lambda x: F.cosine_embedding_loss(x, x.flip(0), tensor([1, -1, 1, -1]), margin=0.5),
    "maximum": lambda x: torch.maximum(x, x.t()), "minimum": lambda x: torch.minimum(x, x.detach()),
    "atan2": lambda x: torch.atan2(x, x.t()), "fmod": lambda x: torch.fmod(x, x.t()),
    "remainder": lambda x: torch.remainder(x, x.t()), "power": lambda x: torch.pow(x, x.t()),
    "power of sizes": lambda x: torch.pow(x.abs(), x.t()), "normalize": lambda x: F.normalize(x, dim=1),
    "normalize 1": lambda x: F.normalize(x, p=1, dim=0), "normalize inf": lambda x: F.normalize(x, p=INF, dim=1),
    "log where positive": lambda x: torch.where(x > 0, x.log(), 0.0), "logaddexp": lambda x: torch.logaddexp(x, x.t()),
    "log_softmax of -inf": lambda x: x.masked_fill(x == 0, -INF).log_softmax(1),
    "logsumexp of -inf": lambda x: x.masked_fill(x == 0, -INF).logsumexp(1),
    "softmax of -inf": lambda x: x.masked_fill(x == 0, -INF).softmax(1), "std": lambda x: x.std(1),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True), "layer norm": lambda x: F.layer_norm(x, (4,)),
    "rms_norm": lambda x: F.rms_norm(x, (4,)), "prod": lambda x: x.prod(1), "cumprod": lambda x: x.cumprod(1),
    "prelu": lambda x: F.prelu(x, tensor([0.25, 0.1, 0.2, 0.3]).requires_grad_()),
    "nll that ignores all": lambda x: F.nll_loss(x, tensor([-100] * 4)),
    "cross entropy without weight": lambda x: F.cross_entropy(
        x, tensor([2] * 4), weight=tensor([1.0, 1.0, 0.0, 1.0])
    ),
    "scatter amax": lambda x: torch.zeros(2, 4).scatter_reduce(0, tensor(ROWS), x, "amax"),
    "scatter prod": lambda x: torch.ones(2, 4).scatter_reduce(0, tensor(ROWS), x, "prod"),
    "scatter mean": lambda x: x[:2].scatter_reduce(0, tensor(ROWS), x, "mean", include_self=False),
    "nansum": lambda x: (x / x).nansum(1), "nanmean": lambda x: (x / x).nanmean(1),
    "embedding": lambda x: F.embedding(tensor(BAGS), x, padding_idx=2),
    "embedding by frequency": lambda x: F.embedding(tensor(BAGS), x, scale_grad_by_freq=True),
    "bag max": lambda x: F.embedding_bag(tensor(BAGS), x, tensor([0, 2]), mode="max"),
    "bag max of none": lambda x: F.embedding_bag(tensor(BAGS), x, tensor([0, 0, 2]), mode="max", padding_idx=1),
    "bag mean": lambda x: F.embedding_bag(tensor(BAGS), x, tensor([0, 0, 2]), mode="mean", padding_idx=0),
}  # fmt: skip

OF_IMAGES: dict[str, Function] = {
    "max pool": lambda x: F.max_pool2d(x, 2), "overlapping": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "spread": lambda x: F.max_pool2d(x, 2, 1, 1, 2), "adaptive": lambda x: F.adaptive_max_pool2d(x, (2, 4)),
    "unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(5, 6)),
    "lp 2": lambda x: F.lp_pool2d(x, 2, 2), "lp 1": lambda x: F.lp_pool2d(x, 1, 3, stride=1),
    "lp 3": lambda x: F.lp_pool2d(x, 3.0, 2, ceil_mode=True),
}  # fmt: skip
"""Of few different numbers, so that windows hold several that are largest."""

SCALES = (0.5, 0.3, 1.5, 2.3, (1.1, 0.9), (2.05, 1.0))
SIZES = ((1, 1), (3, 13), (7, 9), (14, 4))
GRIDS = {"same": ((1.0, 0, 0), (0, 1, 0)), "twice": ((2.0, 0, 0), (0, 2, 0)), "far": ((9.0, 0, 3), (0, -7, 0))}
PADDINGS = ("zeros", "border", "reflection")


def sampled(x: Tensor, turn: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    """An image where an affine grid as large as it says."""
    grid = F.affine_grid(turn.expand(len(x), *turn.shape), list(x.shape), align_corners=align)
    return F.grid_sample(x, grid, mode, padding, align)


def _leaf(numbers: Any) -> Tensor:
    return tensor(numbers, dtype=torch.float32, requires_grad=True)


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), requires_grad=True)


def _interpolations() -> Iterator[Function]:
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        for scale in SCALES:
            for again in (None, True):
                yield partial(F.interpolate, scale_factor=scale, mode=mode, recompute_scale_factor=again)
        for align in (False, True) if mode in ("bilinear", "bicubic") else (None,):
            for size in SIZES:
                yield partial(F.interpolate, size=size, mode=mode, align_corners=align)


def _samplings() -> Iterator[Call]:
    for padding in PADDINGS:
        for align in (True, False):
            for mode in ("bilinear", "nearest", "bicubic"):
                for grid in GRIDS.values():
                    yield Call(sampled, (_random(2, 3, 5, 6), _leaf(grid), mode, padding, align), {})
            turn = torch.eye(3, 4).tolist()
            for mode in ("bilinear", "nearest"):
                yield Call(sampled, (_random(1, 2, 3, 3, 3), _leaf(turn), mode, padding, align), {})


def calls(kind: str) -> list[Call]:
    """Calls of one kind."""
    few = torch.randint(0, 3, (2, 3, 5, 6), generator=torch.Generator().manual_seed(1)).tolist()
    if kind == "sampling":
        return list(_samplings())
    if kind == "interpolation":
        return [Call(function, (_random(1, 2, 7, 9),), {}) for function in _interpolations()]
    functions, numbers = {
        "numbers": (OF_NUMBERS, NUMBERS), "tables": (OF_TABLES, TABLE), "images": (OF_IMAGES, few)
    }[kind]  # fmt: skip
    return [Call(function, (_leaf(numbers),), {}) for function in functions.values()]
