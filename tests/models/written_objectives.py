"""Objectives and training schemes of many fields, in small, as their users write them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import weight_norm

from tests.models.written import linear, written


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-2)


@written(
    lambda: {"e": nn.Embedding(11, 6, padding_idx=0), "cell": nn.GRUCell(6, 6), "out": nn.Linear(6, 11)},
    lambda: torch.tensor([[1, 4, 5, 2, 0], [1, 7, 8, 9, 2], [1, 3, 2, 0, 0]]),
)
def teacher_forcing_with_padding(m: Any, x: Tensor) -> Any:
    h = x.new_zeros(x.size(0), 6, dtype=torch.float32)
    forced = [True, False, True, True]
    inp, losses = x[:, 0], []
    for t in range(1, x.size(1)):
        h = m.cell(m.e(inp), h)
        logits = m.out(h)
        mask = (x[:, t] != 0).float()
        losses.append(functional.cross_entropy(logits, x[:, t], reduction="none") * mask)
        inp = x[:, t] if forced[t - 1] else logits.detach().argmax(-1)
    total = torch.stack(losses, 1)
    return total.sum() / (x[:, 1:] != 0).sum()


@written(lambda: {"a": nn.Linear(4, 8), "b": nn.Linear(8, 5), "labels": torch.tensor([0, 0, 1, 1, 2, 2])})
def batch_hard_triplets(m: Any, x: Tensor) -> Any:
    z = functional.normalize(m.b(m.a(x).relu()), dim=-1)
    square = (z * z).sum(1)
    d = (square[:, None] + square[None, :] - 2 * z @ z.t()).clamp_min(0)
    d = (d + (d == 0).float() * 1e-12).sqrt() * (1 - (d == 0).float())
    same = m.labels[:, None] == m.labels[None, :]
    positive = d.masked_fill(~same, float("-inf")).fill_diagonal_(float("-inf")).max(1).values
    negative = d.masked_fill(same, float("inf")).min(1).values
    loss = functional.softplus(positive - negative)
    return loss.mean(), (loss > 0.6).float().mean()


@written(lambda: {"a": nn.Linear(4, 5), "w": nn.Parameter(torch.randn(3, 5)), "y": torch.tensor([0, 2, 1, 1, 0, 2])})
def arc_face(m: Any, x: Tensor) -> Any:
    cosine = functional.linear(functional.normalize(m.a(x)), functional.normalize(m.w))
    sine = (1.0 - cosine.pow(2)).clamp(1e-6, 1).sqrt()
    phi = cosine * math.cos(0.5) - sine * math.sin(0.5)
    phi = torch.where(cosine > math.cos(math.pi - 0.5), phi, cosine - math.sin(math.pi - 0.5) * 0.5)
    one_hot = torch.zeros_like(cosine).scatter_(1, m.y.view(-1, 1), 1)
    return functional.cross_entropy((one_hot * phi + (1 - one_hot) * cosine) * 8.0, m.y)


@written(
    lambda: {"g": nn.Linear(4, 4), "d": nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))},
    (8, 4),
    adam,
)
def gan_of_two_losses(m: Any, x: Tensor) -> Any:
    fake = m.g(x.flip(0)).tanh()
    real_score, fake_score = m.d(x), m.d(fake.detach())
    d_loss = functional.binary_cross_entropy_with_logits(real_score, torch.full_like(real_score, 0.9))
    d_loss = d_loss + functional.binary_cross_entropy_with_logits(fake_score, torch.zeros_like(fake_score))
    for p in m.d.parameters():
        p.requires_grad_(False)
    g_score = m.d(fake)
    for p in m.d.parameters():
        p.requires_grad_(True)
    g_loss = functional.binary_cross_entropy_with_logits(g_score, torch.ones_like(g_score))
    return d_loss + g_loss, d_loss.detach(), g_loss.detach()


@written(
    lambda: {
        "net": nn.Sequential(nn.Linear(4 + 6, 16), nn.SiLU(), nn.Linear(16, 4)),
        "betas": torch.linspace(1e-4, 0.02, 10),
        "t": torch.tensor([0, 3, 9, 5, 5, 1]),
        "noise": torch.linspace(-1, 1, 24).reshape(6, 4),
    },
    optimizer=adam,
)
def diffusion_with_min_snr(m: Any, x: Tensor) -> Any:
    bar = torch.cumprod(1 - m.betas, 0)
    a = bar.gather(0, m.t).view(-1, 1)
    noisy = a.sqrt() * x + (1 - a).sqrt() * m.noise
    frequency = torch.exp(-math.log(1e4) * torch.arange(3, dtype=torch.float32) / 3)
    angle = m.t[:, None].float() * frequency[None]
    predicted = m.net(torch.cat([noisy, angle.sin(), angle.cos()], -1))
    snr = a / (1 - a)
    weight = torch.stack([snr, 5 * torch.ones_like(snr)], 1).min(1)[0] / snr
    return (weight * (predicted - m.noise) ** 2).mean()


@written(lambda: {"a": nn.Linear(4, 16), "pi": nn.Linear(16, 3), "mu": nn.Linear(16, 6), "s": nn.Linear(16, 6)}, (8, 4))
def mixture_density(m: Any, x: Tensor) -> Any:
    h = torch.tanh(m.a(x))
    log_pi = m.pi(h).log_softmax(-1)
    mu, sigma = m.mu(h).view(-1, 3, 2), functional.elu(m.s(h)).view(-1, 3, 2) + 1 + 1e-6
    y = x[:, None, :2]
    component = torch.distributions.Normal(mu, sigma, validate_args=False).log_prob(y).sum(-1)
    return -(log_pi + component).logsumexp(1).mean()


@written(lambda: {"w": nn.Parameter(torch.randn(1, 5, 3, 4, 6) * 0.1), "y": torch.tensor([0, 2, 1])}, (3, 5, 6))
def capsules(m: Any, x: Tensor) -> Any:
    u = (m.w @ x[:, :, None, :, None]).squeeze(-1)
    frozen = u.detach()
    logits = torch.zeros(3, 5, 3, 1)
    for i in range(3):
        c = functional.softmax(logits, 2)
        s = (c * (u if i == 2 else frozen)).sum(1, keepdim=True)
        norm = (s**2).sum(-1, keepdim=True)
        v = norm / (1 + norm) * s / (norm.sqrt() + 1e-8)
        if i < 2:
            logits = logits + (frozen * v).sum(-1, keepdim=True)
    length = v.squeeze(1).norm(dim=-1)
    t = functional.one_hot(m.y, 3).float()
    margin = t * functional.relu(0.9 - length) ** 2 + 0.5 * (1 - t) * functional.relu(length - 0.1) ** 2
    return margin.sum(1).mean(), length


@written(lambda: {"f": nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4)), "steps": torch.linspace(0, 1, 9)})
def neural_ode_euler(m: Any, x: Tensor) -> Any:
    path = [x]
    for t0, t1 in zip(m.steps[:-1], m.steps[1:]):
        y = path[-1]
        path.append(y + (t1 - t0) * m.f(torch.cat([y, t0.expand(y.size(0), 1)], 1)))
    path = torch.stack(path)
    kinetic = (path[1:] - path[:-1]).pow(2).sum(-1).mean()
    return (path[-1] - x.roll(1, 0)).pow(2).mean() + 0.1 * kinetic, path


@written(lambda: {"conv": nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU())}, (8, 2, 1, 6))
def siamese_contrastive(m: Any, x: Tensor) -> Any:
    left, right = m.conv(x[:, 0]).mean(-1), m.conv(x[:, 1]).mean(-1)
    y = (torch.arange(8) % 2).float()
    distance = functional.pairwise_distance(left, right)
    return (y * distance.pow(2) + (1 - y) * (1 - distance).clamp(min=0.0).pow(2)).mean(), distance


@written(
    lambda: {"a": nn.Linear(4, 4), "head": nn.Linear(4, 7)},
    (2, 6, 4),
)
def smoothed_labels_with_mask(m: Any, x: Tensor) -> Any:
    target = torch.tensor([[1, 2, 3, -100, -100, 5], [6, 0, -100, 4, 4, 4]])
    logits = m.head(m.a(x).relu())
    keep = target.ne(-100)
    log_p = logits.log_softmax(-1)
    nll = -log_p.gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    smooth = -log_p.mean(-1)
    loss = ((0.9 * nll + 0.1 * smooth) * keep).sum() / keep.sum()
    return loss, functional.cross_entropy(logits.view(-1, 7), target.view(-1), label_smoothing=0.1)


@written(lambda: {**linear(), "alpha": torch.tensor([0.25, 0.5, 0.75, 1.0])}, (6, 4))
def focal_and_dice(m: Any, x: Tensor) -> Any:
    logits, y = m.b(m.a(x).relu()), torch.arange(6) % 4
    ce = functional.cross_entropy(logits, y, weight=m.alpha, reduction="none")
    focal = ((1 - torch.exp(-ce)) ** 2 * ce).mean()
    p, t = logits.sigmoid(), functional.one_hot(y, 4)
    dice = 1 - (2 * (p * t).sum(0) + 1) / (p.sum(0) + t.sum(0) + 1)
    return focal + dice.mean()


@written(
    lambda: {
        "emit": nn.Linear(4, 3),
        "trans": nn.Parameter(torch.randn(3, 3)),
        "start": nn.Parameter(torch.randn(3)),
        "end": nn.Parameter(torch.randn(3)),
    },
    (2, 5, 4),
)
def crf(m: Any, x: Tensor) -> Any:
    tags = torch.tensor([[0, 1, 2, 1, 0], [2, 2, 1, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
    e = m.emit(x)
    alpha = m.start + e[:, 0]
    score = m.start[tags[:, 0]] + e[torch.arange(2), 0, tags[:, 0]]
    for t in range(1, 5):
        step = torch.logsumexp(alpha.unsqueeze(2) + m.trans + e[:, t].unsqueeze(1), 1)
        alpha = torch.where(mask[:, t].unsqueeze(1), step, alpha)
        score += (m.trans[tags[:, t - 1], tags[:, t]] + e[torch.arange(2), t, tags[:, t]]) * mask[:, t]
    last = mask.long().sum(1) - 1
    score = score + m.end[tags.gather(1, last[:, None]).squeeze(1)]
    return (torch.logsumexp(alpha + m.end, 1) - score).sum()


@written(
    lambda: {
        "enc": nn.LSTM(2, 6, batch_first=True),
        "cell": nn.LSTMCell(2, 6),
        "w1": nn.Linear(6, 6, bias=False),
        "w2": nn.Linear(6, 6, bias=False),
        "v": nn.Linear(6, 1, bias=False),
    },
    (3, 4, 2),
)
def pointer_network(m: Any, x: Tensor) -> Any:
    memory, (h, c) = m.enc(x)
    h, c, inp = h.squeeze(0), c.squeeze(0), x.new_zeros(3, 2)
    visited = torch.zeros(3, 4, dtype=torch.bool)
    order = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
    loss = x.new_zeros(())
    for t in range(4):
        h, c = m.cell(inp, (h, c))
        u = m.v(torch.tanh(m.w1(memory) + m.w2(h)[:, None])).squeeze(-1).masked_fill(visited, -1e9)
        loss = loss + functional.nll_loss(functional.log_softmax(u, -1), order[:, t])
        visited = visited.scatter(1, order[:, t : t + 1], True)
        inp = x[torch.arange(3), order[:, t]]
    return loss / 4


@written(
    lambda: {
        "seed": nn.Parameter(torch.randn(1, 3, 8)),
        "points": nn.Parameter(torch.randn(1, 2, 8)),
        "up": nn.Linear(4, 8),
        "att": nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(3)),
        "ff": nn.ModuleList(nn.Linear(8, 8) for _ in range(3)),
        "ln": nn.LayerNorm(8),
    },
    (2, 5, 4),
)
def set_transformer(m: Any, x: Tensor) -> Any:
    def block(i: int, q: Tensor, k: Tensor) -> Tensor:
        h = q + m.att[i](q, k, k, need_weights=False)[0]
        return h + m.ff[i](m.ln(h)).relu()

    x = m.up(x)
    induced = block(0, m.points.repeat(2, 1, 1), x)
    x = block(1, x, induced)
    return block(2, m.seed.expand(2, -1, -1), x).pow(2).mean()


@written(
    lambda: {
        "w": nn.Parameter(torch.randn(2, 4, 3)),
        "src": nn.Parameter(torch.randn(2, 3)),
        "dst": nn.Parameter(torch.randn(2, 3)),
        "out": nn.Linear(6, 3),
    },
    (5, 4),
)
def dense_graph_attention(m: Any, x: Tensor) -> Any:
    adjacency = torch.eye(5) + torch.eye(5).roll(1, 0) + torch.eye(5).roll(2, 1)
    h = torch.einsum("nf,hfo->hno", x, m.w)
    e = (h * m.src[:, None]).sum(-1)[:, :, None] + (h * m.dst[:, None]).sum(-1)[:, None, :]
    e = torch.where(adjacency > 0, functional.leaky_relu(e, 0.2), -9e15 * torch.ones_like(e))
    h = functional.elu(torch.matmul(e.softmax(-1), h)).permute(1, 0, 2).reshape(5, 6)
    return functional.nll_loss(m.out(h).log_softmax(1)[:3], torch.tensor([0, 1, 2]))


@written(
    lambda: {
        "d": nn.Sequential(spectral_norm(nn.Linear(4, 8)), nn.LeakyReLU(0.1), spectral_norm(nn.Linear(8, 1))),
        "g": weight_norm(nn.Linear(4, 4)),
    },
)
def spectral_norm_hinge(m: Any, x: Tensor) -> Any:
    fake = m.g(x)
    real_score, fake_score = m.d(x), m.d(fake)
    return functional.relu(1 - real_score).mean() + functional.relu(1 + fake_score).mean()


class Rounded(torch.autograd.Function):
    """Rounding whose gradient is that of clipping."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return torch.clamp(torch.round(x / scale), -8, 7) * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, scale = ctx.saved_tensors
        q = x / scale
        inside = (q >= -8) & (q <= 7)
        by_scale = torch.where(inside, q.round() - q, q.clamp(-8, 7).round())
        return grad * inside, (grad * by_scale).sum().reshape(scale.shape) / math.sqrt(x.numel() * 7)


