"""The models that the mapping is measured on, by configuration and without content: `MODELS[name](layers)`.

Each gives a module on the meta device, its sample inputs, and whether it is trained. `layers` replaces the published
depth where it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

transformers.logging.set_verbosity_error()


@dataclass(frozen=True)
class Workload:
    """A model, its inputs, whether a training step of it is mapped (else a forward pass), and whether a library builds
    its causal mask."""

    model: nn.Module
    inputs: dict[str, Tensor]
    training: bool
    masked: bool = False


def _llama(
    hidden: int, intermediate: int, heads: int, kv_heads: int, depth: int, vocabulary: int
) -> Callable[..., object]:
    def config(layers: int | None) -> object:
        return transformers.LlamaConfig(
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            num_hidden_layers=layers or depth,
            vocab_size=vocabulary,
            max_position_embeddings=8192,
            use_cache=False,
            attn_implementation="eager",
        )

    return config


LLAMA_2_7B = _llama(4096, 11008, 32, 32, 32, 32000)
LLAMA_3_8B = _llama(4096, 14336, 32, 8, 32, 128256)
LLAMA_2_70B = _llama(8192, 28672, 64, 8, 80, 32000)
LLAMA_3_70B = _llama(8192, 28672, 64, 8, 80, 128256)


def _language(
    kind: type[nn.Module], config: object, batch: int, length: int, *, training: bool, masked: bool = True
) -> Workload:
    ids = torch.zeros(batch, length, dtype=torch.int64)
    with torch.device("meta"):
        model = kind(config).bfloat16()
    inputs = {"input_ids": ids, "labels": ids} if training else {"input_ids": ids}
    return Workload(model, inputs, training, masked)


def _prefill(config: Callable[..., object]) -> Callable[[int | None], Workload]:
    return lambda layers: _language(transformers.LlamaForCausalLM, config(layers), 1, 4096, training=False)


class DecoderLayer(nn.Module):
    """One Llama layer for one new token, with its keys and values in buffers of `length` positions."""

    def __init__(self, hidden: int, intermediate: int, heads: int, kv_heads: int, length: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = heads, kv_heads, hidden // heads
        self.q_proj = nn.Linear(hidden, hidden, bias=False)
        self.k_proj = nn.Linear(hidden, kv_heads * self.width, bias=False)
        self.v_proj = nn.Linear(hidden, kv_heads * self.width, bias=False)
        self.o_proj = nn.Linear(hidden, hidden, bias=False)
        self.gate_proj = nn.Linear(hidden, intermediate, bias=False)
        self.up_proj = nn.Linear(hidden, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)
        self.first_norm, self.second_norm = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.register_buffer("keys", torch.zeros(1, kv_heads, length, self.width))
        self.register_buffer("values", torch.zeros(1, kv_heads, length, self.width))

    def forward(self, x: Tensor, position: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        h = self.first_norm(x)
        q = _rotated(self.q_proj(h).view(1, 1, self.heads, self.width).transpose(1, 2), cos, sin)
        k = _rotated(self.k_proj(h).view(1, 1, self.kv_heads, self.width).transpose(1, 2), cos, sin)
        v = self.v_proj(h).view(1, 1, self.kv_heads, self.width).transpose(1, 2)
        keys = self.keys.index_copy_(2, position, k)
        values = self.values.index_copy_(2, position, v)
        group = self.heads // self.kv_heads
        q = q.reshape(1, self.kv_heads, group, self.width)
        scores = q @ keys.transpose(2, 3) / self.width**0.5 + mask
        attended = torch.softmax(scores, -1) @ values
        x = x + self.o_proj(attended.reshape(1, 1, -1))
        h = self.second_norm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Decoder(nn.Module):
    """A Llama that makes one token more, given the position of the last."""

    def __init__(self, config: transformers.LlamaConfig, length: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            DecoderLayer(
                config.hidden_size,
                config.intermediate_size,
                config.num_attention_heads,
                config.num_key_value_heads,
                length,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.RMSNorm(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, token: Tensor, position: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(token)
        for layer in self.layers:
            x = layer(x, position, cos, sin, mask)
        return self.head(self.norm(x))


def _decode(config: Callable[..., object], length: int = 4096) -> Callable[[int | None], Workload]:
    def build(layers: int | None) -> Workload:
        shape = config(layers)
        width = shape.hidden_size // shape.num_attention_heads  # type: ignore[attr-defined]
        with torch.device("meta"):
            model = Decoder(shape, length).bfloat16()  # type: ignore[arg-type]
        row = torch.zeros(1, 1, 1, width, dtype=torch.bfloat16)
        mask = torch.zeros(1, 1, 1, length, dtype=torch.bfloat16)
        token, position = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        return Workload(model, {"token": token, "position": position, "cos": row, "sin": row, "mask": mask}, False)

    return build


def _gpt2_xl(layers: int | None) -> Workload:
    config = transformers.GPT2Config(
        n_embd=1600,
        n_layer=layers or 48,
        n_head=25,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        attn_implementation="eager",
    )
    return _language(transformers.GPT2LMHeadModel, config, 4, 1024, training=True)


def bert_large(layers: int | None = None, *, batch: int = 32, length: int = 512) -> Workload:
    """BERT-large for training."""
    config = transformers.BertConfig(
        hidden_size=1024,
        num_hidden_layers=layers or 24,
        num_attention_heads=16,
        intermediate_size=4096,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    return _language(transformers.BertForMaskedLM, config, batch, length, training=True, masked=False)


def _vit_large(layers: int | None) -> Workload:
    config = transformers.ViTConfig(
        hidden_size=1024,
        num_hidden_layers=layers or 24,
        num_attention_heads=16,
        intermediate_size=4096,
        num_labels=1000,
        attn_implementation="eager",
    )
    return _vision(transformers.ViTForImageClassification, config, 32, 224)


def _resnet_50(layers: int | None) -> Workload:
    config = transformers.ResNetConfig(num_labels=1000, depths=[3, 4, 6, 3] if layers is None else [layers] * 4)
    return _vision(transformers.ResNetForImageClassification, config, 64, 224)


def _vision(kind: type[nn.Module], config: object, batch: int, size: int) -> Workload:
    with torch.device("meta"):
        model = kind(config).bfloat16()
    images = torch.zeros(batch, 3, size, size, dtype=torch.bfloat16)
    return Workload(model, {"pixel_values": images, "labels": torch.zeros(batch, dtype=torch.int64)}, True)


class UNet(nn.Module):
    """The U-Net of Ronneberger et al. with batch norm, in two or three dimensions; returns the mean loss per pixel."""

    def __init__(self, dimensions: int, channels: int, width: int, classes: int, depth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d if dimensions == 2 else nn.Conv3d
        self.norm = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm3d
        self.pool = nn.MaxPool2d(2) if dimensions == 2 else nn.MaxPool3d(2)
        up = nn.ConvTranspose2d if dimensions == 2 else nn.ConvTranspose3d
        widths = [width << level for level in range(depth)]
        self.down = nn.ModuleList(self._block(a, b) for a, b in zip([channels, *widths], widths))
        self.ups = nn.ModuleList(up(b, a, 2, 2) for a, b in zip(widths[-2::-1], widths[:0:-1]))
        self.up_blocks = nn.ModuleList(self._block(2 * a, a) for a in widths[-2::-1])
        self.head = self.conv(width, classes, 1)

    def _block(self, inside: int, outside: int) -> nn.Sequential:
        first = [self.conv(inside, outside, 3, padding=1), self.norm(outside), nn.ReLU()]
        return nn.Sequential(*first, self.conv(outside, outside, 3, padding=1), self.norm(outside), nn.ReLU())

    def forward(self, image: Tensor, labels: Tensor) -> Tensor:
        x, skips = image, []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for up, block in zip(self.ups, self.up_blocks):
            x = block(torch.cat((skips.pop(), up(x)), 1))
        return F.cross_entropy(self.head(x), labels)


def _unet(dimensions: int, size: int, batch: int, channels: int, width: int) -> Callable[[int | None], Workload]:
    def build(layers: int | None) -> Workload:
        with torch.device("meta"):
            model = UNet(dimensions, channels, width, 2, layers or 5).bfloat16()
        extent = (size,) * dimensions
        image = torch.zeros(batch, channels, *extent, dtype=torch.bfloat16)
        return Workload(model, {"image": image, "labels": torch.zeros(batch, *extent, dtype=torch.int64)}, True)

    return build


class Product(nn.Module):
    """One square matrix product."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left @ right


