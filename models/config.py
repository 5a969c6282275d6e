"""How one encoder pair is built and trained, the same at every λ."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Projection = Literal["mlp", "linear", "none"]
Negatives = Literal["auto", "all", "other-groups"]
Precision = Literal["auto", "float32", "bfloat16"]
_FEWEST_EPOCHS = 5  # whatever the steps: the last fifth tells whether all is learned
MAX_STEPS = 10_000  # of a training: see "Are fewer epochs enough?" in tests/benchmarks/results
Count = Annotated[int, Field(ge=1)]
BUILT_IN = (
    "auto",
    "mlp",
    "transformer",
    "cnn",
    "vit",
    "logmel-transformer",
    "logmel-cnn",
    "text",
    "tokens",
)


def _known_kind(kind: str) -> str:
    own = re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*|hf:.+", kind)
    if kind not in BUILT_IN and not own:
        raise ValueError(f"{kind!r} is none of {', '.join(BUILT_IN)}, no MODULE:NAME, no hf:PATH")
    return kind


EncoderKind = Annotated[str, AfterValidator(_known_kind)]


class TrainingConfig(BaseModel):
    """Everything that training needs besides the data, λ and the seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder_a: Annotated[
        EncoderKind,
        Field(
            description="encoder of A: mlp (features), transformer (time, features), cnn or vit "
            "(images), logmel-transformer or logmel-cnn (waveforms: samples, 1), text, tokens (ids "
            "of tokens), auto (by shape), "
            "MODULE:NAME of your own: NAME(row_shape, embedding_width) returns a torch.nn.Module, "
            "or hf:PATH: a pretrained model in a local Hugging Face folder"
        ),
    ] = "auto"
    encoder_b: Annotated[EncoderKind, Field(description="the same for B")] = "auto"
    pretrained: Annotated[
        Literal["frozen", "fine-tuned"],
        Field(description="what training does to the weights of an hf: encoder"),
    ] = "frozen"
    depth: Annotated[
        Count,
        Field(
            description="hidden layers of an mlp, blocks of a transformer or vit, stages of a cnn"
        ),
    ] = 2
    hidden: Annotated[
        Count, Field(description="width of an encoder's layers; of a cnn, its last stage's")
    ] = 128
    heads: Annotated[Count, Field(description="attention heads of a transformer or vit")] = 4
    patch: Annotated[Count, Field(description="pixels a side of a vit's patch")] = 4
    sample_rate: Annotated[int, Field(ge=1000, description="of waveforms, samples a second")] = (
        16_000
    )
    embedding: Annotated[Count, Field(description="width of an embedding")] = 64
    projection: Annotated[
        Projection, Field(description="head between the embedding and the alignment loss")
    ] = "mlp"
    projection_width: Annotated[
        Count, Field(description="width of what that head gives, unless it is none")
    ] = 64
    temperature: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="τ of the alignment loss, InfoNCE")
    ] = 0.1
    negatives: Annotated[
        Negatives,
        Field(
            description="which other pairs of a batch are a pair's negatives in that loss: auto is "
            "all but those that repeat its A or B (captions of one image), all, or other-groups",
            exclude_if=lambda negatives: negatives == "auto",  # as before there was a choice
        ),
    ] = "auto"
    epochs: Annotated[Count, Field(description="passes over the training rows, at most")] = 100
    max_steps: Annotated[
        Count,
        Field(
            description="gradient steps of a training, at most: fewer epochs where rows are many, "
            "but five of them",
            exclude_if=lambda steps: steps == MAX_STEPS,  # as before it could be said
        ),
    ] = MAX_STEPS
    patience: Annotated[
        Count,
        Field(
            description="epochs after which a replicate stops if neither modality's validation "
            "loss improves"
        ),
    ] = 10
    batch_size: Annotated[
        int, Field(ge=2, description="pairs in a batch; the others are a pair's negatives")
    ] = 128
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False, description="of AdamW")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False, description="of AdamW")] = 1e-2
    precision: Annotated[
        Precision,
        Field(
            description="numbers of training; bfloat16 keeps weights, losses and measurements in "
            "float32, auto is bfloat16 on a GPU that has it"
        ),
    ] = "auto"

    def epochs_of(self, rows: int) -> int:
        """Return how many epochs of so many training rows are made, at most."""
        return min(self.epochs, max(_FEWEST_EPOCHS, self.max_steps // self.steps_of(rows)))

    def steps_of(self, rows: int) -> int:
        """Return the gradient steps of an epoch of so many training rows."""
        return rows // min(self.batch_size, rows)
