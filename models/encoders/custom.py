"""Encoders that users bring: `MODULE:NAME` names what builds one, `hf:PATH` a pretrained one.

`NAME(shape, embedding)` is called with the shape of one row and the width of an embedding, and
returns a `torch.nn.Module` that maps float32 (rows, *shape) to (rows, embedding). For padded
sequences it is called with a second argument, (rows, time), True where a step is real. Its layers
may be lazy (`LazyLinear`): rows of zeros tell them their widths.
"""

import hashlib
import importlib
import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tuner.models.config import TrainingConfig
from tuner.models.encoders.pretrained import PREFIX, PretrainedEncoder, folder_digest
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
    encoder = _built(kind, shape, config)
    if any(is_lazy(tensor) for tensor in (*encoder.parameters(), *encoder.buffers())):
        encoder.eval()  # zeros are no data: they leave no trace in running statistics
        _embed_zeros(encoder, shape, padded=padded)
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


def source_digest(kind: str) -> str:
    """SHA-256 of what defines a user's encoder: other code or weights are another question.

    Raises:
        EncoderModuleError: If it cannot be found.
    """
    if kind.startswith(PREFIX):
        return folder_digest(kind)
    module_name = kind.partition(":")[0]
    try:
        found = importlib.util.find_spec(module_name)
    except ImportError:
        found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise EncoderModuleError(f"encoder {kind}: cannot find the file of {module_name!r}")
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()


def check_own_encoder(
    modality: str, kind: str, shape: Shape, config: TrainingConfig, *, padded: bool = False
) -> None:
    """Build a user's encoder and try it on two rows of zeros, with a mask if they are `padded`.

    Raises:
        EncoderModuleError: If it fails, or answers in another shape than it should.
    """
    encoder = _built(kind, shape, config)
    try:
        answer = _embed_zeros(encoder, shape, padded=padded)
    except Exception as error:
        raise EncoderModuleError(
            f"encoder {kind} refuses rows of modality {modality}, of shape {shape}: "
            f"{type(error).__name__}: {error}"
        ) from error
    wanted = (2, config.embedding)
    if not isinstance(answer, torch.Tensor) or tuple(answer.shape) != wanted:
        found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise EncoderModuleError(
            f"encoder {kind}: two rows of modality {modality} gave {found}, where embeddings of "
            f"shape {wanted} are wanted"
        )


@torch.no_grad()
def _embed_zeros(encoder: nn.Module, shape: Shape, *, padded: bool) -> object:
    """Return what an encoder makes of two rows of zeros."""
    inputs: tuple[Tensor, ...] = (torch.zeros(2, *shape),)
    if padded:
        inputs += (torch.ones(2, shape[0], dtype=torch.bool),)
    answer: object = encoder(*inputs)
    return answer
