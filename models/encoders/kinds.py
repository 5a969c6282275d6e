"""Which encoder takes rows of which shape; loads without torch."""

from collections.abc import Callable
from dataclasses import dataclass

from tuner.data.dataset import Holds
from tuner.models.config import TrainingConfig
from tuner.models.encoders.source import (
    PREFIX,
    extend_search_path,
    search_path,
    with_absolute_path,
)
from tuner.models.errors import UnsupportedShapeError
from tuner.models.typing import Shape

_Refuse = Callable[[str], UnsupportedShapeError]

_SMALL_IMAGE = 64  # pixels a side up to which a small CNN is chosen
_MOST_AUDIO_STAGES = 5  # halvings of 40 mels
_MANY_ROWS = 20_000  # training rows from which a ViT may be
_WORDS = {"numbers": "numbers", "text": "text", "tokens": "ids of tokens"}
_FOR = {"numbers": "auto", "text": "text, or hf:FOLDER of a language model"}
_FOR["tokens"] = "tokens, or hf:FOLDER of a language model"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What an encoder takes.

    Attributes:
        axes: Number of axes of one row.
        takes: The same in words.
        mend: What to do with other rows.
        holds: What the rows are of.
    """

    axes: int
    takes: str
    mend: str
    holds: Holds = "numbers"


KINDS = {
    "mlp": Kind(
        axes=1, takes="rows of features, (rows, features)", mend="flatten it to use the mlp encoder"
    ),
    "transformer": Kind(
        axes=2,
        takes="sequences, (rows, time, features)",
        mend="save it with a time axis to use the transformer encoder",
    ),
    "cnn": Kind(
        axes=3,
        takes="images, (rows, channels, height, width)",
        mend="save it as images to use the cnn encoder",
    ),
    "vit": Kind(
        axes=3,
        takes="images, (rows, channels, height, width)",
        mend="save it as images to use the vit encoder",
    ),
}
_AUDIO = Kind(
    axes=2,
    takes="waveforms, (rows, samples, 1)",
    mend="save it as array.reshape(rows, samples, 1) to use a log-mel front end",
)
KINDS |= {"logmel-transformer": _AUDIO, "logmel-cnn": _AUDIO}
KINDS["text"] = Kind(
    axes=1,
    takes="text, one a row",
    mend="save it as text, or use the tokens encoder for ids of tokens",
    holds="text",
)
KINDS["tokens"] = Kind(
    axes=1,
    takes="ids of tokens, whole numbers of shape (rows, tokens)",
    mend="save it so to use the tokens encoder",
    holds="tokens",
)
_NUMBERS: tuple[Holds, Holds] = ("numbers", "numbers")


def is_module(kind: str) -> bool:
    """Whether a kind is the `MODULE:NAME` or the `hf:PATH` of an encoder that a user brings."""
    return ":" in kind


def resolve(
    config: TrainingConfig,
    shapes: tuple[Shape, Shape],
    rows: int,
    holds: tuple[Holds, Holds] = _NUMBERS,
) -> TrainingConfig:
    """Name the encoder of each modality where `auto` was asked for, and the epochs that there are.

    Called once, where a study is made: what it returns holds in the processes that train, wherever
    they run.

    Args:
        config: What was asked.
        shapes: Shape of one row of A and of B.
        rows: Training rows.
        holds: What A and B hold.

    Raises:
        UnsupportedShapeError: If an encoder does not take rows of its modality's shape, or what
            they hold.
    """
    names = ("encoder_a", "encoder_b")
    sides = list(zip("ab", shapes, holds, strict=True))
    kinds = {
        name: _resolved(modality, getattr(config, name), shape, rows, held)
        for name, (modality, shape, held) in zip(names, sides, strict=True)
    }
    resolved = config.model_copy(update=kinds | {"epochs": config.epochs_of(rows)})
    for kind, (modality, shape, held) in zip(kinds.values(), sides, strict=True):
        _check_content(modality, kind, held)
        check_shape(modality, kind, shape, resolved)
    return resolved


def _check_content(modality: str, kind: str, holds: Holds) -> None:
    """Check that an encoder takes what rows hold; numbers may be ids of tokens."""
    if is_module(kind) or KINDS[kind].holds == holds:
        return
    if kind == "tokens" and holds == "numbers":
        return
    raise UnsupportedShapeError(
        f"modality {modality}: the {kind} encoder takes {KINDS[kind].takes}, and these data are "
        f"{_WORDS[holds]}: use --encoder-{modality} {_FOR[holds]}"
    )


def check_shape(modality: str, kind: str, shape: Shape, config: TrainingConfig) -> None:
    """Check that an encoder takes rows of this shape, as far as that shows without building it.

    Raises:
        UnsupportedShapeError: If it does not.
        ValueError: If it is still `auto`.
    """
    if kind == "auto":
        raise ValueError(
            f"modality {modality}: the encoder is still auto: name it with "
            "tuner.models.encoders.kinds.resolve"
        )
    if is_module(kind):  # `tuner.models.preflight` tries it
        return
    known = KINDS[kind]
    refuse = _refusal(modality, kind, shape)
    if kind == "tokens" and len(shape) == 2 and shape[1] == 1:
        return
    if len(shape) != known.axes:
        raise refuse(known.mend)
    if known is _AUDIO:
        _check_audio(kind, shape, config, refuse)
    if kind == "cnn" and min(shape[1:]) < 2**config.depth:
        raise refuse(
            f"{config.depth} halvings leave nothing of it: use --depth "
            f"{max(1, min(shape[1:]).bit_length() - 1)} or less"
        )
    if kind == "vit" and min(shape[1:]) < config.patch:
        raise refuse(f"it is smaller than a patch of {config.patch} pixels: use a smaller --patch")
    if kind.endswith(("transformer", "vit")) and config.hidden % config.heads:
        raise refuse(f"its width {config.hidden} is no multiple of {config.heads} heads")


def _check_audio(kind: str, shape: Shape, config: TrainingConfig, refuse: _Refuse) -> None:
    size, hop = config.sample_rate // 40, config.sample_rate // 100
    frames = 1 + (shape[0] - size) // hop
    if shape[1] != 1:
        raise refuse(_AUDIO.mend)
    if frames < 1:
        raise refuse(f"it is shorter than a frame of 25 ms at --sample-rate {config.sample_rate}")
    if kind == "logmel-cnn" and frames < 2**config.depth:
        raise refuse(f"{config.depth} halvings leave nothing of its {frames} frames of 10 ms")
    if kind == "logmel-cnn" and config.depth > _MOST_AUDIO_STAGES:
        raise refuse(f"{config.depth} halvings leave nothing of its 40 mels: use --depth 5 or less")


def _refusal(modality: str, kind: str, shape: Shape) -> _Refuse:
    return lambda mend: UnsupportedShapeError(
        f"modality {modality}: the {kind} encoder takes {KINDS[kind].takes}; a row of this data "
        f"has shape {shape}: {mend}"
    )


def _resolved(modality: str, kind: str, shape: Shape, rows: int, holds: Holds) -> str:
    if is_module(kind):
        return _located(kind)
    if kind != "auto":
        return kind
    fitting = [
        name for name, known in KINDS.items() if known.axes == len(shape) and known.holds == holds
    ]
    if not fitting:
        raise UnsupportedShapeError(f"modality {modality}: no encoder takes rows of shape {shape}")
    if fitting == ["cnn", "vit"]:
        large = min(shape[1:]) > _SMALL_IMAGE and rows >= _MANY_ROWS
        return "vit" if large else "cnn"
    return fitting[0]


def _located(kind: str) -> str:
    """Have a user's encoder found from the working directory, by name or by an absolute path."""
    if kind.startswith(PREFIX):
        return with_absolute_path(kind)
    extend_search_path(search_path())
    return kind
