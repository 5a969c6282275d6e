"""How one encoder pair is built and trained, the same at every λ."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Projection = Literal["mlp", "linear", "none"]
Precision = Literal["auto", "float32", "bfloat16"]
Count = Annotated[int, Field(ge=1)]
BUILT_IN = (
    "auto",
    "mlp",
    "transformer",
    "cnn",
    "vit",
    "logmel-transformer",
    "logmel-cnn",
)


def _known_kind(kind: str) -> str:
    own = re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*|hf:.+", kind)
    if kind not in BUILT_IN and not own:
        raise ValueError(f"{kind!r} is none of {', '.join(BUILT_IN)}, no MODULE:NAME, no hf:PATH")
    return kind


EncoderKind = Annotated[str, AfterValidator(_known_kind)]


class TrainingConfig(BaseModel):
    """Everything that training needs besides the data, λ and the seeds.

    Attributes:
        encoder_a: Kind of encoder of modality A: `mlp`, `transformer`, `cnn`, `vit`,
            `logmel-transformer`, `logmel-cnn`, the `MODULE:NAME` of one's own (see
            `tuner.models.encoders.custom`), the `hf:PATH` of a pretrained one (see
            `tuner.models.encoders.pretrained`), or `auto`, which chooses by shape.
        encoder_b: The same for modality B.
        pretrained: Whether a pretrained backbone is `frozen` or `fine-tuned`.
        depth: Hidden layers of an mlp encoder, blocks of a transformer or vit, stages of a cnn.
        hidden: Width of a hidden layer; of a cnn's last stage.
        heads: Attention heads of a transformer or vit.
        patch: Pixels a side of a vit's patch.
        sample_rate: Of waveforms, samples a second.
        embedding: Width of an embedding.
        projection: Head between the embedding and the alignment loss.
        projection_width: Width of the projections that are compared (ignored by `none`).
        temperature: τ of InfoNCE.
        epochs: Passes over the training rows, at most.
        patience: A replicate stops once neither modality's validation loss has improved for
            this many epochs.
        batch_size: Pairs in a batch; all pairs of the batch but one are a pair's negatives.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        precision: Of encoders and heads: `bfloat16` multiplies in it and keeps weights and losses
            in float32, `auto` is that on a GPU that has it and `float32` elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder_a: EncoderKind = "auto"
    encoder_b: EncoderKind = "auto"
    pretrained: Literal["frozen", "fine-tuned"] = "frozen"
    depth: Count = 2
    hidden: Count = 128
    heads: Count = 4
    patch: Count = 4
    sample_rate: Annotated[int, Field(ge=1000)] = 16_000
    embedding: Count = 64
    projection: Projection = "mlp"
    projection_width: Count = 64
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    epochs: Count = 100
    patience: Count = 10
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2
    precision: Precision = "auto"
