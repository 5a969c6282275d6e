"""Encoders that users bring: `MODULE:NAME` names what builds one, `hf:PATH` a pretrained one.

`NAME(shape, embedding)` is called with the shape of one row and the width of an embedding, and
returns a `torch.nn.Module` that maps float32 (rows, *shape) to (rows, embedding). For padded
sequences it is called with a second argument, (rows, time), True where a step is real. Ids of
tokens come in int64; text comes as its UTF-8 bytes, int64 (rows, bytes) from 0 to 255, with what is
real of them. Its layers may be lazy (`LazyLinear`): rows of zeros tell them their widths.
"""

import importlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
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
    name = kind.partition(":")[2]
    builder = _builder(kind)
    try:
        encoder = builder(shape, embedding)
    except (Exception, SystemExit) as error:
        raise EncoderModuleError(
            f"encoder {kind}: {name}({shape}, {embedding}) raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(encoder, nn.Module):
        raise EncoderModuleError(
            f"encoder {kind}: {name}({shape}, {embedding}) returned a {type(encoder).__name__}, "
            "where a torch.nn.Module is wanted"
        )
    return encoder


def _builder(kind: str) -> Callable[..., Any]:
    """Import what builds an encoder.

    What its module draws as it is imported is not drawn from the generators of a training: only
    the first training of a process would begin with other weights.

    Raises:
        EncoderModuleError: If there is none that takes a shape and a width.
    """
    module_name, _, name = kind.partition(":")
    try:
        with seeded(0):
            module = importlib.import_module(module_name)
    except ImportError as error:
        raise EncoderModuleError(
            f"encoder {kind}: cannot import {module_name!r} ({error}); it has to lie in the "
            "working directory or on PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        raise EncoderModuleError(
            f"encoder {kind}: {module_name!r} raised {type(error).__name__} as it was imported: "
            f'{error}. What it is to do as a program belongs below if __name__ == "__main__":'
        ) from error
    if not hasattr(module, name):
        nearest = get_close_matches(name, vars(module), 1)
        there = f"; there is {nearest[0]}" if nearest else ""
        raise EncoderModuleError(f"encoder {kind}: {module_name!r} has no {name!r}{there}")
    builder = getattr(module, name)
    wanted = f"name a class, or a function, that is called as {name}(shape, embedding)"
    if isinstance(builder, nn.Module) or not callable(builder):
        what = "a module that is built" if isinstance(builder, nn.Module) else "nothing to call"
        raise EncoderModuleError(
            f"encoder {kind}: {name} is {what}, and each replicate needs one of its own: {wanted}"
        )
    with suppress(ValueError):  # of what has no signature
        signature = inspect.signature(builder)
        try:
            signature.bind((), 1)
        except TypeError:
            raise EncoderModuleError(
                f"encoder {kind}: {name}{signature} takes other arguments than the shape of a row "
                f"and the width of an embedding: {wanted}"
            ) from None
    return builder  # type: ignore[no-any-return]  # anything that can be called so


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
