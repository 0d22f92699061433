"""What people train, in small: policies, contrastive losses, graphs, quantisation, physics."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.utils.prune
from torch import Tensor, nn, tensor
from torch.nn import functional

from tests.models.written import linear, written


@written()
def small_integers(m: Any, x: Tensor) -> Any:
    u = (x * 50).abs().to(torch.uint8)
    s = (u + 200) * 3
    i = (x * 50).to(torch.int8) * 5 - 100
    k = (x * 9000).to(torch.int16) * 7
    w = (
        s.float() / 100
        + i.float() / 50
        + k.float() / 10000
        + (u >> 1).float()
        + (u // 3).float()
        + (-u).float()
        + (~i).float()
        + u.sum().float() / 1000
        + i.sum(0).float() / 100
    )
    return (m.a(x) * w).mean(), s, i, k, u.sum(), i.cumsum(0), k.prod(1) if False else k


@written()
def promotions(m: Any, x: Tensor) -> Any:
    n = (x * 5).long()
    b = x > 0
    y = (
        n * 0.5
        + b * 2
        + n / 3
        + n // 2
        + n % 3
        + (n == 2) * 1.5
        + b.sum()
        + b.cumsum(0)
        + n.float().mean()
        + torch.true_divide(n, 4)
        + n.pow(2)
        + 2 ** n.abs().clamp(max=4)
        + (b & (n > 1)).int()
        + b.logical_xor(n > 0).float()
        + n.clamp(-1, 2)
        + n.sign()
        + n.abs().sqrt()
        + torch.maximum(n, tensor(1))
        + n.bitwise_and(3)
    )
    return (
        (m.a(x) * y).mean(),
        y,
        n // -2,
        n % -3,
        n.fmod(3),
        torch.div(n, 2, rounding_mode="trunc"),
        b.int().argmax(1),
        b.any(1),
        n.amax(1),
        (n << 2),
        (n >> 1),
    )


@written()
def returns_same_twice(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    loss = h.square().mean()
    return loss, loss, h, h.view(4, 6), x, h[0], h.detach()


@written()
def in_place_on_returned(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    loss = h.square().mean()
    k = h.detach()
    out = (loss + 0, k * 1)
    return out[0], out[1].add_(1), k


@written()
def in_place_on_input(m: Any, x: Tensor) -> Any:
    x = x.clone()
    x.relu_()
    x[:, 0] = 5
    return m.a(x).square().mean() + m.b(x).mean()


@written()
def branch_on_requires_grad(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    return (
        h.square().mean() * (2 if h.requires_grad else 3)
        + (m.b(x).mean() if not x.requires_grad else 0)
        + (1 if torch.is_grad_enabled() else 5)
        + (m.training * 0.5)
    )


@written(lambda: {**linear(), "d": nn.Dropout(0.5)})
def toggles_mode(m: Any, x: Tensor) -> Any:
    m.d.train(False)
    y = m.d(m.a(x))
    return functional.dropout(y, 0.7, training=m.d.training).square().mean()


@written(lambda: {**linear(), "frozen": nn.Linear(4, 4).requires_grad_(False)})
def gradient_through_frozen(m: Any, x: Tensor) -> Any:
    return m.frozen(torch.tanh(m.a(x))).square().mean() + (m.frozen.weight * m.b.weight).sum()


@written(lambda: {**linear(), "s": nn.Parameter(torch.tensor(0.3)), "unused": nn.Parameter(torch.ones(3))})
def scalar_and_unused(m: Any, x: Tensor) -> Any:
    return (m.a(x) * m.s + m.s.exp() * m.b(x)).square().mean() + m.s**2


@written(lambda: {"a": nn.Linear(4, 4), "log_vars": nn.Parameter(torch.zeros(2))})
def uncertainty_weighting(m: Any, x: Tensor) -> Any:
    each = torch.stack([m.a(x).square().mean(), m.a(x).abs().mean()])
    return (torch.exp(-m.log_vars) * each + m.log_vars).sum()


@written(lambda: {"a": nn.Linear(4, 4), "w": nn.Parameter(torch.randn(4, 4))})
def weight_standardised(m: Any, x: Tensor) -> Any:
    w = (m.w - m.w.mean(1, keepdim=True)) / (m.w.std(1, keepdim=True, unbiased=False) + 1e-5)
    return functional.linear(m.a(x), w).square().mul(x).mean()


@written(lambda: {"a": nn.Linear(4, 8)})
def gated(m: Any, x: Tensor) -> Any:
    p, q = m.a(x).chunk(2, -1)
    h = p * functional.silu(q) + functional.glu(m.a(x), 1)
    return h.square().mean()


@written(
    lambda: {"e": nn.EmbeddingBag(9, 4, mode="mean", padding_idx=0), "a": nn.Linear(4, 4)},
    lambda: torch.randint(9, (5, 3)),
)
def bags(m: Any, x: Tensor) -> Any:
    return m.a(m.e(x)).square().mean()


@written(lambda: {"emb": nn.Embedding(6, 4), "a": nn.Linear(4, 6, bias=False)}, lambda: torch.randint(6, (3, 5)))
def tied_weights(m: Any, x: Tensor) -> Any:
    m.a.weight = m.emb.weight
    h = m.emb(x).cumsum(1)
    return functional.cross_entropy(m.a(h)[:, :-1].reshape(-1, 6), x[:, 1:].reshape(-1))


@written()
def straight_through_sample(m: Any, x: Tensor) -> Any:
    p = m.a(x).softmax(-1)
    hard = functional.one_hot(p.argmax(-1), 4).float()
    y = hard + p - p.detach()
    return (y * m.b(x)).sum(1).square().mean()


@written()
def lambda_returns(m: Any, x: Tensor) -> Any:
    v = m.a(x)[:, 0]
    r = x[:, 1]
    g = torch.zeros(())
    out = []
    for t in reversed(range(len(x))):
        g = r[t] + 0.9 * (0.95 * g + 0.05 * v[t].detach())
        out.insert(0, g)
    return functional.mse_loss(v, torch.stack(out).detach()) + m.b(x).mean()


@written()
def ppo(m: Any, x: Tensor) -> Any:
    logp = m.a(x).log_softmax(1)[:, 1]
    old = logp.detach() + x[:, 0] * 0.3
    adv = x[:, 2]
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    ratio = (logp - old).exp()
    v = m.b(x)[:, 0]
    vc = x[:, 1] + (v - x[:, 1]).clamp(-0.2, 0.2)
    R = x[:, 3]
    ent = -(logp.exp() * logp).mean()
    return (
        -torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv).mean()
        + 0.5 * torch.max((v - R) ** 2, (vc - R) ** 2).mean()
        - 0.01 * ent
    )


@written()
def mixture_density(m: Any, x: Tensor) -> Any:
    pi, mu = m.a(x).log_softmax(1), m.b(x)
    d = torch.distributions.Normal(mu, mu.exp() + 0.1, validate_args=False)
    return -torch.logsumexp(pi + d.log_prob(x[:, :1]), 1).mean()


@written()
def categorical(m: Any, x: Tensor) -> Any:
    d = torch.distributions.Categorical(logits=m.a(x), validate_args=False)
    q = torch.distributions.Categorical(probs=m.b(x).softmax(1), validate_args=False)
    return (
        -d.log_prob(torch.tensor([0, 1, 2, 3, 0, 1])).mean()
        + d.entropy().mean()
        + torch.distributions.kl_divergence(d, q).mean()
    )


@written()
def ordinal(m: Any, x: Tensor) -> Any:
    c = m.a(x).sigmoid().cumprod(1)
    return functional.binary_cross_entropy(c, (x > 0).float().cummin(1).values) + m.b(x).diff(dim=1).relu().mean()


@written()
def sorted_loss(m: Any, x: Tensor) -> Any:
    v, i = m.a(x)[:, 0].sort(descending=True)
    gt = (x[:, 1] > 0).float()[i]
    inter = gt.sum() - gt.cumsum(0)
    union = gt.sum() + (1 - gt).cumsum(0)
    j = 1 - inter / union
    j = torch.cat([j[:1], j[1:] - j[:-1]])
    return (functional.relu(v) * j).sum() + m.b(x).topk(2).values.mean()


@written()
def ohem(m: Any, x: Tensor) -> Any:
    each = functional.cross_entropy(m.a(x), torch.arange(6) % 4, reduction="none")
    k = each.topk(3).values
    return k.mean() + torch.where(each > each.median(), each, 0).sum() / 3 + m.b(x).kthvalue(2, 1).values.mean()


@written()
def graph_attention(m: Any, x: Tensor) -> Any:
    src, dst = tensor([0, 1, 2, 3, 4, 5, 0]), tensor([1, 2, 0, 4, 5, 3, 2])
    h = m.a(x)
    e = functional.leaky_relu((h[src] * h[dst]).sum(1), 0.2)
    mx = torch.full((6,), float("-inf")).scatter_reduce(0, dst, e, "amax")
    w = (e - mx[dst]).exp()
    s = torch.zeros(6).index_add(0, dst, w)
    out = torch.zeros(6, 4).index_add_(0, dst, h[src] * (w / s[dst])[:, None])
    return (functional.elu(out) * m.b(x)).mean()


@written()
def sparse_product(m: Any, x: Tensor) -> Any:
    a = torch.sparse_coo_tensor(tensor([[0, 1, 2], [2, 0, 1]]), tensor([1.0, 2.0, 3.0]), (6, 6))
    return torch.sparse.mm(a, m.a(x)).square().mean()


@written(lambda: {"w": nn.Parameter(torch.randn(3, 4))})
def kmeans_distance(m: Any, x: Tensor) -> Any:
    d = torch.cdist(x, m.w)
    q = 1 / (1 + d**2)
    q = q / q.sum(1, keepdim=True)
    p = q**2 / q.sum(0)
    p = (p / p.sum(1, keepdim=True)).detach()
    return functional.kl_div(q.log(), p, reduction="batchmean")


@written(lambda: {"a": nn.Linear(4, 4), "A": nn.Parameter(torch.rand(4)), "h0": torch.zeros(4)})
def state_space_scan(m: Any, x: Tensor) -> Any:
    u = m.a(x)
    h = m.h0
    ys = []
    for t in range(6):
        h = torch.exp(-m.A) * h + u[t]
        ys.append(h.tanh())
    m.h0 = h.detach()
    return torch.stack(ys).square().mean()


@written(lambda: {"c": nn.Conv2d(3, 3, 3, padding=1, bias=False), "k": torch.ones(3, 1, 3, 3) / 9}, (2, 3, 6, 6))
def ssim(m: Any, x: Tensor) -> Any:
    y = m.c(x)

    def f(t: Tensor) -> Tensor:
        return functional.conv2d(t, m.k, groups=3)

    a, b = f(x), f(y)
    va, vb, c = f(x * x) - a * a, f(y * y) - b * b, f(x * y) - a * b
    s = (2 * a * b + 0.01) * (2 * c + 0.03) / ((a * a + b * b + 0.01) * (va + vb + 0.03))
    tv = (y[..., 1:] - y[..., :-1]).abs().mean() + (y[:, :, 1:] - y[:, :, :-1]).pow(2).mean()
    return 1 - s.mean() + tv


@written(lambda: {"c": nn.Conv2d(3, 4, 3), "d": nn.Conv2d(4, 3, 1)}, (2, 3, 6, 6))
def gram_style(m: Any, x: Tensor) -> Any:
    h = m.c(x).relu()
    f = h.flatten(2)
    g = f @ f.transpose(1, 2) / f.shape[-1]
    return (
        g.square().mean()
        + functional.interpolate(m.d(h), x.shape[2:], mode="bilinear").sub(x).abs().mean()
        + functional.adaptive_avg_pool2d(h, 1).flatten(1).norm(dim=1).mean()
    )


@written(lambda: {"c": nn.Conv2d(3, 18, 3, padding=1), "w": nn.Parameter(torch.randn(4, 3 * 9))}, (1, 3, 5, 5))
def deformable(m: Any, x: Tensor) -> Any:
    off = m.c(x).tanh().view(1, 9, 2, 5, 5)
    base = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 5), indexing="xy"), -1)
    cols = [functional.grid_sample(x, base[None] + off[:, k].permute(0, 2, 3, 1), align_corners=True) for k in range(9)]
    return torch.einsum("ok,bkhw->bohw", m.w, torch.cat(cols, 1)).square().mean()


@written(lambda: {"a": nn.Linear(4, 6)})
def rotations_6d(m: Any, x: Tensor) -> Any:
    p, q = m.a(x).split(3, 1)
    b1 = functional.normalize(p, dim=1)
    b2 = functional.normalize(q - (b1 * q).sum(1, keepdim=True) * b1, dim=1)
    r = torch.stack([b1, b2, torch.linalg.cross(b1, b2)], 1)
    return torch.acos(((r.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-0.999, 0.999)).mean()


@written(lambda: {"a": nn.Linear(4, 4)})
def physics_informed(m: Any, x: Tensor) -> Any:
    x = x.clone().requires_grad_()
    u = torch.tanh(m.a(x)).sum(1)
    (g,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    lap = sum(torch.autograd.grad(g[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(4))
    return (lap + u).square().mean() + g.square().mean()


@written(lambda: {"t": nn.Parameter(torch.tensor(0.07).log()), **linear()})
def clip_loss(m: Any, x: Tensor) -> Any:
    a, b = functional.normalize(m.a(x), dim=-1), functional.normalize(m.b(x), dim=-1)
    with torch.no_grad():
        m.t.clamp_(-4, 4)
    s = m.t.exp() * a @ b.t()
    y = torch.arange(6)
    return (functional.cross_entropy(s, y) + functional.cross_entropy(s.t(), y)) / 2


@written(lambda: {**linear(), "mask": torch.tensor([[1.0, 0, 1, 1]] * 4)})
def masked_weights(m: Any, x: Tensor) -> Any:
    m.a.weight.data.mul_(m.mask)
    return m.b(functional.linear(x, m.a.weight * m.mask, m.a.bias).relu()).square().mean()


@written(
    lambda: {
        "a": nn.utils.prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)
        if hasattr(nn.utils, "prune")
        else nn.Linear(4, 4)
    }
)
def pruned(m: Any, x: Tensor) -> Any:
    return m.a(x).square().mean()


@written(lambda: {"a": nn.utils.weight_norm(nn.Linear(4, 4)), "b": nn.utils.spectral_norm(nn.Linear(4, 4))})
def old_norms(m: Any, x: Tensor) -> Any:
    return m.b(m.a(x)).square().mean()


@written(
    lambda: {
        "a": nn.Linear(4, 4),
        "scale": torch.ones(()),
        "amax": torch.zeros(3),
        "i": torch.zeros((), dtype=torch.long),
    }
)
def fake_quantised(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    with torch.no_grad():
        m.amax[m.i % 3] = h.abs().max()
        m.i += 1
        m.scale.copy_(m.amax.max() / 127)
    q = torch.fake_quantize_per_tensor_affine(h, 0.05, 0, -128, 127)
    r = h + ((h / m.scale).round().clamp(-128, 127) * m.scale - h).detach()
    return q.square().mean() + r.square().mean()
