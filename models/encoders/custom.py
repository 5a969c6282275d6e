"""Encoders that users bring: `MODULE:NAME` names what builds one, `hf:PATH` a pretrained one.

`NAME(shape, embedding)` is called with the shape of one row and the width of an embedding, and
returns a `torch.nn.Module` that maps float32 (rows, *shape) to (rows, embedding). For padded
sequences it is called with a second argument, (rows, time), True where a step is real. Its layers
may be lazy (`LazyLinear`): rows of zeros tell them their widths.
"""

import importlib

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tuner.models.config import TrainingConfig
from tuner.models.encoders.pretrained import PretrainedEncoder
from tuner.models.encoders.source import PREFIX
from tuner.models.errors import EncoderModuleError
from tuner.models.typing import Shape


def build_own_encoder(
    kind: str, shape: Shape, config: TrainingConfig, *, padded: bool = False
) -> nn.Module:
    """Build a user's encoder, its lazy layers too.

    Args:
        kind: `MODULE:NAME` or `hf:PATH`.
        shape: Of one row.
        config: Width of the embedding, and whether a pretrained backbone is frozen.
        padded: Whether rows come with a mask.

    Raises:
        EncoderModuleError: If it cannot be found or built, or is no `nn.Module`.
    """
    encoder = _uncompiled(_built(kind, shape, config))
    if any(is_lazy(tensor) for tensor in (*encoder.parameters(), *encoder.buffers())):
        encoder.eval()  # zeros are no data: they leave no trace in running statistics
        try:
            _embed_zeros(encoder, shape, padded=padded)
        except Exception as error:
            raise EncoderModuleError(
                f"encoder {kind}: its lazy layers cannot be given their widths: rows of zeros of "
                f"shape {shape} raised {type(error).__name__}: {error}"
            ) from error
        encoder.train()
    return encoder


def _built(kind: str, shape: Shape, config: TrainingConfig) -> nn.Module:
    embedding = config.embedding
    if kind.startswith(PREFIX):
        return PretrainedEncoder(kind, embedding, frozen=config.pretrained == "frozen")
    module_name, _, name = kind.partition(":")
    try:
        builder = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise EncoderModuleError(
            f"encoder {kind}: cannot import {module_name!r} ({error}); it has to lie in the "
            "working directory or on PYTHONPATH"
        ) from None
    except AttributeError:
        raise EncoderModuleError(f"encoder {kind}: {module_name!r} has no {name!r}") from None
    try:
        encoder = builder(shape, embedding)
    except Exception as error:
        raise EncoderModuleError(
            f"encoder {kind}: {name}({shape}, {embedding}) raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(encoder, nn.Module):
        raise EncoderModuleError(
            f"encoder {kind}: {name}({shape}, {embedding}) returned a {type(encoder).__name__}, "
            "where a torch.nn.Module is wanted"
        )
    return encoder


def _uncompiled(encoder: nn.Module) -> nn.Module:
    """Return it without `torch.compile`, which neither copies nor exports."""
    if original := getattr(encoder, "_orig_mod", None):
        return _uncompiled(original)
    for name, child in encoder.named_children():
        setattr(encoder, name, _uncompiled(child))
    return encoder


@torch.no_grad()
def _embed_zeros(encoder: nn.Module, shape: Shape, *, padded: bool) -> None:
    """Call it on two rows of zeros."""
    inputs: tuple[Tensor, ...] = (torch.zeros(2, *shape),)
    if padded:
        inputs += (torch.ones(2, shape[0], dtype=torch.bool),)
    encoder(*inputs)
