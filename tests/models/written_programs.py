"""Programs of tutorials and papers, in small, as strangers write them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.models.written import linear, written


@written(lambda: {"i2h": nn.Linear(4 + 5, 5), "i2o": nn.Linear(4 + 5, 3)}, (6, 2, 4))
def char_rnn(m: Any, x: Tensor) -> Any:
    h = torch.zeros(2, 5)
    for c in x:
        z = torch.cat((c, h), 1)
        h, o = torch.tanh(m.i2h(z)), functional.log_softmax(m.i2o(z), 1)
    return functional.nll_loss(o, torch.tensor([0, 2])), h


@written(
    lambda: {
        "e": nn.Embedding(9, 6),
        "enc": nn.GRU(6, 6, batch_first=True),
        "cell": nn.GRUCell(12, 6),
        "wa": nn.Linear(6, 6),
        "ua": nn.Linear(6, 6),
        "va": nn.Linear(6, 1),
        "out": nn.Linear(6, 9),
    },
    lambda: torch.randint(9, (3, 5)),
)
def seq2seq_bahdanau(m: Any, x: Tensor) -> Any:
    keys, h = m.enc(m.e(x))
    h = h[0]
    loss = 0
    tok = torch.zeros(3, dtype=torch.long)
    for t in range(4):
        score = m.va(torch.tanh(m.wa(h).unsqueeze(1) + m.ua(keys))).squeeze(2)
        ctx = torch.bmm(functional.softmax(score, -1).unsqueeze(1), keys).squeeze(1)
        h = m.cell(torch.cat([m.e(tok), ctx], 1), h)
        logits = m.out(h)
        loss = loss + functional.cross_entropy(logits, x[:, t])
        tok = logits.argmax(1) if t % 2 else x[:, t]
    return loss / 4


@written(
    lambda: {
        "g": nn.Sequential(
            nn.ConvTranspose2d(4, 8, 4, 1, 0, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(True),
            nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        ),
        "d": nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        ),
    },
    (4, 4, 1, 1),
)
def dcgan(m: Any, x: Tensor) -> Any:
    fake = m.g(x)
    real = torch.linspace(-1, 1, 4 * 3 * 8 * 8).view(4, 3, 8, 8)
    bce = nn.BCELoss()
    d = bce(m.d(real).view(-1), torch.ones(4)) + bce(m.d(fake.detach()).view(-1), torch.zeros(4))
    return d + bce(m.d(fake).view(-1), torch.ones(4)), fake


@written(
    lambda: {
        "loc": nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, stride=2), nn.ReLU(True)),
        "fc": nn.Sequential(nn.Linear(36, 8), nn.ReLU(True), nn.Linear(8, 6)),
        "conv": nn.Conv2d(1, 3, 3),
        "drop": nn.Dropout2d(0.0),
        "head": nn.Linear(108, 4),
    },
    (2, 1, 8, 8),
)
def spatial_transformer(m: Any, x: Tensor) -> Any:
    theta = m.fc(m.loc(x).view(-1, 36)).view(-1, 2, 3) * 0.1 + torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    x = functional.grid_sample(x, functional.affine_grid(theta, x.size(), align_corners=False), align_corners=False)
    return functional.cross_entropy(m.head(m.drop(m.conv(x)).flatten(1)), torch.tensor([1, 3])), theta


@written(
    lambda: {
        "wte": nn.Embedding(13, 8),
        "wpe": nn.Embedding(6, 8),
        "ln": nn.LayerNorm(8),
        "qkv": nn.Linear(8, 24),
        "proj": nn.Linear(8, 8),
        "bias": torch.tril(torch.ones(6, 6)).view(1, 1, 6, 6),
    },
    lambda: torch.randint(13, (2, 6)),
)
def mingpt(m: Any, x: Tensor) -> Any:
    B, T = x.size()
    pos = torch.arange(0, T, dtype=torch.long).unsqueeze(0)
    h = m.wte(x) + m.wpe(pos)
    q, k, v = m.qkv(m.ln(h)).split(8, dim=2)
    q, k, v = (t.view(B, T, 2, 4).transpose(1, 2) for t in (q, k, v))
    att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
    att = att.masked_fill(m.bias[:, :, :T, :T] == 0, float("-inf"))
    y = functional.softmax(att, dim=-1) @ v
    h = h + m.proj(y.transpose(1, 2).contiguous().view(B, T, 8))
    logits = h @ m.wte.weight.t()
    return functional.cross_entropy(logits[:, :-1].reshape(-1, 13), x[:, 1:].reshape(-1), ignore_index=-1), logits[
        :, [-1], :
    ]


@written(lambda: {"a": nn.Linear(4, 3), "v": nn.Linear(4, 1)})
def actor_critic(m: Any, x: Tensor) -> Any:
    probs, value = functional.softmax(m.a(x), -1), m.v(x)
    act = torch.tensor([0, 2, 1, 1, 0, 2])
    R, returns = 0, []
    for r in [1.0, 0.0, 0.5, 1.0, -1.0, 2.0][::-1]:
        R = r + 0.99 * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + 1e-8)
    adv = returns - value.squeeze().detach()
    logp = torch.distributions.Categorical(probs, validate_args=False).log_prob(act)
    return (-logp * adv).sum() + functional.smooth_l1_loss(value.squeeze(), returns, reduction="sum")


@written(
    lambda: {
        "f": nn.ModuleList(nn.Conv1d(4, 8, 2, dilation=2**i) for i in range(3)),
        "r": nn.ModuleList(nn.Conv1d(4, 4, 1) for _ in range(3)),
    },
    (2, 4, 12),
)
def wavenet(m: Any, x: Tensor) -> Any:
    skip = 0
    for i, (f, r) in enumerate(zip(m.f, m.r)):
        a, b = f(functional.pad(x, (2**i, 0))).chunk(2, 1)
        z = torch.tanh(a) * torch.sigmoid(b)
        skip = skip + z
        x = x + r(z)
    return skip.pow(2).mean() + x.abs().mean()


@written(lambda: {"a": nn.Linear(3 + 3 * 2 * 4, 16), "b": nn.Linear(16, 4)}, (2, 5, 3))
def nerf(m: Any, x: Tensor) -> Any:
    enc = torch.cat([x] + [f(2.0**i * math.pi * x) for i in range(4) for f in (torch.sin, torch.cos)], -1)
    raw = m.b(functional.relu(m.a(enc)))
    sigma, rgb = functional.relu(raw[..., 3]), torch.sigmoid(raw[..., :3])
    z = torch.linspace(2, 6, 5).expand(2, 5)
    d = torch.cat([z[..., 1:] - z[..., :-1], torch.full((2, 1), 1e10)], -1)
    alpha = 1.0 - torch.exp(-sigma * d)
    w = alpha * torch.cumprod(torch.cat([torch.ones((2, 1)), 1.0 - alpha + 1e-10], -1), -1)[:, :-1]
    return ((w[..., None] * rgb).sum(-2) - 0.5).square().mean(), w.sum(-1)


@written(
    lambda: {
        "t": nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU()),
        "f": nn.Linear(8, 9),
        "c": nn.Conv1d(3, 8, 1),
        "head": nn.Linear(8, 4),
    },
    (4, 3, 10),
)
def pointnet(m: Any, x: Tensor) -> Any:
    A = m.f(torch.max(m.t(x), 2, keepdim=True)[0].view(-1, 8)).view(-1, 3, 3) + torch.eye(3).repeat(4, 1, 1)
    y = torch.bmm(x.transpose(2, 1), A).transpose(2, 1)
    logits = functional.log_softmax(m.head(torch.max(m.c(y), 2)[0]), -1)
    eye = torch.eye(3)[None, :, :]
    reg = torch.mean(torch.norm(torch.bmm(A, A.transpose(2, 1)) - eye, dim=(1, 2)))
    return functional.nll_loss(logits, torch.tensor([0, 1, 2, 3])) + 1e-3 * reg


@written(
    lambda: {
        "q": nn.Linear(8, 8),
        "k": nn.Linear(8, 8),
        "r": nn.Parameter(torch.randn(5, 2, 4)),
        "u": nn.Parameter(torch.zeros(2, 4)),
        "v": nn.Parameter(torch.zeros(2, 4)),
    },
    (2, 5, 8),
)
def transformer_xl_shift(m: Any, x: Tensor) -> Any:
    q, k = m.q(x).view(2, 5, 2, 4), m.k(x).view(2, 5, 2, 4)
    ac = torch.einsum("bind,bjnd->bnij", q + m.u, k)
    bd = torch.einsum("bind,jnd->bnij", q + m.v, m.r)
    pad = torch.zeros((2, 2, 5, 1))
    bd = torch.cat([pad, bd], -1).view(2, 2, 6, 5)[:, :, 1:].view_as(bd)
    s = (ac + bd) / 2
    s = s.masked_fill(torch.triu(torch.ones(5, 5, dtype=torch.bool), 1), -1e30)
    return (s.softmax(-1) @ x[:, None]).square().mean()


@written(
    lambda: {"qkv": nn.Linear(8, 24), "table": nn.Parameter(torch.randn(9, 2) * 0.02), "p": nn.Linear(8, 8)},
    (1, 4, 4, 8),
)
def swin_block(m: Any, x: Tensor) -> Any:
    ws, sh = 2, 1
    co = torch.stack(torch.meshgrid(torch.arange(ws), torch.arange(ws), indexing="ij")).flatten(1)
    rel = (co[:, :, None] - co[:, None, :]).permute(1, 2, 0).contiguous()
    rel[:, :, 0] += ws - 1
    rel[:, :, 1] += ws - 1
    rel[:, :, 0] *= 2 * ws - 1
    idx = rel.sum(-1)
    img = torch.zeros((1, 4, 4, 1))
    cnt = 0
    for h in (slice(0, -ws), slice(-ws, -sh), slice(-sh, None)):
        for w in (slice(0, -ws), slice(-ws, -sh), slice(-sh, None)):
            img[:, h, w, :] = cnt
            cnt += 1

    def win(t):
        return t.view(1, 2, ws, 2, ws, -1).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, ws * ws, t.shape[-1])

    mw = win(img).squeeze(-1)
    am = mw.unsqueeze(1) - mw.unsqueeze(2)
    am = am.masked_fill(am != 0, (-100.0)).masked_fill(am == 0, 0.0)
    w = win(torch.roll(x, shifts=(-sh, -sh), dims=(1, 2)))
    q, k, v = m.qkv(w).reshape(4, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
    a = q * 0.5 @ k.transpose(-2, -1) + m.table[idx.view(-1)].view(4, 4, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
    a = (a.view(1, 4, 2, 4, 4) + am.unsqueeze(1).unsqueeze(0)).view(-1, 2, 4, 4).softmax(-1)
    y = (
        m.p((a @ v).transpose(1, 2).reshape(4, 4, 8))
        .view(1, 2, 2, ws, ws, 8)
        .permute(0, 1, 3, 2, 4, 5)
        .contiguous()
        .view(1, 4, 4, 8)
    )
    return (x + torch.roll(y, shifts=(sh, sh), dims=(1, 2))).square().mean()


@written(lambda: {"qkv": nn.Linear(8, 24)}, (2, 5, 8))
def rope_polar_and_alibi(m: Any, x: Tensor) -> Any:
    q, k, v = (t.view(2, 5, 2, 4) for t in m.qkv(x).chunk(3, -1))
    fr = torch.outer(torch.arange(5).float(), 1.0 / (10000.0 ** (torch.arange(0, 4, 2).float() / 4)))
    cis = torch.polar(torch.ones_like(fr), fr)[None, :, None]

    def rot(t: Tensor) -> Tensor:
        pairs = torch.view_as_complex(t.float().reshape(*t.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * cis).flatten(3).type_as(t)

    q, k, v = (t.transpose(1, 2) for t in (rot(q), rot(k), v))
    slopes = torch.tensor([2**-4.0, 2**-8.0])
    bias = slopes[:, None, None] * -(torch.arange(5)[:, None] - torch.arange(5)).abs()
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None]).square().mean()


@written(
    lambda: {"wq": nn.Linear(8, 8, False), "wkv": nn.Linear(8, 8, False), "g": nn.Parameter(torch.ones(8))}, (2, 6, 8)
)
def packed_documents(m: Any, x: Tensor) -> Any:
    ids = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 1, 2, 2, 2]])
    mask = (ids[:, :, None] == ids[:, None, :]) & torch.ones(6, 6, dtype=torch.bool).tril()
    h = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * m.g
    q = m.wq(h).view(2, 6, 4, 2).transpose(1, 2)
    k, v = m.wkv(h).view(2, 6, 2, 2, 2).permute(3, 0, 2, 1, 4)
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None], enable_gqa=True)
    return y.square().mean(), y


@written(
    lambda: {
        "gate": nn.Linear(8, 4, False),
        "w1": nn.Parameter(torch.randn(4, 8, 16) * 0.1),
        "w2": nn.Parameter(torch.randn(4, 16, 8) * 0.1),
    },
    (12, 8),
)
def moe_top2_capacity(m: Any, x: Tensor) -> Any:
    probs = m.gate(x).softmax(-1)
    top, idx = probs.topk(2, -1)
    top = top / top.sum(-1, keepdim=True)
    hot = functional.one_hot(idx, 4)
    pos = (hot.view(-1, 4).cumsum(0) * hot.view(-1, 4)).view(12, 2, 4) - 1
    keep = (pos < 6) & (pos >= 0)
    disp = (functional.one_hot(pos.clamp(min=0), 24)[..., :6] * keep[..., None]).float()
    d = disp.sum(1)
    comb = (disp * top[..., None, None]).sum(1)
    e = torch.einsum("tec,td->ecd", d, x)
    y = torch.einsum("tec,ecd->td", comb, torch.bmm(functional.silu(torch.bmm(e, m.w1)), m.w2))
    aux = 4 * (hot.float().mean((0, 1)) * probs.mean(0)).sum()
    return y.square().mean() + 0.01 * aux, y


@written()
def neural_ode_rk4(m: Any, x: Tensor) -> Any:
    def f(t, y):
        return torch.tanh(m.a(y) + t)

    h, t = 0.1, torch.zeros(())
    for _ in range(4):
        k1 = f(t, x)
        k2 = f(t + h / 2, x + h * k1 / 2)
        k3 = f(t + h / 2, x + h * k2 / 2)
        k4 = f(t + h, x + h * k3)
        x, t = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + h
    return m.b(x).square().mean()


@written(lambda: {"h": nn.Linear(4, 27 * 2), "e": nn.Parameter(torch.randn(4))}, (3, 3, 6, 6))
def hypernetwork_grouped(m: Any, x: Tensor) -> Any:
    w = m.h(m.e + x.mean((1, 2, 3))[:, None]).view(3 * 2, 3, 3, 3)
    y = functional.conv2d(x.reshape(1, 9, 6, 6), w, padding=1, groups=3).view(3, 2, 6, 6)
    return y.square().mean()


@written(lambda: {"w": nn.Linear(4, 4), "s": nn.Linear(8, 4), "m": nn.Linear(9, 4)})
def graph_layers(m: Any, x: Tensor) -> Any:
    src, dst = torch.tensor([0, 1, 1, 2, 3, 4, 5, 5]), torch.tensor([1, 0, 2, 1, 4, 3, 0, 2])
    deg = torch.zeros(6).index_add_(0, dst, torch.ones(8)) + 1
    norm = deg.pow(-0.5)
    h = torch.relu(torch.zeros(6, 4).index_add(0, dst, m.w(x)[src] * (norm[src] * norm[dst])[:, None]))
    mean = torch.zeros(6, 4).scatter_reduce(0, dst[:, None].expand(-1, 4), h[src], "mean", include_self=False)
    h = m.s(torch.cat([h, mean], 1))
    d = (x[src] - x[dst]).square().sum(1, keepdim=True)
    msg = functional.silu(m.m(torch.cat([h[src], h[dst], d], 1)))
    agg = torch.full((6, 4), float("-inf")).scatter_reduce(0, dst[:, None].expand(-1, 4), msg, "amax")
    agg = torch.where(torch.isinf(agg), torch.zeros_like(agg), agg)
    return (h + agg).square().mean(), agg


@written()
def nt_xent(m: Any, x: Tensor) -> Any:
    z = functional.normalize(torch.cat([m.a(x), m.b(x * 1.1)]), dim=1)
    sim = z @ z.t() / 0.5
    sim.fill_diagonal_(-9e15)
    pos = (torch.arange(12) + 6) % 12
    return functional.cross_entropy(sim, pos)


@written()
def barlow_twins(m: Any, x: Tensor) -> Any:
    a, b = m.a(x), m.b(x * 1.1)
    a, b = (a - a.mean(0)) / a.std(0), (b - b.mean(0)) / b.std(0)
    c = a.T @ b
    c.div_(6)
    on = torch.diagonal(c).add_(-1).pow_(2).sum()
    n = c.shape[0]
    off = c.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten().pow_(2).sum()
    return on + 0.0051 * off


@written(lambda: {"z": nn.Linear(4, 5), "h": nn.Linear(4, 5)}, (2, 6, 4))
def mingru_parallel(m: Any, x: Tensor) -> Any:
    k, th = m.z(x), m.h(x)
    log_z, log_c = -functional.softplus(-k), -functional.softplus(k)
    log_g = torch.where(th >= 0, (functional.relu(th) + 0.5).log(), -functional.softplus(-th))
    log_h0 = torch.zeros(2, 1, 5) - 0.7
    a = functional.pad(torch.cumsum(log_c, 1), (0, 0, 1, 0))
    v = torch.cat([log_h0, log_z + log_g], 1)
    return (a + (v - a).logcumsumexp(1)).exp()[:, 1:].square().mean()


@written(
    lambda: {
        "k": nn.Linear(4, 4, False),
        "v": nn.Linear(4, 4, False),
        "r": nn.Linear(4, 4, False),
        "w": nn.Parameter(-torch.rand(4)),
        "u": nn.Parameter(torch.rand(4)),
        "mk": nn.Parameter(torch.rand(4)),
    },
    (2, 5, 4),
)
def rwkv_time_mix(m: Any, x: Tensor) -> Any:
    xx = functional.pad(x, (0, 0, 1, -1))
    xk = x * m.mk + xx * (1 - m.mk)
    k, v, r = m.k(xk), m.v(xk), torch.sigmoid(m.r(xk))
    aa = bb = torch.zeros(2, 4)
    pp = torch.full((2, 4), -1e38)
    out = []
    for t in range(5):
        ww = m.u + k[:, t]
        p = torch.maximum(pp, ww)
        e1, e2 = torch.exp(pp - p), torch.exp(ww - p)
        out.append((e1 * aa + e2 * v[:, t]) / (e1 * bb + e2))
        ww = pp + m.w
        p = torch.maximum(ww, k[:, t])
        e1, e2 = torch.exp(ww - p), torch.exp(k[:, t] - p)
        aa, bb, pp = e1 * aa + e2 * v[:, t], e1 * bb + e2, p
    return (r * torch.stack(out, 1)).square().mean()


@written(lambda: {"a": nn.Linear(4, 4)}, (2, 6, 4))
def fnet(m: Any, x: Tensor) -> Any:
    return m.a(torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real).square().mean()


@written(lambda: {"w": nn.Parameter(torch.randn(4, 4, 3, 2) * 0.02), "c": nn.Linear(4, 4)}, (2, 4, 4, 4))
def global_filter(m: Any, x: Tensor) -> Any:
    f = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
    f = (
        f * torch.view_as_complex(m.w).transpose(0, 2)[..., :4].permute(1, 0, 2)
        if False
        else f * torch.view_as_complex(m.w.permute(0, 2, 1, 3).contiguous())
    )
    return m.c(torch.fft.irfft2(f, s=(4, 4), dim=(1, 2), norm="ortho")).square().mean()


@written(lambda: {"k": nn.Parameter(torch.randn(4, 6) * 0.3), "d": nn.Parameter(torch.randn(4))}, (2, 4, 6))
def hyena_fftconv(m: Any, x: Tensor) -> Any:
    n = 2 * 6
    kf = torch.fft.rfft(m.k, n=n) / n
    uf = torch.fft.rfft(x.to(dtype=m.k.dtype), n=n)
    y = torch.fft.irfft(uf * kf, n=n, norm="forward")[..., :6]
    return functional.gelu(y + x * m.d.unsqueeze(-1)).square().mean()


@written(
    lambda: {
        "A": nn.Parameter(torch.log(torch.rand(3, 4))),
        "im": nn.Parameter(torch.randn(3, 4)),
        "C": nn.Parameter(torch.randn(3, 4, 2)),
        "ld": nn.Parameter(torch.rand(3)),
    },
    (2, 3, 8),
)
def s4d_kernel(m: Any, x: Tensor) -> Any:
    dt = torch.exp(m.ld)
    A = -torch.exp(m.A) + 1j * m.im
    C = torch.view_as_complex(m.C)
    dtA = A * dt.unsqueeze(-1)
    K = dtA.unsqueeze(-1) * torch.arange(8)
    C = C * (torch.exp(dtA) - 1.0) / A
    K = 2 * torch.einsum("hn,hnl->hl", C, torch.exp(K)).real
    kf, uf = torch.fft.rfft(K, n=16), torch.fft.rfft(x, n=16)
    return torch.fft.irfft(uf * kf, n=16)[..., :8].square().mean()


@written(lambda: {"a": nn.Linear(4, 4), "b": nn.ModuleList(nn.Linear(4, 3) for _ in range(3))})
def deep_supervision_dict(m: Any, x: Tensor) -> Any:
    h, outs = x, {}
    for i, head in enumerate(m.b):
        h = h + torch.relu(m.a(h))
        outs[f"aux{i}"] = functional.cross_entropy(head(h), torch.tensor([0, 1, 2, 0, 1, 2]), label_smoothing=0.1)
    outs_total = sum(w * aux for w, aux in zip((0.3, 0.3, 1.0), outs.values()))
    return {"loss": outs_total, **outs, "h": h}


@written()
def mixup_soft_targets(m: Any, x: Tensor) -> Any:
    perm, lam = torch.tensor([5, 3, 1, 0, 2, 4]), 0.3
    logits = m.b(torch.relu(m.a(lam * x + (1 - lam) * x[perm])))
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    t = torch.full((6, 4), 0.1 / 4).scatter_(1, y[:, None], 0.9 + 0.1 / 4)
    soft = lam * t + (1 - lam) * t[perm]
    return torch.sum(-soft * functional.log_softmax(logits, -1), -1).mean() + functional.kl_div(
        functional.log_softmax(logits, 1), soft, reduction="batchmean"
    )


@written(
    lambda: {
        "c": nn.Linear(4, 4),
        "grid": torch.linspace(-1.5, 1.5, 8).expand(4, -1).contiguous(),
        "w": nn.Parameter(torch.randn(3, 4, 4) * 0.1),
    }
)
def kan_splines(m: Any, x: Tensor) -> Any:
    g = m.grid
    x1 = x.unsqueeze(-1)
    b = ((x1 >= g[:, :-1]) & (x1 < g[:, 1:])).to(x.dtype)
    for k in range(1, 5):
        b = (x1 - g[:, : -(k + 1)]) / (g[:, k:-1] - g[:, : -(k + 1)]) * b[:, :, :-1] + (g[:, k + 1 :] - x1) / (
            g[:, k + 1 :] - g[:, 1:(-k)]
        ) * b[:, :, 1:]
    return (
        (m.c(functional.silu(x)) + functional.linear(b.view(6, -1), m.w.permute(1, 2, 0).reshape(4, 12)))
        .square()
        .mean()
    )


@written(
    lambda: {"s": nn.Linear(2, 8), "t": nn.Linear(2, 2), "W": nn.Parameter(torch.linalg.qr(torch.randn(4, 4))[0])},
    (6, 4),
)
def glow_step(m: Any, x: Tensor) -> Any:
    ld = torch.slogdet(m.W)[1]
    x = x @ m.W
    a, b = x.chunk(2, 1)
    ls, t = torch.tanh(m.s(a)[:, :2]), m.t(a)
    y = torch.cat([a, b * ls.exp() + t], 1)
    return -(ld + ls.sum(1) - 0.5 * y.pow(2).sum(1)).mean()


@written()
def preallocated(m: Any, x: Tensor) -> Any:
    out = x.new_empty(3, 6, 4)
    h = x
    for i in range(3):
        h = torch.tanh(m.a(h))
        out[i] = h
    out[1:, ::2] *= 2
    out[..., -1].copy_(m.b(x)[:, 0])
    return out.square().mean()


@written()
def masked_and_index_fill(m: Any, x: Tensor) -> Any:
    h = m.a(x).clone()
    h.masked_fill_(x > 0.5, 0.0).index_fill_(1, torch.tensor([2]), 1.5)
    h.clamp_(max=1).sub_(m.b(x).sigmoid_()).addcmul_(x, x, value=0.1).lerp_(x, 0.2)
    h[h.isnan()] = 0
    h.diagonal().zero_()
    h.t()[0].mul_(3)
    return h.square().mean()


@written()
def swap_by_tuple(m: Any, x: Tensor) -> Any:
    h = m.a(x).clone()
    h[0], h[1] = h[1].clone(), h[0].clone()
    h[[2, 3]] = h[[3, 2]]
    h[:, 1:] = h[:, :-1].clone()
    return (h * torch.arange(6.0)[:, None]).square().mean()


@written(
    lambda: {
        **linear(),
        "mean": torch.zeros(4),
        "count": torch.zeros((), dtype=torch.long),
        "queue": torch.randn(8, 4),
        "ptr": torch.zeros(1, dtype=torch.long),
    }
)
def buffers_in_forward(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    if m.training:
        with torch.no_grad():
            m.count += 1
            m.mean.mul_(1 - 1 / m.count).add_(h.mean(0) / m.count)
            idx = (m.ptr + torch.arange(3)) % 8
            m.queue[idx] = functional.normalize(h[:3], dim=1)
            m.ptr[0] = (m.ptr[0] + 3) % 8
    return ((h - m.mean) @ m.queue.t()).square().mean() + m.b(x).mean()


@written(lambda: {**linear(), "amax": torch.tensor(0.0), "init": torch.tensor(False)})
def observer_first_time(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    with torch.no_grad():
        cur = h.abs().amax()
        m.amax.copy_(torch.where(m.init, 0.9 * m.amax + 0.1 * cur, cur))
        m.init.fill_(True)
    s = m.amax / 127
    q = (h / s).round().clamp(-128, 127) * s
    return m.b(h + (q - h).detach()).square().mean()


@written()
def func_grad_and_per_sample(m: Any, x: Tensor) -> Any:
    p = dict(m.a.named_parameters())

    def loss(p, s):
        return torch.func.functional_call(m.a, p, (s.unsqueeze(0),)).square().mean()

    g = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(p, x)
    n = torch.stack([v.flatten(1).norm(dim=1) for v in g.values()]).norm(dim=0)
    return m.b(x).square().mean() + n.mean()


@written()
def func_jvp_hessian(m: Any, x: Tensor) -> Any:
    def f(t):
        return m.b(torch.tanh(m.a(t))).sum()

    _, t = torch.func.jvp(f, (x,), (torch.ones_like(x),))
    H = torch.func.hessian(f)(x[0])
    return t.square() + H.square().mean()


@written(
    lambda: {
        "mha": nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True, add_zero_attn=True),
        "ln": nn.LayerNorm(8),
    },
    (2, 5, 8),
)
def mha_extras(m: Any, x: Tensor) -> Any:
    pad = torch.tensor([[False] * 5, [False, False, False, True, True]])
    am = torch.triu(torch.full((5, 5), float("-inf")), 1)
    y, w = m.mha(x, x, x, key_padding_mask=pad, attn_mask=am, average_attn_weights=False)
    return m.ln(y + x).pow(3).mean(), w


@written(
    lambda: {
        "lstm": nn.LSTM(4, 6, 2, bidirectional=True, proj_size=3, batch_first=True),
        "rnn": nn.RNN(6, 4, nonlinearity="relu"),
    },
    (2, 5, 4),
)
def recurrent_extras(m: Any, x: Tensor) -> Any:
    h0, c0 = torch.ones(4, 2, 3) * 0.1, torch.zeros(4, 2, 6)
    y, (h, c) = m.lstm(x, (h0, c0))
    z, hn = m.rnn(y.transpose(0, 1))
    return z.square().mean() + h.mean() + c.square().mean() + hn.sum() * 0.1


@written(lambda: {**linear(), "teacher": nn.Linear(4, 4).requires_grad_(False)})
def ema_foreach_lerp(m: Any, x: Tensor) -> Any:
    target = m.teacher(x).detach()
    with torch.no_grad():
        torch._foreach_lerp_(list(m.teacher.parameters()), [p.detach() for p in m.a.parameters()], 0.1)
        torch._foreach_copy_([m.b.bias], [m.b.bias * 0.5])
    n = torch._foreach_norm(list(m.a.parameters()))
    total = torch.nn.utils.get_total_norm(list(m.b.parameters()))
    s = torch._foreach_mul([m.a.weight, m.b.weight], [2.0, 3.0])
    r = torch._foreach_addcmul([m.a.bias], [m.b.bias], [m.a.bias], 0.3)
    return (
        functional.mse_loss(m.a(x), target)
        + m.b(x).square().mean()
        + sum(n)
        + total
        + s[0].sum() * s[1].mean()
        + r[0].mean()
    )


@written()
def erfc_tails(m: Any, x: Tensor) -> Any:
    return torch.erfc(m.a(x) * 4).log().mean() + torch.erfinv(torch.tanh(m.b(x))).mean()


@written()
def fmaxs(m: Any, x: Tensor) -> Any:
    h, n = m.a(x), torch.where(x > 0, x, torch.nan)
    return (torch.fmax(h, n) - torch.fmin(n, h) + torch.fmin(h, x) + torch.fmax(torch.zeros(()), h)).mean(), torch.fmax(
        n, n * 2
    )


@written()
def covs(m: Any, x: Tensor) -> Any:
    h = m.a(x)
    w = torch.tensor([1, 2, 1, 3, 1, 2])
    a = torch.linspace(0.1, 1, 6)
    return (
        torch.cov(h.T, correction=0).square().sum()
        + torch.cov(h.T, fweights=w).mean()
        + torch.cov(h.T, aweights=a).mean()
        + torch.cov(h.T, fweights=w, aweights=a, correction=2).square().mean()
        + torch.cov(h[:, 0]),
        torch.corrcoef(h.T),
        torch.corrcoef(h[:, 0]),
    )


@written()
def index_reduces(m: Any, x: Tensor) -> Any:
    i = torch.tensor([0, 1, 0, 2, 1, 0])
    out = 0
    for how in ("mean", "amax", "amin", "prod"):
        for own in (True, False):
            out = out + torch.full((4, 4), 0.5).index_reduce(0, i, m.a(x), how, include_self=own).square().mean()
    return out + torch.zeros(4, 3).index_reduce_(1, torch.tensor([0, 2, 2, 1]), m.b(x)[:4], "amax").mean()


@written()
def searches(m: Any, x: Tensor) -> Any:
    e = torch.tensor([-1.0, 0.0, 0.0, 1.0])
    rows = torch.sort(torch.arange(24.0).reshape(6, 4).cos(), 1).values
    return (
        m.a(x).mean(),
        torch.searchsorted(e, x),
        torch.searchsorted(e, x, right=True),
        torch.searchsorted(rows, x),
        torch.searchsorted(rows, x, side="right", out_int32=True),
        torch.searchsorted(e, 0.5),
        torch.bucketize(x, e, right=True),
    )


@written()
def data_clamp(m: Any, x: Tensor) -> Any:
    m.a.weight.data.clamp_(-0.2, 0.2)
    return m.b(torch.tanh(m.a(x))).square().mean()


@written()
def normalised_prototypes(m: Any, x: Tensor) -> Any:
    with torch.no_grad():
        m.b.weight.copy_(functional.normalize(m.b.weight, dim=1))
    return m.b(torch.tanh(m.a(x))).square().mean()


@written(
    lambda: {**linear(), "c": nn.Linear(4, 4)},
    optimizer=lambda m: torch.optim.AdamW(m.parameters(), lr=0.1, weight_decay=0.5),
)
def unused_not_decayed(m: Any, x: Tensor) -> Any:
    return m.b(torch.tanh(m.a(x))).square().mean()


@written()
def backward_and_step_inside(m: Any, x: Tensor) -> Any:
    optimizer = torch.optim.SGD(m.a.parameters(), lr=0.1)
    optimizer.zero_grad()
    m.a(x).square().mean().backward()
    optimizer.step()
    return m.b(m.a(x)).square().mean()
