"""PyTorch's transformer layers with masks and padding, as tutorials use them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import CaptureError
from tests.frontend.reference import compare_inference, compare_training

LENGTH, WIDTH = 5, 8
AT_THE_END = [[False] * 5, [False, False, False, True, True]]
AT_THE_START = [[True, False, False, False, True], [False] * 5]


class Encoding(nn.Module):
    """An encoder whose padding is an input."""

    def __init__(self, masked: bool = False, **options: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.0, batch_first=True, **options)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(WIDTH))
        self.mask = nn.Transformer.generate_square_subsequent_mask(LENGTH) if masked else None

    def forward(self, x: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        y = self.encoder(x, mask=self.mask, src_key_padding_mask=padding)
        return y.pow(3).mean(), y


class LanguageModel(nn.Module):
    """Encoder and decoder under masks whose values PyTorch would read to see that they are causal."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, WIDTH)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.0), 2)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, 2, 16, 0.0), 1)
        self.out = nn.Linear(WIDTH, 11)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, tokens: Tensor) -> Tensor:
        memory = self.encoder(self.tokens(tokens), self.mask)
        y = self.decoder(memory, memory, tgt_mask=nn.Transformer.generate_square_subsequent_mask(len(tokens)))
        return functional.cross_entropy(self.out(y).flatten(0, 1), tokens.flatten())


def check(model: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Training, then inference, equal PyTorch's."""
    spec = ModelSpec(model, inputs, torch.optim.SGD(model.parameters(), lr=0.05))
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=2)
    model.eval()
    compare_inference(spec, capture(spec, inference=True))


@pytest.mark.parametrize(
    ("options", "padding"),
    [
        ({}, AT_THE_END),
        ({}, AT_THE_START),
        ({"norm_first": True}, AT_THE_END),
        ({"norm_first": True}, AT_THE_START),
        ({"masked": True}, AT_THE_END),
    ],
)
def test_padding(options: dict[str, Any], padding: list[list[bool]]) -> None:
    """PyTorch returns zeros for padding at the end, when it infers without a mask."""
    torch.manual_seed(2)
    model = Encoding(**options)
    check(model, {"x": torch.randn(2, LENGTH, WIDTH), "padding": torch.tensor(padding)})


class Attending(nn.Module):
    """Attention of one tensor to itself."""

    def __init__(self, heads: int, needs_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, heads, batch_first=True)
        self.needs_weights = needs_weights

    def forward(self, x: Tensor, **masks: Tensor) -> Any:
        return self.attention(x, x, x, need_weights=self.needs_weights, **masks)