@written(lambda: {**linear(), "s": nn.Parameter(torch.tensor([0.1])), "r": nn.Parameter(torch.tensor(0.05))})
def learned_step_quantisation(m: Any, x: Tensor) -> Any:
    w = Rounded.apply(m.a.weight, m.s)
    h = functional.linear(x, w, m.a.bias).relu()
    h = h + ((h / m.r).round() * m.r - h).detach()
    return m.b(h).pow(2).mean(), w


def _with_adapters() -> dict[str, Any]:
    parts: dict[str, Any] = linear()
    for layer in parts.values():
        layer.requires_grad_(False)
    down, up = nn.Parameter(torch.randn(2, 4) * 0.1), nn.Parameter(torch.zeros(4, 2))
    return {**parts, "down": down, "up": up, "magnitude": nn.Parameter(parts["b"].weight.norm(dim=1, keepdim=True))}


@written(_with_adapters, optimizer=lambda m: torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr=1e-2))
def lora_and_dora(m: Any, x: Tensor) -> Any:
    h = m.a(x) + (functional.dropout(x, 0.1, False) @ m.down.t()) @ m.up.t() * (16 / 2)
    w = m.b.weight + m.up @ m.down
    w = m.magnitude * w / w.norm(dim=1, keepdim=True).detach()
    return functional.mse_loss(functional.linear(h.relu(), w, m.b.bias), x)


