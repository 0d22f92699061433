"""Complex numbers and Fourier transforms: values and gradients equal PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import UnsupportedError
from tests.frontend.reference import compare_inference, compare_training

HERE = Path(__file__)

OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mul": lambda z, w: z * w,
    "mul_real": lambda z, w: z * w.real + 2 * z - z * 1j,
    "div": lambda z, w: z / (w + 3),
    "div_real": lambda z, w: z / (w.real.abs() + 1),
    "real_over": lambda z, w: 2 / (w + 3) + z,
    "add_alpha": lambda z, w: torch.add(z, w, alpha=2) - torch.sub(z, 1, alpha=3),
    "rsub": lambda z, w: 1 - z * w,
    "conj": lambda z, w: z.conj() * w + w.conj(),
    "abs": lambda z, w: z.abs() * w,
    "angle": lambda z, w: z.angle() * w,
    "sgn": lambda z, w: torch.sgn(z) * w,
    "exp": lambda z, w: torch.exp(z) * w,
    "log": lambda z, w: torch.log(z) * w,
    "sqrt": lambda z, w: torch.sqrt(z) * w,
    "pow": lambda z, w: z**2 * w + z**3 + z**0.5,
    "polar": lambda z, w: torch.polar(z.real.abs(), w.imag) * z,
    "parts": lambda z, w: torch.complex(z.imag, w.real) * torch.view_as_complex(torch.view_as_real(z).flip(-1)),
    "matmul": lambda z, w: z @ w.mT,
    "matmul_real": lambda z, w: z.real.to(z.dtype) @ w.mT + z @ w.imag.to(z.dtype).mT,
    "einsum": lambda z, w: torch.einsum("ij,kj->ik", z, w.conj()),
    "mv": lambda z, w: z @ w[0],
    "vdot": lambda z, w: torch.vdot(z[0], w[1]) + torch.dot(z[1], w[0]),
    "views": lambda z, w: torch.cat([z.T.reshape(2, -1), w.reshape(2, -1)], 1).roll(2, 1)[:, ::2].flip(0),
    "stack": lambda z, w: torch.stack([z, w.real.to(z.dtype)]).permute(2, 0, 1).sum(0, keepdim=True),
    "where": lambda z, w: torch.where(z.real > 0, z, w) + z.masked_fill(z.imag > 0, 0),
    "index": lambda z, w: z[:, torch.tensor([2, 0, 0])] * w[1, 1],
    "pad": lambda z, w: torch.nn.functional.pad(z * w, (1, 2)),
    "means": lambda z, w: (z * w).mean(0) + z.sum(),
    "norm": lambda z, w: z / z.norm(dim=1, keepdim=True) + w,
    "compare": lambda z, w: z * (z == z) + w * (z != w),
    "cast": lambda z, w: z * w.imag.to(torch.complex64) + torch.ones_like(z),
}


class Applied(nn.Module):
    """A function of a complex tensor, made of a learned layer, and a complex parameter; parts of the result."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.re, self.im = nn.Linear(4, 4), nn.Linear(4, 4)
        self.weight = nn.Parameter(torch.randn(4, 4, dtype=torch.complex64))
        self.function = function

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.function(torch.complex(self.re(x), self.im(x)), self.weight)
        parts = torch.view_as_real(y) if y.is_complex() else y
        weights = torch.linspace(-1, 1, parts.numel()).view(parts.shape)
        return (parts * weights).mean(), y


def check(model: nn.Module, x: Tensor, optimizer: type[torch.optim.Optimizer] = torch.optim.SGD) -> None:
    """Train for two steps and infer, beside PyTorch."""
    spec = ModelSpec(model, {"x": x}, optimizer(model.parameters(), lr=0.05), file=HERE)
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=2)
    model.eval()
    compare_inference(spec, capture(spec, inference=True))


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name: str) -> None:
    torch.manual_seed(3)
    check(Applied(OPERATORS[name]), torch.randn(4, 4))


class Transformed(nn.Module):
    """A Fourier transform of what a layer makes, weighted, as real numbers."""

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(()) + 0.5)
        self.transform = transform

    def forward(self, x: Tensor) -> Tensor:
        y = self.transform(x * self.scale)
        parts = torch.view_as_real(y) if y.is_complex() else y
        return (parts * torch.linspace(-1, 1, parts.numel()).view(parts.shape)).mean()


TRANSFORMS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "fft": (torch.fft.fft, (3, 6)),
    "fft_prime": (torch.fft.fft, (3, 7)),
    "fft_long": (lambda x: torch.fft.fft(torch.complex(x, x.flip(-1))), (2, 360)),
    "fft_long_prime": (lambda x: torch.fft.fft(torch.complex(x, x.flip(-1))), (2, 131)),
    "ifft_ortho": (lambda x: torch.fft.ifft(torch.complex(x, x * x), norm="ortho"), (3, 8)),
    "ifft_forward": (lambda x: torch.fft.ifft(torch.complex(x, x * x), norm="forward", dim=0), (5, 3)),
    "rfft": (torch.fft.rfft, (3, 10)),
    "rfft_odd": (lambda x: torch.fft.rfft(x, dim=1), (2, 9, 3)),
    "rfft_long": (torch.fft.rfft, (2, 300)),
    "irfft": (lambda x: torch.fft.irfft(torch.fft.rfft(x) * (1 + 1j), n=10), (3, 10)),
    "irfft_odd": (lambda x: torch.fft.irfft(torch.complex(x, x.flip(-1)), n=9), (3, 5)),
    "irfft_long": (lambda x: torch.fft.irfft(torch.complex(x, x.flip(-1)), n=300), (2, 151)),
    "irfft_long_odd": (lambda x: torch.fft.irfft(torch.complex(x, x.flip(-1)), n=135, norm="ortho"), (2, 68)),
    "fft2_shifted": (lambda x: torch.fft.fftshift(torch.fft.fft2(x), dim=(-2, -1)).abs(), (2, 6, 8)),
    "rfft2_and_back": (lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * torch.fft.rfft2(x.flip(0)), (6, 8)), (2, 6, 8)),
    "fftn": (lambda x: torch.fft.fftn(x, dim=(0, 2)), (4, 2, 5)),
    "hfft": (lambda x: torch.fft.hfft(torch.complex(x, x * 0.5), n=8), (3, 5)),
    "stft": (lambda x: torch.stft(x, 16, 8, window=torch.hann_window(16), return_complex=True).abs(), (2, 64)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform(name: str) -> None:
    torch.manual_seed(4)
    function, shape = TRANSFORMS[name]
    check(Transformed(function), torch.randn(shape))


def test_a_complex_parameter_learns_by_adam() -> None:
    torch.manual_seed(5)
    check(Applied(lambda z, w: z * w), torch.randn(4, 4), torch.optim.AdamW)


def test_double_complex_is_refused() -> None:
    spec = ModelSpec(Applied(lambda z, w: z.to(torch.complex128) * w), {"x": torch.randn(4, 4)}, file=HERE)
    with pytest.raises(UnsupportedError, match="makes a complex128 tensor\n    try: use complex64"):
        capture(spec, inference=True)


def test_what_complex_numbers_do_not_have_is_named() -> None:
    spec = ModelSpec(Applied(lambda z, w: torch.tanh(z) * w), {"x": torch.randn(4, 4)}, file=HERE)
    with pytest.raises(UnsupportedError, match=r"operator aten\.tanh of complex numbers is not supported"):
        capture(spec, inference=True)
