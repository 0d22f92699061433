"""Networks of the field as benchmark cases: configurations in code, random weights, nothing to download.

Each returns its loss, so that both sides compute the same and compare by one number. Dropout is off: the two sides draw
different random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.case import Case
from modelzoo.models.science.u_net import UNet

transformers.logging.set_verbosity_error()

VOCABULARY = 2048
CLASSES = 100


class Scored(nn.Module):
    """A network of images with its loss."""

    def __init__(self, network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, image: Tensor, label: Tensor) -> tuple[Tensor]:
        made = self.network(image)
        return (self.loss(getattr(made, "logits", made), label),)


class Predicting(nn.Module):
    """A language model with its loss: the next token, or the token itself where it is masked."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, labels: Tensor) -> tuple[Tensor]:
        return (self.network(input_ids=tokens, labels=labels).loss,)


def _language(batch: int, length: int) -> dict[str, Tensor]:
    tokens = torch.randint(VOCABULARY, (batch, length))
    return {"tokens": tokens, "labels": tokens.clone()}


def _images(batch: int, size: int) -> dict[str, Tensor]:
    return {"image": torch.randn(batch, 3, size, size), "label": torch.randint(CLASSES, (batch,))}


def _masks(batch: int, size: int) -> dict[str, Tensor]:
    return {"image": torch.randn(batch, 3, size, size), "label": torch.randint(2, (batch, 1, size, size)).float()}


def _bert() -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
    )
    return Predicting(transformers.BertForMaskedLM(config))


def _gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=256,
        n_embd=256,
        n_layer=4,
        n_head=4,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
        use_cache=False,
    )
    return Predicting(transformers.GPT2LMHeadModel(config))


def _llama() -> nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        use_cache=False,
    )
    return Predicting(transformers.LlamaForCausalLM(config))


def _vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=3,
        intermediate_size=768,
        num_labels=CLASSES,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
    )
    return Scored(transformers.ViTForImageClassification(config), F.cross_entropy)


def _resnet18() -> nn.Module:
    config = transformers.ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        num_labels=CLASSES,
    )
    return Scored(transformers.ResNetForImageClassification(config), F.cross_entropy)


def _efficientnet_b0() -> nn.Module:
    config = transformers.EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        dropout_rate=0.0,
        drop_connect_rate=0.0,
        num_labels=CLASSES,
    )
    return Scored(transformers.EfficientNetForImageClassification(config), F.cross_entropy)


def _convnext_atto() -> nn.Module:
    config = transformers.ConvNextConfig(
        hidden_sizes=[40, 80, 160, 320],
        depths=[2, 2, 6, 2],
        num_labels=CLASSES,
    )
    return Scored(transformers.ConvNextForImageClassification(config), F.cross_entropy)


def _segmentation() -> nn.Module:
    return Scored(UNet(2, 3, 16, 2), F.binary_cross_entropy_with_logits)


CASES: Mapping[str, Case] = {
    "bert": Case(_bert, partial(_language, 8, 128), "BERT, width 256, 4 layers, 8 texts of 128 tokens"),
    "gpt2": Case(_gpt2, partial(_language, 4, 256), "GPT-2, width 256, 4 layers, 4 texts of 256 tokens"),
    "llama": Case(_llama, partial(_language, 8, 128), "Llama, width 256, 4 layers, 8 texts of 128 tokens"),
    "vit": Case(_vit, partial(_images, 8, 224), "ViT, width 192, 6 layers, 8 images of 224x224"),
    "resnet18": Case(_resnet18, partial(_images, 8, 224), "ResNet-18, 8 images of 224x224"),
    "efficientnet": Case(_efficientnet_b0, partial(_images, 8, 160), "EfficientNet-B0, 8 images of 160x160"),
    "convnext": Case(_convnext_atto, partial(_images, 8, 160), "ConvNeXt-atto, 8 images of 160x160"),
    "unet": Case(_segmentation, partial(_masks, 4, 128), "U-Net, channels 16 to 64, 4 images of 128x128"),
}
"""By name. They need transformers."""