@written(lambda: {"z": nn.Embedding(3, 5), "h": nn.Linear(5, 4 * 6 + 6 + 6 * 1 + 1)}, (3, 7, 4))
def hypernetwork_per_task(m: Any, x: Tensor) -> Any:
    theta = m.h(m.z(torch.arange(3)))
    w1, b1, w2, b2 = theta.split([24, 6, 6, 1], dim=1)
    h = torch.baddbmm(b1[:, None], x, w1.view(3, 4, 6)).sin()
    return (torch.bmm(h, w2.view(3, 6, 1)) + b2[:, None] - x.sum(-1, keepdim=True)).square().mean()


@written(
    lambda: {
        "enc": nn.Linear(4, 3),
        "dec": nn.Linear(3, 4),
        "codes": torch.randn(5, 3),
        "count": torch.zeros(5),
        "total": torch.zeros(5, 3),
    },
    (8, 4),
)
def vq_vae_with_ema_codes(m: Any, x: Tensor) -> Any:
    z = m.enc(x)
    d = z.pow(2).sum(1, keepdim=True) + m.codes.pow(2).sum(1) - 2 * z @ m.codes.t()
    hot = functional.one_hot(d.argmin(1), 5).type(z.dtype)
    q = hot @ m.codes
    if m.training:
        with torch.no_grad():
            m.count.mul_(0.9).add_(hot.sum(0), alpha=0.1)
            m.total.data.mul_(0.9).add_(hot.t() @ z, alpha=0.1)
            n = m.count.sum()
            m.codes.copy_(m.total / ((m.count + 1e-5) / (n + 5e-5) * n).unsqueeze(1))
    commitment = functional.mse_loss(z, q.detach())
    q = z + (q - z).detach()
    p = hot.mean(0)
    return functional.mse_loss(m.dec(q), x) + 0.25 * commitment, torch.exp(-(p * (p + 1e-10).log()).sum())


