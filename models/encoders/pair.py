"""Encoder pairs: one encoder, task head and projection head per modality, K replicates stacked."""

from collections.abc import Callable, Sequence

from torch import Generator, Tensor, nn
from torch.nn import functional

from tuner.models.config import Projection, TrainingConfig
from tuner.models.encoders.audio import AudioEncoder
from tuner.models.encoders.custom import build_own_encoder
from tuner.models.encoders.image import ConvolutionalEncoder, VisionTransformer
from tuner.models.encoders.kinds import is_module, resolve
from tuner.models.encoders.replicated import Replicated
from tuner.models.encoders.sequence import SequenceEncoder
from tuner.models.encoders.stacked import StackedLinear, StackedMLP
from tuner.models.typing import Shape


class Branch(nn.Module):
    """One modality's encoder with its task head and its projection head."""

    def __init__(
        self,
        kind: str,
        shape: Shape,
        outputs: int,
        config: TrainingConfig,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__()
        self.encoder = _encoder(kind, shape, config, generators)
        self.head = StackedLinear(config.embedding, outputs, generators)
        self.projection = _projection(config.projection, config, generators)

    def forward(self, x: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return embeddings (replicates, rows, embedding) and outputs (…, outputs) of `x`.

        Args:
            x: (replicates, rows, …).
            real: (replicates, rows, time), True where a step of a padded sequence counts.
        """
        embedding = self.encoder(x) if real is None else self.encoder(x, real)
        return embedding, self.head(embedding)

    def trained_state(self) -> dict[str, Tensor]:
        """Return parameters and buffers but for what is frozen, which is in its own file."""
        frozen = {name for name, value in self.named_parameters() if not value.requires_grad}
        state = self.state_dict(keep_vars=True)
        return {name: value for name, value in state.items() if name not in frozen}

    def project(self, embedding: Tensor) -> Tensor:
        """Return the L2-normalised projections of embeddings, (replicates, rows, width)."""
        return functional.normalize(self.projection(embedding), dim=-1)


class EncoderPair(nn.Module):
    """K independent encoder pairs, stacked along the first axis of every parameter.

    Args:
        inputs: Shape of one row of modality A and of modality B.
        outputs: Classes, or 1 for regression.
        config: Widths and heads.
        generators: One source of initial weights per replicate.

    Raises:
        UnsupportedShapeError: If an encoder does not take inputs of its modality's shape.
    """

    def __init__(
        self,
        inputs: tuple[Shape, Shape],
        outputs: int,
        config: TrainingConfig,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__()
        config = resolve(config, inputs, rows=0)
        self.a = Branch(config.encoder_a, inputs[0], outputs, config, generators)
        self.b = Branch(config.encoder_b, inputs[1], outputs, config, generators)


def _encoder(
    kind: str, shape: Shape, config: TrainingConfig, generators: Sequence[Generator]
) -> nn.Module:
    if kind == "mlp":
        hidden = (config.hidden,) * config.depth
        return StackedMLP((*shape, *hidden, config.embedding), generators)
    if is_module(kind):
        return Replicated(lambda: build_own_encoder(kind, shape, config), generators)
    make: dict[str, Callable[[], nn.Module]] = {
        "transformer": lambda: SequenceEncoder(shape[-1], config),
        "cnn": lambda: ConvolutionalEncoder(shape[0], config),
        "vit": lambda: VisionTransformer(shape, config),
        "logmel-transformer": lambda: AudioEncoder("transformer", config),
        "logmel-cnn": lambda: AudioEncoder("cnn", config),
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
