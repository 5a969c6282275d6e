"""Encoder pairs: one encoder, task head and projection head per modality, K replicates stacked."""

from collections.abc import Sequence

from torch import Generator, Tensor, nn
from torch.nn import functional

from models.config import Projection, TrainingConfig
from models.encoders import StackedLinear, stacked_mlp
from models.errors import UnsupportedShapeError


class Branch(nn.Module):
    """One modality's encoder with its task head and its projection head."""

    def __init__(
        self, inputs: int, outputs: int, config: TrainingConfig, generators: Sequence[Generator]
    ) -> None:
        super().__init__()
        hidden = (config.hidden,) * config.depth
        self.encoder = stacked_mlp((inputs, *hidden, config.embedding), generators)
        self.head = StackedLinear(config.embedding, outputs, generators)
        self.projection = _projection(config.projection, config, generators)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings (replicates, rows, embedding) and outputs (…, outputs) of `x`."""
        embedding = self.encoder(x)
        return embedding, self.head(embedding)

    def project(self, embedding: Tensor) -> Tensor:
        """Return the L2-normalised projections of embeddings, (replicates, rows, width)."""
        return functional.normalize(self.projection(embedding), dim=-1)


class EncoderPair(nn.Module):
    """K independent encoder pairs, stacked along the first axis of every parameter.

    Args:
        inputs: Features of modality A and of modality B.
        outputs: Classes, or 1 for regression.
        config: Widths and heads.
        generators: One source of initial weights per replicate.

    Raises:
        UnsupportedShapeError: If an encoder does not take inputs of its modality's shape.
    """

    def __init__(
        self,
        inputs: tuple[tuple[int, ...], tuple[int, ...]],
        outputs: int,
        config: TrainingConfig,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__()
        self.a = Branch(_features("a", inputs[0]), outputs, config, generators)
        self.b = Branch(_features("b", inputs[1]), outputs, config, generators)


def _features(modality: str, shape: tuple[int, ...]) -> int:
    if len(shape) != 1:
        raise UnsupportedShapeError(
            f"modality {modality}: the mlp encoder takes rows of features, (rows, features); "
            f"a row of this data has shape {shape}: flatten it to use the mlp encoder"
        )
    return shape[0]


def _projection(
    kind: Projection, config: TrainingConfig, generators: Sequence[Generator]
) -> nn.Sequential:
    width = config.projection_width
    widths = {
        "mlp": (config.embedding, width, width),
        "linear": (config.embedding, width),
        "none": (config.embedding,),
    }
    return stacked_mlp(widths[kind], generators)