class Encoded(nn.Module):
    """A layer, or an encoder, with masks by their names."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, **masks: Tensor) -> Tensor:
        return self.encoder(x, **masks)


def layer(**options: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(WIDTH, 2, 16, 0.0, batch_first=True, **options)


CAUSAL = torch.ones(LENGTH, LENGTH).triu(1) > 0
HIDDEN_ROW = CAUSAL.index_fill(0, torch.tensor(2), True)
ATTENTION = {
    "a layer": (lambda: Encoded(layer()), "src_mask", "src_key_padding_mask"),
    "a layer of GELU that normalises first": (
        lambda: Encoded(layer(activation="gelu", norm_first=True)),
        "src_mask",
        "src_key_padding_mask",
    ),
    "an encoder": (lambda: Encoded(nn.TransformerEncoder(layer(), 2)), "mask", "src_key_padding_mask"),
    "an encoder that checks no masks": (
        lambda: Encoded(nn.TransformerEncoder(layer(), 2, mask_check=False)),
        "mask",
        "src_key_padding_mask",
    ),
    "attention": (lambda: Attending(2, False), "attn_mask", "key_padding_mask"),
    "attention and its weights": (lambda: Attending(2, True), "attn_mask", "key_padding_mask"),
    "attention of one head": (lambda: Attending(1, False), "attn_mask", "key_padding_mask"),
}
MASKS: dict[str, tuple[Tensor | None, Tensor | None]] = {
    "none": (None, None),
    "padding": (None, torch.tensor(AT_THE_END)),
    "padding at the start": (None, torch.tensor(AT_THE_START)),
    "padding in between": (None, torch.tensor([[False, True, False, False, True], [True, False, True, False, False]])),
    "a sequence that is all padding": (None, torch.tensor([[False] * 5, [True] * 5])),
    "padding as numbers": (None, torch.tensor([[0.0] * 5, [0.0, 0.0, -1.0, -2.0, float("-inf")]])),
    "a causal mask": (CAUSAL, None),
    "a causal mask of numbers": (torch.zeros(5, 5).masked_fill(CAUSAL, float("-inf")), None),
    "a row without keys": (HIDDEN_ROW, None),
    "a row of numbers without keys": (torch.zeros(5, 5).masked_fill(HIDDEN_ROW, float("-inf")), None),
    "biases": (torch.linspace(-1, 1, 25).reshape(5, 5), None),
    "both": (CAUSAL, torch.tensor(AT_THE_END)),
    "both, of numbers": (torch.linspace(-1, 1, 25).reshape(5, 5).relu(), torch.tensor([[0.0] * 5, [0.0] * 4 + [-1.0]])),
}


@pytest.mark.parametrize("kind", ATTENTION)
@pytest.mark.parametrize("mask", MASKS)
def test_masks_mean_what_they_do_where_pytorch_infers(kind: str, mask: str) -> None:
    """Its fused operators take numbers other than zero for True, and make NaN of rows without keys."""
    make, *names = ATTENTION[kind]
    torch.manual_seed(6)
    model = make().eval()
    masks = {name: tensor for name, tensor in zip(names, MASKS[mask]) if tensor is not None}
    spec = ModelSpec(model, {"x": torch.randn(2, LENGTH, WIDTH), **masks})
    compare_inference(spec, capture(spec, inference=True))


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("padding", [AT_THE_END, AT_THE_START])
def test_what_is_left_out_may_be_nan(checked: bool, padding: list[list[bool]]) -> None:
    """It is not computed with where the encoder leaves it out, and is where it does not."""
    torch.manual_seed(7)
    model = Encoded(nn.TransformerEncoder(layer(), 2, mask_check=checked)).eval()
    x, mask = torch.randn(2, LENGTH, WIDTH), torch.tensor(padding)
    spec = ModelSpec(model, {"x": x.masked_fill(mask.unsqueeze(2), float("nan")), "src_key_padding_mask": mask})
    compare_inference(spec, capture(spec, inference=True))


class Frozen(nn.Module):
    """An encoder that is not trained, in a model that is."""

    def __init__(self, checked: bool) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(layer(), 2, norm=nn.LayerNorm(WIDTH), mask_check=checked).eval()
        self.out = nn.Linear(WIDTH, 3)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.encoder(x, src_key_padding_mask=padding)
        return self.out(y).pow(2).mean()


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("padding", [AT_THE_END, AT_THE_START])
def test_an_encoder_that_is_not_trained_leaves_padding_out_in_training(
    checked: bool, padding: list[list[bool]]
) -> None:
    torch.manual_seed(8)
    check(Frozen(checked), {"x": torch.randn(2, LENGTH, WIDTH), "padding": torch.tensor(padding)})


def test_whether_there_are_zeros_is_decided_on_the_device() -> None:
    torch.manual_seed(2)
    model = Encoding().eval()
    x, ends = torch.randn(2, LENGTH, WIDTH), torch.tensor(AT_THE_END)
    captured = capture(ModelSpec(model, {"x": x, "padding": torch.tensor(AT_THE_START)}), inference=True)
    values = {**captured.values, "padding": ends.numpy()}
    spec = ModelSpec(model, {"x": x, "padding": ends})
    compare_inference(spec, type(captured)(captured.program, values, captured.losses))
    with torch.no_grad():
        assert not (model(x, ends)[1][1, 3:] - model.encoder.norm.bias).any()


def test_a_language_model_with_causal_masks() -> None:
    torch.manual_seed(3)
    check(LanguageModel(), {"tokens": torch.randint(11, (LENGTH, 2))})


class Converting(nn.Module):
    """Modules told to be where and what they are already."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        self.linear = self.linear.to(x.dtype)
        return self.linear.float()(self.norm.to(x.device)(x)).pow(3).mean()


def test_modules_that_are_converted_to_what_they_are() -> None:
    torch.manual_seed(4)
    check(Converting(), {"x": torch.randn(6, 4)})


class NeedsEager(nn.Module):
    """A library's habit: what reads values is left out of compiled models, though others rely on it."""

    def __init__(self, reads: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.reads = reads

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None and not torch.compiler.is_compiling():
            mask = torch.ones(x.shape[0])
            if self.reads and x.sum() > 0:
                mask = mask * 2
        return (self.linear(x) * mask[:, None]).square().mean()


def test_what_is_left_out_of_compiled_models_may_be_needed() -> None:
    torch.manual_seed(5)
    check(NeedsEager(reads=False), {"x": torch.randn(6, 4)})


def test_what_stands_in_the_way_of_the_eager_model_is_told() -> None:
    with pytest.raises(CaptureError, match="control flow depends on the values"):
        capture(ModelSpec(NeedsEager(reads=True), {"x": torch.randn(6, 4)}), inference=True)
