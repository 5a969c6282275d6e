"""Encoders that users bring: `MODULE:NAME` names what builds one, `hf:PATH` a pretrained one.

`NAME(shape, embedding)` is called with the shape of one row and the width of an embedding, and
returns a `torch.nn.Module` that maps float32 (rows, *shape) to (rows, embedding). For padded
sequences it is called with a second argument, (rows, time), True where a step is real. Ids of
tokens come in int64; text comes as its UTF-8 bytes, int64 (rows, bytes) from 0 to 255, with what is
real of them. Its layers may be lazy (`LazyLinear`): rows of zeros tell them their widths.
"""

import importlib
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from tuner.data import Modality
from tuner.data.standardize import are_ids
from tuner.models.compute.randomness import seeded
from tuner.models.config import TrainingConfig
from tuner.models.encoders.kinds import is_module
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


def embeds_ids(kind: str, side: Modality, config: TrainingConfig) -> bool:
    """Whether an encoder looks up the values of a modality in a table, as it does ids of tokens.

    It is seen by calling it on whole numbers, in two ways: a table that it looks up at other places
    the second time is one of values, not of positions. Data that hold anything but whole numbers
    from 0 are no ids.

    Raises:
        EncoderModuleError: If it cannot be found or built.
    """
    if side.holds != "numbers":
        return True
    if not is_module(kind) or not are_ids(side.values):
        return False
    rows = torch.from_numpy(side.values[:2].astype(np.int64))
    masks = () if side.mask is None else (torch.from_numpy(side.mask[:2].copy()),)
    with seeded(0):
        shape = side.values.shape[1:]
        encoder = build_own_encoder(kind, shape, config, padded=side.mask is not None).eval()
        # The first are in any table; the real ones may be beyond one that is too short.
        one, other = (_lookups(encoder, (x, *masks)) for x in ((rows == 0).long(), rows))
    return any(
        a.shape != b.shape or not torch.equal(a, b) for a, b in zip(one, other, strict=False)
    )


class _Lookups(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no type for it
    """Notes the places at which tables are looked up."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.places: list[Tensor] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if operation.overloadpacket in (torch.ops.aten.embedding, torch.ops.aten._embedding_bag):
            self.places.append(args[1].clone())
        return operation(*args, **(kwargs or {}))


@torch.no_grad()
def _lookups(encoder: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Call an encoder, as far as it goes, and return where it looked something up."""
    lookups = _Lookups()
    with lookups, suppress(Exception):
        encoder(*inputs)
    return lookups.places


@torch.no_grad()
def _embed_zeros(encoder: nn.Module, shape: Shape, *, padded: bool) -> None:
    """Call it on two rows of zeros, of the type that it takes."""
    masks = (torch.ones(2, shape[0], dtype=torch.bool),) if padded else ()
    try:
        encoder(torch.zeros(2, *shape), *masks)
    except Exception:
        with suppress(Exception):
            encoder(torch.zeros(2, *shape, dtype=torch.int64), *masks)  # ids that it embeds
            return
        raise
