"""Encoder pairs: one encoder, task head and projection head per modality, K replicates stacked."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from tuner.models.config import Projection, TrainingConfig
from tuner.models.encoders.built_in.audio import AudioEncoder
from tuner.models.encoders.built_in.image import ConvolutionalEncoder, VisionTransformer
from tuner.models.encoders.built_in.ngrams import NgramEncoder
from tuner.models.encoders.built_in.sequence import SequenceEncoder
from tuner.models.encoders.custom import build_own_encoder
from tuner.models.encoders.kinds import check_shape, is_module
from tuner.models.encoders.replicated import Replicated
from tuner.models.encoders.source import PREFIX
from tuner.models.encoders.stacked import StackedLinear, StackedMLP
from tuner.models.typing import Shape

_EXTRA = "extra_state"  # among the weights


class Branch(nn.Module):
    """One modality's encoder with its task head and its projection head."""

    def __init__(
        self,
        kind: str,
        shape: Shape,
        outputs: int,
        config: TrainingConfig,
        generators: Sequence[Generator],
        *,
        padded: bool,
    ) -> None:
        super().__init__()
        self._is_own = is_module(kind) and not kind.startswith(PREFIX)
        self.encoder = _encoder(kind, shape, config, generators, padded=padded)
        self.head = StackedLinear(config.embedding, outputs, generators)
        self.projection = _projection(config.projection, config, generators)

    def forward(self, x: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return embeddings (replicates, rows, embedding) and outputs (…, outputs) of `x`.

        Args:
            x: (replicates, rows, …).
            real: (replicates, rows, time), True where a step of a padded sequence counts.
        """
        if not x.is_floating_point():
            x = x.long()  # bytes of text and ids take less room until they are looked up
        embedding = self.encoder(x) if real is None else self.encoder(x, real)
        return embedding, self.head(embedding)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that make the branch, trained or not, and whether stored or not.

        The first axis of each is the replicate. `fixed_tensors` are not among them.
        """
        fixed = self.fixed_tensors()
        return {name: value for name, value in self._every_tensor() if name not in fixed}

    def fixed_tensors(self) -> dict[str, Tensor]:
        """Return those that never change, because they lie in a file of their own."""
        names = self.encoder.fixed_tensors if isinstance(self.encoder, Replicated) else ()
        prefixed = {f"encoder.{name}" for name in names}
        return {name: value for name, value in self._every_tensor() if name in prefixed}

    def extra_state(self) -> dict[str, Any]:
        """Return what the encoder of a lone replicate keeps besides tensors."""
        return self.encoder.extra_state() if isinstance(self.encoder, Replicated) else {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Give the encoder back what `extra_state` returned."""
        if isinstance(self.encoder, Replicated):
            self.encoder.load_extra_state(state)

    def _every_tensor(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from self.named_buffers()

    def load(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Take the tensors, and what is kept besides, of a training's `weights`.

        What is not among them stays as the seed made it: version 0.1.0 kept nothing frozen.
        """
        tensors = self.tensors()
        for name in tensors.keys() & weights.keys():
            tensors[name].data = torch.from_numpy(weights[name].copy())
        self.load_extra_state(_unpacked_extra_state(weights))

    @property
    def mixes_rows(self) -> bool:
        """Whether what it does to a row in training may depend on the others of its batch."""
        return self._is_own or (
            isinstance(self.encoder, Replicated) and self.encoder.normalises_batches
        )

    def project(self, embedding: Tensor) -> Tensor:
        """Return the L2-normalised projections of embeddings, (replicates, rows, width)."""
        return functional.normalize(self.projection(embedding), dim=-1)


class EncoderPair(nn.Module):
    """K independent encoder pairs, stacked along the first axis of every parameter.

    Args:
        inputs: Shape of one row of modality A and of modality B.
        outputs: Classes, or 1 for regression.
        config: Widths and heads, with encoders that are named: see `resolve`.
        generators: One source of initial weights per replicate.
        padded: Whether rows of A and of B come with a mask.

    Raises:
        ValueError: If an encoder is still `auto`.
        UnsupportedShapeError: If an encoder does not take inputs of its modality's shape.
    """

    def __init__(
        self,
        inputs: tuple[Shape, Shape],
        outputs: int,
        config: TrainingConfig,
        generators: Sequence[Generator],
        *,
        padded: tuple[bool, bool] = (False, False),
    ) -> None:
        super().__init__()
        kinds = (config.encoder_a, config.encoder_b)
        for modality, kind, shape in zip("ab", kinds, inputs, strict=True):
            check_shape(modality, kind, shape, config)
        self.a, self.b = (
            Branch(kind, shape, outputs, config, generators, padded=masked)
            for kind, shape, masked in zip(kinds, inputs, padded, strict=True)
        )

    @property
    def mixes_rows(self) -> bool:
        """Whether an encoder may look at its batch as a whole."""
        return self.a.mixes_rows or self.b.mixes_rows


def packed_extra_state(state: dict[str, Any]) -> dict[str, NDArray[np.uint8]]:
    """Write what an encoder keeps besides tensors as bytes among its weights; nothing for none."""
    if not state:
        return {}
    content = io.BytesIO()
    torch.save(state, content)
    return {_EXTRA: np.frombuffer(content.getvalue(), np.uint8)}


def _unpacked_extra_state(weights: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    if _EXTRA not in weights:
        return {}
    content = io.BytesIO(weights[_EXTRA].tobytes())
    state: dict[str, Any] = torch.load(content, weights_only=True)
    return state


def _encoder(
    kind: str,
    shape: Shape,
    config: TrainingConfig,
    generators: Sequence[Generator],
    *,
    padded: bool,
) -> nn.Module:
    if kind == "mlp":
        hidden = (config.hidden,) * config.depth
        return StackedMLP((*shape, *hidden, config.embedding), generators)
    if is_module(kind):
        return Replicated(lambda: build_own_encoder(kind, shape, config, padded=padded), generators)
    make: dict[str, Callable[[], nn.Module]] = {
        "transformer": lambda: SequenceEncoder(shape[-1], config),
        "cnn": lambda: ConvolutionalEncoder(shape[0], config),
        "vit": lambda: VisionTransformer(shape, config),
        "logmel-transformer": lambda: AudioEncoder("transformer", config),
        "logmel-cnn": lambda: AudioEncoder("cnn", config),
        "text": lambda: NgramEncoder("text", config),
        "tokens": lambda: NgramEncoder("tokens", config),
    }
    return Replicated(make[kind], generators)


def _projection(
    kind: Projection, config: TrainingConfig, generators: Sequence[Generator]
) -> nn.Sequential:
    width = config.projection_width
    widths = {
        "mlp": (config.embedding, width, width),
        "linear": (config.embedding, width),
        "none": (config.embedding,),
    }
    return StackedMLP(widths[kind], generators)