@written(
    lambda: {
        "q": nn.Linear(4, 3),
        "k": nn.Linear(4, 3).requires_grad_(False),
        "queue": functional.normalize(torch.randn(3, 8), dim=0),
        "at": torch.zeros(1, dtype=torch.long),
    },
    (4, 4),
)
def moco_queue(m: Any, x: Tensor) -> Any:
    q = functional.normalize(m.q(x), dim=1)
    with torch.no_grad():
        for a, b in zip(m.q.parameters(), m.k.parameters()):
            b.data = b.data * 0.9 + a.data * 0.1
        k = functional.normalize(m.k(x + 0.1), dim=1)
    positive = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
    negative = torch.einsum("nc,ck->nk", q, m.queue.clone().detach())
    loss = functional.cross_entropy(torch.cat([positive, negative], 1) / 0.2, torch.zeros(4, dtype=torch.long))
    places = (m.at + torch.arange(4)) % 8
    m.queue[:, places] = k.t()
    m.at[0] = (m.at[0] + 4) % 8
    return loss


@written(
    lambda: {"f": nn.Linear(4, 4), "h": nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Linear(2, 4))}, (6, 4)
)
def simsiam(m: Any, x: Tensor) -> Any:
    z1, z2 = m.f(x), m.f(x * 1.1)
    p1, p2 = m.h(z1), m.h(z2)
    d = functional.cosine_similarity
    return -(d(p1, z2.detach(), dim=-1).mean() + d(p2, z1.detach(), dim=-1).mean()) / 2


