"""A trained encoder that stands alone: raw inputs in, embeddings and answers out."""

import numpy as np
import torch
from torch import Tensor, nn

from tuner.models.compute.randomness import random_streams
from tuner.models.config import TrainingConfig
from tuner.models.encoders.pair import Branch, EncoderPair
from tuner.models.encoders.stacked import unstack
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import TrainingData


class PortableEncoder(nn.Module):
    """One encoder with its task head, in plain `torch.nn` layers that `torch.export` can trace.

    It standardises its inputs as training did, in double precision, and answers in the units of
    the data.

    Args:
        branch: A branch of which the first replicate is taken.
        data: What it was trained on.
        modality: `a` or `b`.

    Attributes:
        embeds_ids: Whether its inputs are ids, whole numbers from 0, which it embeds; those of text
            are its UTF-8 bytes, or what a tokenizer makes of it.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, branch: Branch, data: TrainingData, modality: str) -> None:
        super().__init__()
        scaling = data.scaling
        standardizer = scaling.a if modality == "a" else scaling.b
        shape = data.shapes[0] if modality == "a" else data.shapes[1]
        axes = (-1, 1, 1) if len(shape) == 3 else (-1,)  # an image is scaled by channel
        for name in ("mean", "scale"):
            values = getattr(standardizer, name).astype(np.float64).reshape(axes)
            self.register_buffer(name, torch.from_numpy(values))
        self.embeds_ids = scaling.ids[0 if modality == "a" else 1]
        self._padded = getattr(data.train, f"{modality}_real") is not None
        self.encoder = unstack(branch.encoder, 0)
        self.head = unstack(nn.Sequential(branch.head), 0)
        self._classifies = data.task == "classification"
        self._target_mean, self._target_scale = scaling.target_mean, scaling.target_scale
        self._target_dtype = getattr(torch, scaling.target_dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map raw inputs to embeddings and answers.

        Args:
            x: (rows, features), (rows, time, features) or (rows, channels, height, width), not
                standardised; ids as whole numbers, those of tokens or bytes (rows, time). If
                training had padded sequences, a step that is NaN is padding.

        Returns:
            (rows, embedding), and either (rows, classes) probabilities or (rows,) values.
        """
        inputs = ((x.double() - self.mean) / self.scale).float()
        if self._padded:
            inputs = inputs.nan_to_num(nan=0.0)
        if self.embeds_ids:
            inputs = inputs.long()
        real = (~x.isnan().reshape(*x.shape[:2], -1).any(-1),) if self._padded else ()
        embedding = self.encoder(inputs, *real)
        output = self.head(embedding)
        if self._classifies:
            return embedding, output.softmax(-1)
        values = output[:, 0].to(self._target_dtype)
        return embedding, values * self._target_scale + self._target_mean


def portable_encoder(
    outcome: TrainingOutcome,
    data: TrainingData,
    config: TrainingConfig,
    *,
    modality: str,
) -> PortableEncoder:
    """Rebuild the encoder of the best replicate, from the seed that it was trained from.

    Args:
        outcome: Of a training that kept its weights.
        data: What it was trained on.
        config: How it was built.
        modality: `a` or `b`.

    Raises:
        ValueError: If the training did not keep its weights.
    """
    if outcome.weights is None:
        raise ValueError("this training did not keep its weights: it was given no test rows")
    init, _ = random_streams(int(outcome.seeds[outcome.best_replicate(modality)]))
    pair = EncoderPair(data.shapes, data.outputs, config, [init], padded=data.padded)
    branch = pair.a if modality == "a" else pair.b
    branch.load(outcome.weights[modality])
    return PortableEncoder(branch, data, modality).eval()
