"""How one encoder pair is built and trained, the same at every λ."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Projection = Literal["mlp", "linear", "none"]
Count = Annotated[int, Field(ge=1)]


class TrainingConfig(BaseModel):
    """Everything that training needs besides the data, λ and the seeds.

    Attributes:
        encoder_a: Kind of encoder of modality A; `auto` chooses by shape.
        encoder_b: The same for modality B.
        depth: Hidden layers of an mlp encoder.
        hidden: Width of a hidden layer.
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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder_a: Literal["auto", "mlp"] = "auto"
    encoder_b: Literal["auto", "mlp"] = "auto"
    depth: Count = 2
    hidden: Count = 128
    embedding: Count = 64
    projection: Projection = "mlp"
    projection_width: Count = 64
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    epochs: Count = 100
    patience: Count = 10
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2