@written(
    lambda: {"a": nn.Linear(4, 2), "centers": torch.randn(3, 2), "head": nn.Linear(2, 3, bias=False)},
    (6, 4),
)
def center_loss(m: Any, x: Tensor) -> Any:
    y = torch.tensor([0, 1, 1, 2, 2, 2])
    z = m.a(x)
    loss = (z - m.centers[y]).pow(2).sum() / 2 / 6
    with torch.no_grad():
        count = torch.ones(3).scatter_add(0, y, torch.ones(6))
        m.centers.index_add_(0, y, (z - m.centers[y]) / count[y].unsqueeze(1), alpha=0.5)
    return functional.cross_entropy(m.head(z), y) + 0.01 * loss


@written(lambda: {"risk": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))}, (7, 4))
def cox_partial_likelihood(m: Any, x: Tensor) -> Any:
    time, event = x[:, 0].exp(), (torch.arange(7) % 3 != 0).float()
    order = time.argsort(descending=True)
    risk, event = m.risk(x).squeeze(1)[order], event[order]
    return -((risk - torch.logcumsumexp(risk, 0)) * event).sum() / event.sum()


@written(lambda: {"a": nn.Linear(4, 3)}, (5, 4))
def soft_dtw(m: Any, x: Tensor) -> Any:
    z, y = m.a(x), x[:4, :3]
    cost = torch.cdist(z, y) ** 2
    r = torch.full((6, 5), float("inf"))
    r[0, 0] = 0
    for i in range(1, 6):
        for j in range(1, 5):
            previous = torch.stack([r[i - 1, j], r[i, j - 1], r[i - 1, j - 1]])
            soft = -0.1 * torch.logsumexp(-previous / 0.1, 0)
            r = r.clone()
            r[i, j] = cost[i - 1, j - 1] + soft
    return r[5, 4]


