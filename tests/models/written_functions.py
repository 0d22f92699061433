"""Rare functions, corners and habits of PyTorch, one to a model."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.models.written import CASES, Case, Optimizer, linear, written

# teachers and shared parameters


@written(lambda: {**linear(), "teacher": copy.deepcopy(nn.Linear(4, 4)).requires_grad_(False)})
def ema_teacher_after(m: Any, x: Tensor) -> Any:
    student = m.a(x)
    with torch.no_grad():
        target = m.teacher(x)
    loss = functional.mse_loss(student, target) + m.b(x).square().mean()
    with torch.no_grad():
        for t, s in zip(m.teacher.parameters(), m.a.parameters()):
            t.lerp_(s, 0.01)
    return loss


@written(lambda: {**linear(), "teacher": nn.Linear(4, 4).requires_grad_(False)})
def ema_foreach(m: Any, x: Tensor) -> Any:
    target = m.teacher(x).detach()
    with torch.no_grad():
        torch._foreach_mul_(list(m.teacher.parameters()), 0.9)
        torch._foreach_add_(list(m.teacher.parameters()), [p.detach() for p in m.a.parameters()], alpha=0.1)
    return functional.mse_loss(m.a(x), target) + m.b(x).square().mean()


@written(lambda: {"e": nn.Embedding(7, 4, padding_idx=2), "a": nn.Linear(4, 4)}, lambda: torch.randint(7, (3, 5)))
def tied_embedding_padding(m: Any, x: Tensor) -> Any:
    h = torch.tanh(m.a(m.e(x)))
    return functional.cross_entropy((h @ m.e.weight.t()).flatten(0, 1), x.flatten(), ignore_index=2)


@written(lambda: {"e": nn.Embedding(7, 4, padding_idx=-1), "a": nn.Linear(4, 4)}, lambda: torch.randint(7, (3, 5)))
def embedding_padding_negative(m: Any, x: Tensor) -> Any:
    return m.a(m.e(x)).square().mean()


@written(lambda: {"e": nn.Embedding(7, 4, max_norm=0.5), "a": nn.Linear(4, 4)}, lambda: torch.randint(7, (3, 5)))
def embedding_max_norm(m: Any, x: Tensor) -> Any:
    return m.a(m.e(x)).square().mean()


@written(
    lambda: {"e": nn.Embedding(7, 4, scale_grad_by_freq=True), "a": nn.Linear(4, 4)}, lambda: torch.randint(3, (3, 5))
)
def embedding_scale_by_freq(m: Any, x: Tensor) -> Any:
    return m.a(m.e(x)).square().mean()


@written()
def gradient_penalty_wgan(m: Any, x: Tensor) -> Any:
    def critic(t: Tensor) -> Any:
        return m.b(functional.leaky_relu(m.a(t), 0.2)).sum(1)

    mixed = (x * 0.3).requires_grad_(True)
    (g,) = torch.autograd.grad(critic(mixed), mixed, torch.ones(len(x)), create_graph=True, retain_graph=True)
    return critic(x).mean() + 10 * ((g.view(len(x), -1).norm(2, dim=1) - 1) ** 2).mean()


@written()
def r1_penalty_through_parameters(m: Any, x: Tensor) -> Any:
    loss = m.b(torch.tanh(m.a(x))).square().mean()
    grads = torch.autograd.grad(loss, list(m.a.parameters()), create_graph=True)
    return loss + 0.1 * sum(g.square().sum() for g in grads)


@written()
def hessian_vector(m: Any, x: Tensor) -> Any:
    v = torch.ones_like(m.a.weight)
    loss = m.b(torch.tanh(m.a(x))).square().mean()
    (g,) = torch.autograd.grad(loss, m.a.weight, create_graph=True)
    (hv,) = torch.autograd.grad((g * v).sum(), m.a.weight, create_graph=True)
    return loss + hv.square().mean()


@written()
def maml_inner_step(m: Any, x: Tensor) -> Any:
    params = dict(m.a.named_parameters())
    inner = torch.func.functional_call(m.a, params, (x,)).square().mean()
    grads = torch.autograd.grad(inner, list(params.values()), create_graph=True)
    fast = {n: p - 0.1 * g for (n, p), g in zip(params.items(), grads)}
    return torch.func.functional_call(m.a, fast, (x * 2,)).square().mean() + m.b(x).square().mean()


# index and in-place


@written()
def index_put_accumulate(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    y = torch.zeros(4, 4).index_put((torch.tensor([0, 0, 3, 1, 1, 1]),), h, accumulate=True)
    z = m.b(x).clone()
    z.index_put_((torch.tensor([0, 0, 2]), torch.tensor([1, 1, 3])), y[0, :3], accumulate=True)
    return y.square().mean() + z.square().mean()


@written()
def index_put_no_accumulate_unique(m: Any, x: Tensor) -> Any:
    z = m.b(x).clone()
    z[torch.tensor([5, 1]), torch.tensor([0, 2])] = m.a(x)[0, :2]
    z[torch.tensor([0, 2])] *= 3
    z[:, [0, 3]] += 1
    return z.square().mean()


@written()
def masked_scatter_(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    z = m.b(x).masked_scatter(x > 0, h)
    return z.square().mean() + h.mean()


@written()
def masked_select_sum(m: Any, x: Tensor) -> Any:
    return torch.where(x > 0, m.a(x), 0).sum() / (x > 0).sum() + m.b(x).square().mean()


@written()
def views_of_views(m: Any, x: Tensor) -> Any:
    h = m.a(x) * 1
    v = h.view(3, 2, 4)[1:].transpose(1, 2)
    w = v[..., 0]
    w.mul_(2)
    v.select(0, 1).narrow(0, 1, 2).add_(m.b(x)[:2, :2])
    h.diagonal().fill_(0.5)
    h.unfold(0, 2, 2)[1].neg_()
    return h.square().mean() + w.sum() * 0.1


@written()
def inplace_on_split(m: Any, x: Tensor) -> Any:
    h = m.a(x) * 1
    p, q = h[:, :2], h[:, 2:]
    p += q
    q += p * 2
    return h.square().mean() + m.b(h).mean()


@written()
def inplace_on_chunk_of_result(m: Any, x: Tensor) -> Any:
    h = m.a(x) * 1
    parts = [t * 1 for t in h.chunk(2, 1)]
    parts[0].sigmoid_()
    parts[1].clamp_(max=0.3).exp_()
    return torch.cat(parts, 1).square().mean() + m.b(x).mean()


@written()
def copy_with_broadcast(m: Any, x: Tensor) -> Any:
    z = torch.empty(6, 4)
    z.copy_(m.a(x)[0])
    z[2:4] = m.b(x)[1]
    z.t()[1] = 2.0
    return z.square().mean()


@written()
def setitem_of_bool_broadcast(m: Any, x: Tensor) -> Any:
    z = m.a(x) * 1
    z[x[:, 0] > 0] = 0.0
    z[:, torch.tensor([True, False, True, False])] = m.b(x)[:, :2]
    z[..., None, 0] *= 2
    return z.square().mean()


@written()
def roll_flip_rot(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    return (h.roll((1, -2), (0, 1)) * m.b(x).flip(0, 1)).mean() + (h[:4].rot90(1, (0, 1)) * x[:4]).sum()


@written()
def index_ops(m: Any, x: Tensor) -> Any:
    i = torch.tensor([2, 0, 2])
    h = m.a(x)
    y = m.b(x).index_add(0, i, h[:3], alpha=2)
    y = y.index_copy(1, torch.tensor([3, 1]), h[:, :2]).index_fill(0, torch.tensor([4]), 0.3)
    return (
        y.square().mean()
        + h.take(torch.tensor([0, 5, 5, 23])).square().sum()
        + torch.take_along_dim(h, h.argsort(1), 1)[:, 1].sum()
    )


@written()
def put_accumulate(m: Any, x: Tensor) -> Any:
    return m.a(x).put(torch.tensor([1, 1, 7]), m.b(x)[0, :3], accumulate=True).square().mean()


# cumulative and scatter


@written()
def cumulative(m: Any, x: Tensor) -> Any:
    h, k = m.a(x), m.b(x)
    return (
        h.cumsum(0).square().mean() + k.cumprod(1).mean() + h.cummax(0).values.mean() + k.cummin(1)[0].square().mean()
    )


@written()
def cumprod_zero(m: Any, x: Tensor) -> Any:
    h = m.a(x) * torch.tensor([1.0, 0.0, 1.0, 0.0])
    return (h.cumprod(1) * x).sum() + h.prod(1).sum() + (m.b(x) * torch.tensor([1.0, 0.0, 1.0, 1.0])).prod(1).sum()


@written()
def logcumsumexp_(m: Any, x: Tensor) -> Any:
    return torch.logcumsumexp(m.a(x), 1).square().mean() + torch.logcumsumexp(m.b(x) * 20, 0).mean()


@written()
def scatter_variants(m: Any, x: Tensor) -> Any:
    i = torch.tensor([[0, 1, 1, 0], [2, 2, 2, 2], [0, 0, 1, 2]])
    h = m.a(x)[:3]
    base = m.b(x)[:3]
    made = [
        base.scatter_reduce(0, i, h, r, include_self=s)
        for r in ("sum", "mean", "amax", "amin", "prod")
        for s in (True, False)
    ]
    return sum(t.square().mean() * (n + 1) for n, t in enumerate(made)) + base.scatter_add(0, i, h).square().mean()


@written()
def scatter_amax_ties(m: Any, x: Tensor) -> Any:
    h = m.a(x).round()
    k = h.detach() * 0 + m.a(x) * 0 + 1
    i = torch.zeros(6, 4, dtype=torch.long)
    return (torch.zeros(2, 4).scatter_reduce(0, i, k, "amax", include_self=False) * m.b(x)[:2]).sum()


@written()
def scatter_plain(m: Any, x: Tensor) -> Any:
    i = torch.tensor([[3, 1, 0, 2]] * 6)
    return (m.a(x).scatter(1, i, m.b(x)) * x).sum() + m.a(x).scatter(1, i[:, :1], 0.7).square().sum()


@written()
def segment_by_bincount(m: Any, x: Tensor) -> Any:
    groups = torch.tensor([0, 1, 1, 2, 2, 2])
    total = torch.zeros(3, 4).index_add_(0, groups, m.a(x))
    mean = total / torch.bincount(groups, minlength=3)[:, None]
    return (m.b(x) - mean[groups]).square().mean()


# images


@written(lambda: {"c": nn.Conv2d(2, 3, 3, padding=1)}, (2, 2, 5, 6))
def interpolate_modes(m: Any, x: Tensor) -> Any:
    h = m.c(x)
    total = h.mean()
    for mode, kw in [
        ("nearest", {}),
        ("nearest-exact", {}),
        ("bilinear", {"align_corners": False}),
        ("bilinear", {"align_corners": True}),
        ("bicubic", {"align_corners": False}),
        ("bicubic", {"align_corners": True}),
        ("area", {}),
    ]:
        for size in ((7, 9), (3, 4), (10, 12)):
            total = total + functional.interpolate(h, size=size, mode=mode, **kw).square().mean()
    total = (
        total
        + functional.interpolate(h, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True).square().mean()
    )
    total = total + functional.interpolate(h, scale_factor=(0.6, 1.3), mode="bilinear").square().mean()
    return total + functional.interpolate(h, scale_factor=(0.6, 1.3), mode="nearest").square().mean()


@written(lambda: {"c": nn.Conv2d(2, 3, 3, padding=1), "d": nn.Conv3d(1, 2, 1), "e": nn.Conv1d(1, 2, 3)}, (2, 2, 5, 6))
def interpolate_other_ranks(m: Any, x: Tensor) -> Any:
    h = m.d(x[:, None])
    total = functional.interpolate(h, size=(3, 7, 4), mode="trilinear").square().mean()
    total = total + functional.interpolate(h, scale_factor=2, mode="nearest").square().mean()
    k = m.e(x[:, 0, 0][:, None])
    return total + functional.interpolate(k, size=9, mode="linear", align_corners=True).square().mean() + m.c(x).mean()


@written(
    lambda: {
        "c": nn.Conv2d(2, 3, 3, padding=1),
        "theta": nn.Parameter(torch.tensor([[1.1, 0.2, 0.1], [-0.3, 0.9, 0.6]])),
    },
    (2, 2, 5, 6),
)
def spatial_transformer(m: Any, x: Tensor) -> Any:
    h = m.c(x)
    total = h.mean()
    for align in (True, False):
        grid = functional.affine_grid(m.theta.expand(2, 2, 3), [2, 3, 4, 5], align_corners=align)
        for mode in ("bilinear", "nearest", "bicubic"):
            for pad in ("zeros", "border", "reflection"):
                total = total + functional.grid_sample(h, grid * 1.3, mode, pad, align_corners=align).square().mean()
    return total


@written(lambda: {"c": nn.Conv2d(2, 3, 3, padding=1)}, (2, 2, 5, 6))
def unfold_fold(m: Any, x: Tensor) -> Any:
    h = m.c(x)
    u = functional.unfold(h, (3, 2), dilation=(1, 2), padding=1, stride=2)
    f = functional.fold(u.tanh(), (5, 6), (3, 2), dilation=(1, 2), padding=1, stride=2)
    return f.square().mean() + u.square().mean() + h.unfold(2, 3, 1).unfold(3, 2, 2).square().mean()


@written(lambda: {"c": nn.Conv2d(2, 4, 3, padding=1)}, (2, 2, 6, 6))
def shuffles(m: Any, x: Tensor) -> Any:
    h = m.c(x)
    return (
        functional.pixel_shuffle(h, 2).square().mean()
        + functional.pixel_unshuffle(h, 3).sigmoid().mean()
        + functional.channel_shuffle(h, 2)[:, 1].square().mean()
        + functional.pad(h, (1, 2, 0, 1), "reflect").square().mean()
        + functional.pad(h, (2, 1, 1, 2), "circular").tanh().mean()
        + functional.pad(h, (1, 1, 1, 1), "replicate").square().mean()
        + functional.pad(h, (-1, 1, 0, -2), value=0.5).square().mean()
    )


@written(lambda: {"c": nn.Conv2d(2, 4, 3, padding=1)}, (2, 2, 7, 6))
def pools(m: Any, x: Tensor) -> Any:
    h = m.c(x)
    p, i = functional.max_pool2d(h, 2, return_indices=True)
    return (
        functional.max_unpool2d(p, i, 2, output_size=(7, 6)).square().mean()
        + functional.max_pool2d(h.relu(), 3, 2, 1, 2, ceil_mode=True).square().mean()
        + functional.avg_pool2d(h, 3, 2, 1, ceil_mode=True, count_include_pad=False).square().mean()
        + functional.adaptive_avg_pool2d(h, (3, 4)).square().mean()
        + functional.adaptive_max_pool2d(h, (2, 5)).square().mean()
        + functional.lp_pool2d(h, 2, 2).mean()
        + functional.avg_pool2d(h, 2, divisor_override=3).square().mean()
    )


@written(
    lambda: {
        "c": nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, dilation=2, groups=2),
        "d": nn.Conv2d(4, 4, 3, padding="same", dilation=2, groups=4, padding_mode="reflect"),
        "l": nn.Identity(),
    },
    (2, 2, 5, 4),
)
def odd_convolutions(m: Any, x: Tensor) -> Any:
    return m.d(m.c(x)).square().mean()


# recurrent


@written(
    lambda: {
        "r": nn.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True),
        "h": nn.Parameter(torch.randn(4, 2, 3)),
        "c": nn.Parameter(torch.randn(4, 2, 3)),
    },
    (2, 5, 4),
)
def lstm_bidirectional(m: Any, x: Tensor) -> Any:
    y, (h, c) = m.r(x, (m.h, m.c))
    return y.square().mean() + h.mean() + c.square().mean()


@written(
    lambda: {
        "r": nn.LSTM(4, 3, proj_size=2, batch_first=True),
        "g": nn.GRU(4, 3, bidirectional=True, num_layers=2),
        "n": nn.RNN(4, 3, nonlinearity="relu", bias=False),
    },
    (2, 5, 4),
)
def recurrent_kinds(m: Any, x: Tensor) -> Any:
    return m.r(x)[0].square().mean() + m.g(x)[0].square().mean() + m.n(x)[1].square().mean()


@written(lambda: {"g": nn.GRU(4, 3, bidirectional=True, batch_first=True)}, (3, 5, 4))
def gru_packed(m: Any, x: Tensor) -> Any:
    packed = pack_padded_sequence(x, torch.tensor([5, 3, 2]), batch_first=True)
    y, h = m.g(packed)
    out, _ = pad_packed_sequence(y, batch_first=True)
    return out.square().mean() + h.square().mean()


@written(lambda: {"g": nn.LSTM(4, 3, batch_first=True)}, (3, 5, 4))
def lstm_packed_unsorted(m: Any, x: Tensor) -> Any:
    packed = pack_padded_sequence(x, torch.tensor([2, 5, 3]), batch_first=True, enforce_sorted=False)
    y, (h, c) = m.g(packed)
    out, _ = pad_packed_sequence(y, batch_first=True, padding_value=-1.0, total_length=6)
    return out.square().mean() + (h * c).mean()


@written(lambda: {"l": nn.LSTMCell(4, 4), "g": nn.GRUCell(4, 4)}, (3, 5, 4))
def cells(m: Any, x: Tensor) -> Any:
    h = c = torch.zeros(3, 4)
    k = None
    for t in range(x.shape[1]):
        h, c = m.l(x[:, t], (h, c))
        k = m.g(h, k)
    return k.square().mean() + c.mean()


# algebra


@written()
def einsum_odd(m: Any, x: Tensor) -> Any:
    h, k = m.a(x), m.b(x)
    return (
        torch.einsum("ii", h[:4])
        + torch.einsum("ij,kj,lj->ikl", h, k, x).square().mean()
        + torch.einsum("ij->", k)
        + torch.einsum("ii->i", k[:4]).square().sum()
        + torch.einsum("...i,i...->...", h, k[:4, :1].expand(4, 6)).mean()
        + torch.einsum("ij,ij,ij->j", h, k, h).square().mean()
    )


@written(lambda: {"w": nn.Parameter(torch.randn(4, 4, dtype=torch.complex64)), "a": nn.Linear(4, 4)})
def complex_parameter(m: Any, x: Tensor) -> Any:
    z = torch.complex(m.a(x), x) @ m.w
    return z.abs().square().mean() + z.real.mean() + z.angle().cos().mean()


@written(lambda: {"w": nn.Parameter(torch.randn(3, 2)), "a": nn.Linear(4, 4)})
def spectral(m: Any, x: Tensor) -> Any:
    f = torch.fft.rfft(m.a(x), norm="ortho")
    return (
        torch.fft.irfft(f * torch.view_as_complex(m.w), n=4, norm="ortho").square().mean()
        + torch.fft.fftshift(torch.fft.fft2(x * m.a(x))).abs().mean()
    )


@written()
def linear_algebra(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    gram = h.t() @ h + torch.eye(4)
    return (
        torch.linalg.cholesky(gram).sum()
        + torch.linalg.solve(gram, m.b(x).t()).square().mean()
        + torch.logdet(gram)
        + torch.linalg.inv(gram).square().mean()
    )


@written()
def kron_outer_cdist(m: Any, x: Tensor) -> Any:
    h, k = m.a(x), m.b(x)
    return (
        torch.kron(h[:2], k[:2]).square().mean()
        + torch.outer(h[0], k[1]).square().mean()
        + torch.cdist(h, k).mean()
        + torch.cdist(h, k, p=1).mean()
        + torch.linalg.cross(h[:, :3], k[:, 1:]).square().mean()
        + torch.tensordot(h, k, dims=([0], [0])).square().mean()
        + torch.trapezoid(h, dx=0.1).sum()
        + functional.cosine_similarity(h, k).sum()
        + functional.pairwise_distance(h, k).mean()
    )


@written()
def cdist_with_itself(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    return torch.cdist(h, h).mean() + functional.pdist(m.b(x)).mean()


# gradients at corners


@written()
def where_nan(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    safe = torch.where(h > 0, h, torch.ones_like(h))
    return torch.where(h > 0, safe.log(), 0).mean() + m.b(x).square().mean()


@written()
def where_nan_unsafe(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    return torch.where(h > 0, h.sqrt(), 0).mean() + m.b(x).square().mean()


@written(lambda: {"w": nn.Parameter(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]))}, (1, 5))
def clamp_ties(m: Any, x: Tensor) -> Any:
    w = m.w
    return (
        w.clamp(0, 1) * 3
        + w.clamp(min=torch.tensor(0.5))
        + w.clip(max=1.0)
        + functional.hardtanh(w, 0, 1)
        + functional.relu6(w * 6)
        + functional.hardsigmoid(w * 3)
        + functional.hardswish(w * 3)
        + functional.relu(w)
        + functional.leaky_relu(w)
        + w.abs()
        + functional.elu(w)
        + functional.softshrink(w)
        + functional.hardshrink(w)
        + functional.threshold(w, 0.5, 0.1)
        + functional.softplus(w * 20)
        + functional.logsigmoid(w)
        + w.sign()
        + torch.maximum(w, torch.tensor(0.5))
        + torch.minimum(w, w.detach())
        + w
        + functional.huber_loss(w, torch.zeros(5), reduction="none")
        + functional.smooth_l1_loss(w, torch.ones(5), reduction="none")
        + functional.l1_loss(w, torch.ones(5), reduction="none")
    ).sum() + (x * w).sum()


@written(lambda: {"w": nn.Parameter(torch.tensor([[1.0, 3.0, 3.0, 3.0], [2.0, 2.0, 0.0, 1.0]]))}, (2, 4))
def reduction_ties(m: Any, x: Tensor) -> Any:
    w = m.w
    return (
        (
            w.amax(1)
            + w.max(1).values * 2
            + w.amin(0).sum()
            + w.min(0)[0].sum()
            + w.max()
            + w.min() * 3
            + w.aminmax(dim=1).max
            + w.median(1).values
            + w.max(dim=1, keepdim=True)[0].squeeze()
        ).sum()
        + torch.maximum(w, w.flip(1)).square().sum()
        + w.norm(p=float("inf"), dim=1).sum()
        + w.norm(p=float("-inf"), dim=1).sum()
        + (w.kthvalue(1, 1).values * 0).sum()
        + (x * w).sum()
    )


@written(lambda: {"w": nn.Parameter(torch.tensor([[1.0, 3.0, 3.0, 3.0, 0.0], [2.0, 2.0, 0.0, 1.0, 2.0]]))}, (2, 5))
def sort_ties(m: Any, x: Tensor) -> Any:
    scale = torch.arange(5.0)
    s, i = m.w.sort(dim=1, descending=True, stable=True)
    t = m.w.sort(dim=1, stable=True)[0]
    return (s * scale).sum() + (t * scale).square().sum() + (x.gather(1, i) * m.w).sum() + (m.w.msort() * x).sum()


@written()
def topk_gradient(m: Any, x: Tensor) -> Any:
    v, i = m.a(x).topk(2, 1, largest=False)
    k = m.b(x).gather(1, i)
    return (v * k).mean() + m.a(x).topk(3, 0)[0].square().mean()


@written(lambda: {"w": nn.Parameter(torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]]))}, (2, 3))
def norms_at_zero(m: Any, x: Tensor) -> Any:
    w = m.w
    total = (x * w).sum()
    for p in (2, 1, 3, 0.5 + 1, float("inf"), 0):
        total = total + w.norm(p=p, dim=1).sum()
    return (
        total
        + torch.linalg.vector_norm(w, dim=0).sum()
        + w.norm()
        + torch.linalg.matrix_norm(w)
        + functional.normalize(w, dim=1).sum()
        + functional.normalize(w, p=1, dim=0).square().sum()
    )


@written(lambda: {"w": nn.Parameter(torch.tensor([0.0, 1.0, 4.0]))}, (3,))
def sqrt_at_zero(m: Any, x: Tensor) -> Any:
    return m.w.sqrt().sum() + (x * m.w).sum()


@written(lambda: {"w": nn.Parameter(torch.tensor([0.0, 1.0, -4.0]))}, (3,))
def powers_at_zero(m: Any, x: Tensor) -> Any:
    w = m.w
    return (
        w**2
        + w**3
        + w**1
        + w**0
        + w.abs() ** 1.5
        + torch.pow(torch.tensor(2.0), w)
        + torch.pow(w.abs(), torch.tensor([0.0, 1.0, 2.0]))
        + w.square()
        + torch.sinc(w)
        + torch.xlogy(w.abs(), w.abs())
        + torch.atan2(w, torch.tensor([1.0, 0.0, -1.0]))
        + torch.special.entr(w.abs() + 0.1)
        + torch.copysign(w, torch.tensor([-1.0, 1.0, 1.0]))
        + torch.fmod(w, 3)
        + torch.remainder(w, 3)
        + w.frac()
        + w.nan_to_num()
        + torch.logaddexp(w, x)
        + torch.lerp(w, x, 0.3)
        + torch.lerp(x, w, w.detach())
        + torch.special.expit(w)
        + torch.erf(w)
        + torch.lgamma(w.abs() + 1)
        + torch.digamma(w.abs() + 1)
        + torch.expm1(w)
        + torch.log1p(w.abs())
        + w.cosh()
        + w.asinh()
        + torch.deg2rad(w)
        + torch.heaviside(w, torch.tensor(0.5)).detach()
        + torch.trunc(w)
        + torch.special.ndtr(w)
    ).sum()


@written()
def pow_nan_where_zero(m: Any, x: Tensor) -> Any:
    h = m.a(x).relu()
    return (h + 0).pow(0.5).mean() + m.b(x).mean()


@written()
def std_of_one(m: Any, x: Tensor) -> Any:
    return m.a(x)[:1].std(0).sum() + m.b(x).mean()


@written()
def std_variants(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    v, mean = torch.var_mean(h, dim=(0, 1), correction=0)
    return (
        h.std()
        + h.var(0, unbiased=False).sum()
        + v * mean
        + m.b(x).std(1, correction=2).sum()
        + m.b(x)[:1].var(0, correction=0).sum()
        + torch.std_mean(h, 1)[0].square().sum()
    )


@written()
def std_of_constant(m: Any, x: Tensor) -> Any:
    return (m.a(x) * 0 + 1).std(0).sum() + m.b(x).mean()


@written()
def log_softmax_inf(m: Any, x: Tensor) -> Any:
    mask = torch.tensor([[0.0, float("-inf"), 0.0, 0.0]])
    h = (m.a(x) + mask).log_softmax(1)
    return -h[:, 0].mean() + (m.b(x) + mask).softmax(1).square().mean() + torch.logsumexp(m.a(x) + mask, 1).mean()


@written()
def softmax_all_inf(m: Any, x: Tensor) -> Any:
    mask = torch.full((6, 4), 0.0)
    mask[2] = float("-inf")
    return (m.a(x) + mask).softmax(1).nansum() + m.b(x).mean()


@written()
def nan_reductions(m: Any, x: Tensor) -> Any:
    h = torch.where(x > 1, float("nan"), m.a(x))
    return h.nansum() + h.nanmean() + m.b(x).nan_to_num().square().mean()


# norms


@written(lambda: {"n": nn.BatchNorm1d(4, momentum=None), "a": nn.Linear(4, 4)})
def batch_norm_cumulative(m: Any, x: Tensor) -> Any:
    return m.n(m.a(x)).square().mul(x).mean()


@written(
    lambda: {
        "n": nn.BatchNorm1d(4, track_running_stats=False),
        "o": nn.BatchNorm1d(4, affine=False, momentum=0.3),
        "a": nn.Linear(4, 4),
    }
)
def batch_norm_kinds(m: Any, x: Tensor) -> Any:
    return (m.n(m.a(x)) * m.o(m.a(x).tanh()) * x).mean()


@written(
    lambda: {
        "n": nn.BatchNorm2d(2),
        "g": nn.GroupNorm(1, 2),
        "i": nn.InstanceNorm2d(2, affine=True, track_running_stats=True),
        "j": nn.InstanceNorm2d(2),
        "r": nn.RMSNorm((5, 6)),
        "s": nn.RMSNorm(6, eps=None, elementwise_affine=False),
        "l": nn.LayerNorm((5, 6), bias=False),
        "k": nn.LocalResponseNorm(2),
        "c": nn.Conv2d(2, 2, 1),
    },
    (3, 2, 5, 6),
)
def norm_kinds(m: Any, x: Tensor) -> Any:
    h = m.c(x)
    return sum((n(h) * x).mean() * (k + 1) for k, n in enumerate((m.n, m.g, m.i, m.j, m.r, m.s, m.l, m.k)))


@written(
    lambda: {
        "n": nn.BatchNorm2d(2),
        "i": nn.InstanceNorm2d(2, affine=True, track_running_stats=True),
        "c": nn.Conv2d(2, 2, 1),
        "d": nn.Dropout(0.5),
    },
    (3, 2, 5, 6),
    is_evaluated=True,
)
def norms_in_eval(m: Any, x: Tensor) -> Any:
    return (m.d(m.n(m.c(x))) * m.i(m.c(x)) * x).mean()


@written(lambda: {"n": nn.BatchNorm1d(4), "a": nn.Linear(4, 4), "d": nn.Dropout(0.5)})
def frozen_norm_in_train(m: Any, x: Tensor) -> Any:
    m.n.eval()
    m.d.eval()
    return (m.d(m.n(m.a(x))) * x).mean()


@written(lambda: {"a": nn.Linear(4, 4), "d": nn.Dropout(1.0), "e": nn.Dropout(0.0), "f": nn.Dropout1d(0.0)})
def dropout_extremes(m: Any, x: Tensor) -> Any:
    return m.a(x).square().mean() + m.d(m.a(x)).sum() + m.e(m.a(x)).mean() + m.f(m.a(x)).square().mean()


# parametrizations, containers, buffers


class Symmetric(nn.Module):
    def forward(self, w: Any) -> Any:
        return w.triu() + w.triu(1).t()


def _parametrized() -> dict[str, Any]:
    a = nn.Linear(4, 4)
    parametrize.register_parametrization(a, "weight", Symmetric())
    return {
        "a": a,
        "b": parametrizations.weight_norm(nn.Linear(4, 4)),
        "c": parametrizations.spectral_norm(nn.Linear(4, 4)),
        "d": parametrizations.weight_norm(nn.Conv1d(1, 2, 3), dim=1),
    }


@written(_parametrized)
def parametrized(m: Any, x: Tensor) -> Any:
    return m.c(m.b(m.a(x))).square().mean() + m.d(x[:, None]).square().mean()


@written(lambda: {"a": parametrizations.orthogonal(nn.Linear(4, 4)), "b": nn.Linear(4, 4)})
def orthogonal(m: Any, x: Tensor) -> Any:
    return m.b(m.a(x)).square().mean()


@written(lambda: {"a": nn.Linear(4, 4), "o": parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="cayley")})
def orthogonal_cayley(m: Any, x: Tensor) -> Any:
    return (m.a(x) * m.o(x)).square().mean()


@written(
    lambda: {
        "p": nn.ParameterList([nn.Parameter(torch.randn(4)) for _ in range(3)]),
        "d": nn.ParameterDict({"s": nn.Parameter(torch.randn(4)), "t": nn.Parameter(torch.ones(()))}),
        "l": nn.ModuleList([nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())]),
        "k": nn.ModuleDict({"u": nn.Linear(4, 2)}),
    }
)
def containers(m: Any, x: Tensor) -> Any:
    for p, layer in zip(m.p, m.l):
        x = layer(x) * p
    return (m.k["u"](x).sum(1, keepdim=True) * m.d["s"] + m.d["t"]).square().mean()


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("history", torch.zeros(3, 4), persistent=False)
        self.register_buffer("none", None)

    def forward(self, x: Any) -> Any:
        self.seen += 1
        self.history = torch.cat([self.history[1:], x.detach().mean(0, keepdim=True)])
        return x * (1 + 0.1 * self.seen) + self.history.sum(0)


@written(lambda: {"a": nn.Linear(4, 4), "n": Counter()})
def counters(m: Any, x: Tensor) -> Any:
    return m.n(m.a(x)).square().mean()


@written(lambda: {"a": nn.Linear(4, 4), "queue": torch.randn(8, 4), "at": torch.zeros(1, dtype=torch.long)})
def moco_queue(m: Any, x: Tensor) -> Any:
    q = functional.normalize(m.a(x), dim=1)
    logits = torch.cat([(q * q.detach()).sum(1, keepdim=True), q @ m.queue.clone().t()], 1)
    with torch.no_grad():
        places = (torch.arange(6) + m.at) % 8
        m.queue[places] = q.detach()
        m.at[0] = (m.at[0] + 6) % 8
    return functional.cross_entropy(logits / 0.2, torch.zeros(6, dtype=torch.long))


@written(lambda: {"a": nn.Linear(4, 4), "codes": torch.randn(5, 4), "size": torch.ones(5), "mean": torch.randn(5, 4)})
def vector_quantizer_ema(m: Any, x: Tensor) -> Any:
    z = m.a(x)
    distance = z.detach().pow(2).sum(1, keepdim=True) - 2 * z.detach() @ m.codes.t() + m.codes.pow(2).sum(1)
    i = distance.argmin(1)
    q = m.codes[i]
    loss = functional.mse_loss(z, q.detach()) + (z + (q - z).detach()).mul(x).mean()
    with torch.no_grad():
        one = functional.one_hot(i, 5).float()
        m.size.mul_(0.9).add_(one.sum(0), alpha=0.1)
        m.mean.mul_(0.9).add_(one.t() @ z, alpha=0.1)
        n = m.size.sum()
        m.codes.copy_(m.mean / ((m.size + 1e-5) / (n + 5e-5) * n)[:, None])
    return loss


@written(lambda: {"a": nn.Linear(4, 4), "center": torch.zeros(1, 4)})
def dino_center(m: Any, x: Tensor) -> Any:
    with torch.no_grad():
        t = ((m.a(x * 1.1) - m.center) / 0.04).softmax(1)
        m.center = m.center * 0.9 + m.a(x).mean(0, keepdim=True) * 0.1
    return -(t * (m.a(x) / 0.1).log_softmax(1)).sum(1).mean()


# types


@written(lambda: {"a": nn.Linear(4, 4).bfloat16(), "b": nn.Linear(4, 4)})
def bf16_module(m: Any, x: Tensor) -> Any:
    return m.b(m.a(x.bfloat16()).float()).square().mean()


@written(lambda: {"a": nn.Linear(4, 4).half(), "b": nn.Linear(4, 4)})
def half_module(m: Any, x: Tensor) -> Any:
    return m.b(m.a(x.half()).float()).square().mean()


@written(lambda: {"a": nn.Linear(4, 4).double(), "b": nn.Linear(4, 4)})
def double_module(m: Any, x: Tensor) -> Any:
    return m.b(m.a(x.double()).float()).square().mean()


@written()
def autocast_region(m: Any, x: Tensor) -> Any:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = m.a(x)
        with torch.autocast("cpu", enabled=False):
            k = m.b(h.float())
    return (h.float() * k).square().mean()


@written()
def autocast_products(m: Any, x: Tensor) -> Any:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = m.b(torch.softmax(m.a(x), 1))
    return h.float().square().mean()


# functions and transforms


class TwoOutputs(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, scale: Any) -> Any:
        ctx.save_for_backward(x, y)
        ctx.scale = scale
        return x * y * scale, (x + y).detach().clone(), x.sum()

    @staticmethod
    def backward(ctx: Any, g: Any, h: Any, k: Any) -> Any:
        x, y = ctx.saved_tensors
        return g * y * ctx.scale * 2 + h + k, g * x if g is not None else None, None


@written()
def custom_two_outputs(m: Any, x: Tensor) -> Any:
    p, q, r = TwoOutputs.apply(m.a(x), m.b(x), 3.0)
    return p.square().mean() + (q * x).sum() + r


@written()
def custom_unused_output(m: Any, x: Tensor) -> Any:
    p, _, _ = TwoOutputs.apply(m.a(x), m.b(x), 0.5)
    return p.square().mean()


class SetUp(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(x: Any, k: Any) -> Any:
        return x.exp() * k

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return (None if g is None else g * y * 0.5), None


@written()
def custom_setup_context(m: Any, x: Tensor) -> Any:
    return SetUp.apply(m.a(x), 2.0).mean() + m.b(x).square().mean()


class OnceDifferentiable(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * (x.abs() <= 1)


@written()
def custom_once(m: Any, x: Tensor) -> Any:
    return OnceDifferentiable.apply(m.a(x) * 2).square().mean() + m.b(x).mean()


@written()
def vmap_grad(m: Any, x: Tensor) -> Any:
    def f(row: Tensor) -> Any:
        return torch.tanh(m.a(row)).sum()

    return (
        torch.func.vmap(torch.func.grad(f))(x).square().mean()
        + torch.func.vmap(m.b)(x).square().mean()
        + torch.func.jvp(m.b, (x,), (x * 2,))[1].square().mean()
    )


@written()
def jacobian(m: Any, x: Tensor) -> Any:
    return (
        torch.func.jacrev(lambda t: torch.tanh(m.a(t)))(x[0]).square().mean()
        + torch.func.jacfwd(lambda t: torch.tanh(m.b(t)))(x[0]).square().mean()
        + torch.func.hessian(lambda t: m.a(t).tanh().sum())(x[1]).square().mean()
    )


@written(lambda: {"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
def ensemble_by_functional_call(m: Any, x: Tensor) -> Any:
    stacked, _ = torch.func.stack_module_state([m.a, m.b])
    stacked = {n: torch.stack([getattr(m.a, n), getattr(m.b, n)]) for n in stacked}
    made = torch.func.vmap(lambda p, t: torch.func.functional_call(m.a, p, (t,)), (0, None))(stacked, x)
    return made.square().mean()


@written()
def saved_tensor_hooks(m: Any, x: Tensor) -> Any:
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
        h = m.a(x).square()
    return h.mean() + m.b(x).square().mean()


@written()
def retain_grad_read(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    h.retain_grad()
    return h.square().mean() + m.b(x).square().mean()


@written()
def detach_inplace(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    h = h.detach_()
    return (h * m.b(x)).mean()


@written()
def requires_grad_in_forward(m: Any, x: Tensor) -> Any:
    z = torch.zeros(4, requires_grad=True)
    return (m.a(x) + z).square().mean() + m.b(x).mean()


@written()
def partial_backward_inside(m: Any, x: Tensor) -> Any:
    loss = m.a(x).square().mean()
    g = torch.autograd.grad(loss, m.a.weight, retain_graph=True)[0]
    return loss + (m.b(x) * g[0]).square().mean()


@written()
def inference_mode_part(m: Any, x: Tensor) -> Any:
    with torch.inference_mode():
        t = m.b(x)
    return (m.a(x) - t.clone()).square().mean()


@written()
def python_numbers(m: Any, x: Tensor) -> Any:
    n = len(x)
    return (
        m.a(x).sum() / n
        + m.b(x).sum() * float(x.shape[1]) ** -0.5
        + sum(m.a(x[i]).square().mean() for i in range(n)) / max(n, 1)
    )


@written()
def tensor_constructors(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    return (
        h * torch.ones_like(h).tril() * torch.linspace(0, 1, 4)
        + torch.eye(6, 4) * torch.full_like(h, 0.5)
        + torch.arange(6).view(6, 1) * h.new_tensor([1.0, 2, 3, 4])
    ).square().mean() + m.b(x).mean()


# losses


@written()
def losses_classes(m: Any, x: Tensor) -> Any:
    h, t = m.a(x), torch.tensor([0, 1, 2, 3, 1, -100])
    w = torch.tensor([1.0, 2.0, 0.5, 0.0])
    return (
        functional.cross_entropy(h, t)
        + functional.cross_entropy(h, t, weight=w, label_smoothing=0.1)
        + functional.cross_entropy(h, t, reduction="none").sum()
        + functional.cross_entropy(m.b(x), x.softmax(1))
        + functional.multi_margin_loss(h[:5], t[:5], margin=0.5)
        + functional.multilabel_margin_loss(h, torch.tensor([[0, 2, -1, 1]] * 6))
        + functional.binary_cross_entropy_with_logits(h, x.sigmoid(), pos_weight=w)
        + functional.binary_cross_entropy(m.b(x).sigmoid(), x.sigmoid(), weight=w)
        + functional.multilabel_soft_margin_loss(h, (x > 0).float())
    )


@written()
def losses_regression(m: Any, x: Tensor) -> Any:
    h, k = m.a(x), m.b(x)
    return (
        functional.kl_div(h.log_softmax(1), k.softmax(1), reduction="batchmean")
        + functional.kl_div(h.log_softmax(1), k.log_softmax(1), log_target=True, reduction="sum")
        + functional.gaussian_nll_loss(h, x, k.square() + 0.1, full=True)
        + functional.poisson_nll_loss(h, x.abs(), log_input=True, full=True)
        + functional.smooth_l1_loss(h, x, beta=0.3)
        + functional.cosine_embedding_loss(h, k, torch.tensor([1, -1, 1, -1, 1, 1]), margin=0.1)
        + functional.triplet_margin_loss(h, k, x, swap=True)
        + functional.margin_ranking_loss(h, k, torch.sign(x), margin=0.2)
        + functional.hinge_embedding_loss(h, torch.sign(x))
        + functional.soft_margin_loss(k, torch.sign(x))
    )


@written()
def focal_dice(m: Any, x: Tensor) -> Any:
    p = m.a(x).sigmoid()
    t = (x > 0).float()
    pt = p * t + (1 - p) * (1 - t)
    return (
        (-((1 - pt) ** 2) * pt.clamp(1e-7).log()).mean()
        + 1
        - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        + m.b(x).mean()
    )


@written()
def info_nce(m: Any, x: Tensor) -> Any:
    z = functional.normalize(torch.cat([m.a(x), m.b(x)]), dim=1)
    sim = (z @ z.t() / 0.5).masked_fill(torch.eye(12, dtype=torch.bool), float("-inf"))
    return functional.cross_entropy(sim, (torch.arange(12) + 6) % 12)


@written()
def sinkhorn(m: Any, x: Tensor) -> Any:
    q = (m.a(x) / 0.5).exp().t()
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(1, keepdim=True) / 4
        q = q / q.sum(0, keepdim=True) / 6
    return -(q.detach() * m.b(x).t().log_softmax(0)).sum() + q.square().sum()


# attention


@written(
    lambda: {
        "t": nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"),
        "d": nn.TransformerDecoderLayer(4, 2, 8, dropout=0.0, batch_first=True),
    },
    (2, 5, 4),
)
def transformer_layers(m: Any, x: Tensor) -> Any:
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    pad = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    h = m.t(x, src_mask=mask, src_key_padding_mask=pad.float() * -1e9, is_causal=True)
    return (m.d(x, h, tgt_mask=mask, memory_key_padding_mask=pad) * x).mean()


@written(
    lambda: {
        "q": nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, kdim=4, vdim=4, batch_first=True),
        "k": nn.MultiheadAttention(4, 2, kdim=3, vdim=2),
    },
    (2, 5, 4),
)
def attention_options(m: Any, x: Tensor) -> Any:
    y, w = m.q(x, x, x, average_attn_weights=False)
    z, v = m.k(x, x[..., :3], x[..., :2])
    return y.square().mean() + w.square().mean() + z.square().mean() + v.square().sum()


@written(lambda: {"a": nn.Linear(4, 8)}, (2, 5, 4))
def attention_grouped(m: Any, x: Tensor) -> Any:
    q = m.a(x).view(2, 5, 4, 2).transpose(1, 2)
    k = x.view(2, 5, 2, 2).transpose(1, 2)
    return functional.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True, scale=0.3).square().mean()


# optimizers


def _two_groups(m: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        [
            {"params": m.a.parameters(), "lr": 0.1, "weight_decay": 0.01},
            {"params": [m.b.weight], "momentum": 0.9, "nesterov": True},
            {"params": [m.b.bias], "lr": 0.0},
        ],
        lr=0.02,
    )


OPTIMIZERS: dict[str, Optimizer] = {
    "nesterov": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, nesterov=True),
    "dampening": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, dampening=0.5, weight_decay=0.1),
    "sgd_maximize": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, maximize=True, weight_decay=0.1),
    "amsgrad": lambda m: torch.optim.Adam(m.parameters(), lr=0.05, amsgrad=True),
    "adam_maximize": lambda m: torch.optim.Adam(m.parameters(), lr=0.05, maximize=True, weight_decay=0.1),
    "adamw_foreach": lambda m: torch.optim.AdamW(m.parameters(), lr=0.05, foreach=True),
    "adamw_fused": lambda m: torch.optim.AdamW(m.parameters(), lr=0.05, fused=True),
    "adamw_amsgrad": lambda m: torch.optim.AdamW(m.parameters(), lr=0.05, amsgrad=True, eps=1e-3, betas=(0.5, 0.9)),
    "tensor_lr": lambda m: torch.optim.AdamW(m.parameters(), lr=torch.tensor(0.05)),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=0.01, centered=True, momentum=0.5),
    "adagrad": lambda m: torch.optim.Adagrad(m.parameters(), lr=0.05, lr_decay=0.1, initial_accumulator_value=0.1),
    "nadam": lambda m: torch.optim.NAdam(m.parameters(), lr=0.05),
    "adamax": lambda m: torch.optim.Adamax(m.parameters(), lr=0.05),
    "rprop": lambda m: torch.optim.Rprop(m.parameters(), lr=0.05),
    "two_groups": _two_groups,
    "partial": lambda m: torch.optim.SGD(m.a.parameters(), lr=0.1),
    "lbfgs": lambda m: torch.optim.LBFGS(m.parameters()),
    "differentiable": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, differentiable=True),
    "capturable": lambda m: torch.optim.Adam(
        m.parameters(), lr=0.1, capturable=False, decoupled_weight_decay=True, weight_decay=0.3
    ),
}


def _layers(m: Any, x: Tensor) -> Any:
    return m.b(torch.tanh(m.a(x))).square().mean()


for _name, _optimizer in OPTIMIZERS.items():
    CASES[f"optimizer_{_name}"] = Case(linear, _layers, lambda: torch.randn(6, 4), _optimizer)