def _gemm(layers: int | None) -> Workload:
    left, right = (torch.empty(16384, 16384, dtype=torch.bfloat16, device="meta") for _ in range(2))
    return Workload(Product(), {"left": left, "right": right}, False)


def _mixtral(layers: int | None) -> Workload:
    config = transformers.MixtralConfig(
        num_hidden_layers=layers or 32, use_cache=False, attn_implementation="eager", vocab_size=32000
    )
    return _language(transformers.MixtralForCausalLM, config, 1, 4096, training=False)


def _falcon_40b(layers: int | None) -> Workload:
    config = transformers.FalconConfig(
        hidden_size=8192,
        num_hidden_layers=layers or 60,
        num_attention_heads=128,
        num_kv_heads=8,
        new_decoder_architecture=True,
        use_cache=False,
        attn_implementation="eager",
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )
    return _language(transformers.FalconForCausalLM, config, 1, 2048, training=False)


def _llama_training(layers: int | None) -> Workload:
    return _language(transformers.LlamaForCausalLM, LLAMA_2_7B(layers), 1, 4096, training=True)


MODELS: dict[str, Callable[[int | None], Workload]] = {
    "llama-2-7b-prefill": _prefill(LLAMA_2_7B),
    "llama-3-8b-prefill": _prefill(LLAMA_3_8B),
    "llama-2-70b-prefill": _prefill(LLAMA_2_70B),
    "llama-3-70b-prefill": _prefill(LLAMA_3_70B),
    "llama-2-7b-decode": _decode(LLAMA_2_7B),
    "gpt-2-xl-training": _gpt2_xl,
    "llama-2-7b-training": _llama_training,
    "bert-large-training": bert_large,
    "vit-large-training": _vit_large,
    "resnet-50-training": _resnet_50,
    "unet-2d-training": _unet(2, 512, 4, 3, 64),
    "unet-3d-training": _unet(3, 128, 1, 1, 32),
    "mixtral-8x7b-prefill": _mixtral,
    "falcon-40b-prefill": _falcon_40b,
    "gemm-16384": _gemm,
}