@written(linear, (6, 4))
def sinkhorn_assignment(m: Any, x: Tensor) -> Any:
    scores = m.a(x) @ m.b(x).t()
    with torch.no_grad():
        q = torch.exp(scores / 0.5).t()
        q /= q.sum()
        for _ in range(3):
            q /= q.sum(dim=1, keepdim=True)
            q /= 6
            q /= q.sum(dim=0, keepdim=True)
            q /= 6
        target = (q * 6).t()
    return -(target * scores.log_softmax(1)).sum(1).mean()


@written(
    lambda: {"trunk": nn.Linear(4, 8), "mean": nn.Linear(8, 2), "log_std": nn.Linear(8, 2), "q": nn.Linear(6, 2)},
    (6, 4),
)
def soft_actor_critic(m: Any, x: Tensor) -> Any:
    h = m.trunk(x).relu()
    mean, log_std = m.mean(h), m.log_std(h).tanh()
    std = (-5 + 0.5 * 7 * (log_std + 1)).exp()
    u = mean + std * torch.linspace(-1, 1, 12).view(6, 2)
    action = u.tanh()
    log_p = (-((u - mean) ** 2) / (2 * std**2) - std.log() - math.log(math.sqrt(2 * math.pi))).sum(1)
    log_p -= (2 * (math.log(2) - u - functional.softplus(-2 * u))).sum(1)
    value, _ = m.q(torch.cat([x, action], 1)).min(dim=1)
    return (0.2 * log_p - value).mean(), log_p.detach().mean()


@written(lambda: {"f": nn.Linear(4, 5), "prior": nn.Linear(5, 4)}, (6, 4))
def mixture_of_softmaxes(m: Any, x: Tensor) -> Any:
    h = m.f(x)
    pi = m.prior(h).softmax(-1)
    p = torch.stack([(h.roll(k, 1) * (k + 1)).tanh().softmax(-1) for k in range(4)], 1)
    mixed = (pi.unsqueeze(-1) * p).sum(1)
    return functional.nll_loss((mixed + 1e-8).log(), torch.arange(6) % 5, ignore_index=3)


@written(lambda: {"f": nn.Linear(4, 3), "taus": torch.tensor([0.1, 0.5, 0.9])}, (6, 4))
def quantile_huber(m: Any, x: Tensor) -> Any:
    quantiles, target = m.f(x), m.f(x).detach().roll(1, 0) * 0.9 + x[:, :1]
    u = target[:, None, :] - quantiles[:, :, None]
    huber = torch.where(u.abs() <= 1, 0.5 * u.pow(2), u.abs() - 0.5)
    return ((m.taus[None, :, None] - (u.detach() < 0).float()).abs() * huber).sum(1).mean()


@written(lambda: {"cell": nn.GRUCell(4, 4), "halt": nn.Linear(4, 1)}, (5, 4))
def adaptive_computation(m: Any, x: Tensor) -> Any:
    h, total, left = torch.zeros(5, 4), torch.zeros(5), torch.ones(5)
    out, cost = torch.zeros(5, 4), torch.zeros(5)
    for step in range(4):
        h = m.cell(x, h)
        p = m.halt(h).sigmoid().squeeze(-1)
        running = (total < 1 - 0.01).float()
        p = torch.where((total + p * running > 0.99) | torch.tensor(step == 3), left, p) * running
        total, left = total + p, left - p
        out, cost = out + p.unsqueeze(-1) * h, cost + running
    return out.pow(2).mean() + 0.01 * (cost + left).mean()
