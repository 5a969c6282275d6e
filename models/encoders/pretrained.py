"""Pretrained encoders from a local Hugging Face folder: `hf:PATH`.

The folder holds `config.json` and `model.safetensors`, as `save_pretrained` writes them. Nothing is
downloaded, and neither pickled weights nor code from the folder are loaded.
"""

import inspect
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.models.compute.device import without_autocast
from tuner.models.encoders.source import folder_of
from tuner.models.errors import EncoderModuleError

_INPUTS = {
    "pixel_values": "images",
    "input_values": "waveforms",
    "inputs_embeds": "sequences of its own width",
    "input_ids": "ids of tokens",
}
_FULL_PRECISION = ("deberta",)  # its mask is filled with what bfloat16 cannot hold
_CANNOT = {  # by the architecture's `model_type`
    "longformer": "torch.export cannot trace its windows, so it could not be registered",
    "vit_mae": "it hides patches at random whenever it is used; write its weights as a ViT's, with "
    "ViTModel.from_pretrained(folder).save_pretrained(another)",
}


class PretrainedEncoder(nn.Module):
    """A pretrained backbone, the mean of its last hidden states, and a linear map.

    The backbone takes images as `pixel_values`, waveforms (samples, 1) as `input_values`,
    sequences of its own hidden width as `inputs_embeds`, and ids of tokens as `input_ids`. It stays
    in evaluation mode, so that what it does to a row depends on that row alone.

    Args:
        kind: `hf:PATH`.
        embedding: Width of the embedding.
        frozen: Whether the backbone keeps its weights.

    Raises:
        EncoderModuleError: If there is no such folder, or no model in it that can be loaded.
    """

    def __init__(self, kind: str, embedding: int, *, frozen: bool) -> None:
        super().__init__()
        self.backbone = _load(kind)
        self._frozen = frozen
        self.backbone.requires_grad_(not frozen)
        self._input = _input_name(self.backbone)
        self._in_full = self.backbone.config.model_type in _FULL_PRECISION
        self.out = nn.Linear(_width(self.backbone), embedding)

    def fixed_tensors(self) -> set[str]:
        """Return the names of what lies in the folder and never changes."""
        if not self._frozen:
            return set()
        tensors = (*self.backbone.named_parameters(), *self.backbone.named_buffers())
        return {f"backbone.{name}" for name, _ in tensors}

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Embed (rows, channels, height, width), (rows, samples, 1) or (rows, time, width).

        Ids of tokens, int64, are (rows, time) or (rows, time, 1).
        """
        self.backbone.eval()
        inputs = {self._input: x.squeeze(-1) if self._input == "input_values" else x}
        if self._input in ("inputs_embeds", "input_ids") and not x.is_floating_point():
            inputs = {"input_ids": x.flatten(1)}
        elif self._input == "input_ids":
            raise EncoderModuleError(
                f"a {type(self.backbone).__name__} takes ids of tokens, (rows, tokens), which are "
                "whole numbers from 0"
            )
        elif not x.is_floating_point():
            raise EncoderModuleError(
                f"a {type(self.backbone).__name__} takes {_INPUTS[self._input]}, no text and no "
                "ids of tokens"
            )
        if real is not None:
            inputs["attention_mask"] = real.to(torch.int64)
        with without_autocast(x) if self._in_full else nullcontext():
            states: Tensor = self.backbone(**inputs).last_hidden_state
        states = states.flatten(2).mT if states.dim() == 4 else states
        mean = states.mean(1)
        if real is not None:  # a state stands for one step, or for many
            share = functional.interpolate(real.to(states.dtype).unsqueeze(1), states.shape[1])
            mean = (share @ states).squeeze(1) / share.sum(-1).clamp(min=1)
        embedding: Tensor = self.out(mean)
        return embedding


def _load(kind: str) -> Any:
    folder = folder_of(kind)
    try:
        from transformers import AutoModel
        from transformers.utils import logging
    except ImportError:
        raise EncoderModuleError(
            f"encoder {kind}: it needs transformers: pip install 'alignment-tuner[pretrained]'"
        ) from None
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs has no types
    try:
        model = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except Exception as error:
        raise EncoderModuleError(
            f"encoder {kind}: {folder} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    _check_architecture(kind, model)
    return model


def _check_architecture(kind: str, model: Any) -> None:
    """Refuse what is no encoder of one modality, and what is known not to work."""
    name = type(model).__name__
    for attribute in ("main_input_name", "config"):
        if not hasattr(model, attribute):
            raise EncoderModuleError(f"encoder {kind}: a {name} is no encoder")
    if reason := _CANNOT.get(model.config.model_type):
        raise EncoderModuleError(f"encoder {kind}: a {name} cannot be used: {reason}")
    if getattr(model.config, "is_encoder_decoder", False):
        raise EncoderModuleError(
            f"encoder {kind}: a {name} is an encoder with a decoder; bring its encoder alone as a "
            "module of yours, MODULE:NAME"
        )
    if _width(model) is None:
        raise EncoderModuleError(
            f"encoder {kind}: a {name} has no hidden_size, which is the width of one encoder's "
            "states; bring it as a module of yours, MODULE:NAME"
        )
    if _input_name(model) not in _INPUTS:
        raise EncoderModuleError(
            f"encoder {kind}: a {name} takes {_input_name(model)}; what can be given are "
            + ", ".join(f"{rows} ({given})" for given, rows in _INPUTS.items())
        )


def _input_name(model: Any) -> str:
    """What a model's first input is called; embeddings take the place of words where they may."""
    name = str(model.main_input_name)
    embeds = name == "input_ids" and "inputs_embeds" in inspect.signature(model.forward).parameters
    return "inputs_embeds" if embeds else name


def _width(model: Any) -> Any:
    """Width of a model's last hidden states; None if its configuration does not say."""
    stages = getattr(model.config, "hidden_sizes", None) or [None]
    width = getattr(model.config, "hidden_size", stages[-1])
    return width if isinstance(width, int) else None
