"""Pretrained encoders from a local Hugging Face folder: `hf:PATH`.

The folder holds `config.json` and `model.safetensors`, as `save_pretrained` writes them. Nothing is
downloaded, and neither pickled weights nor code from the folder are loaded.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.models.encoders.source import folder_of
from tuner.models.errors import EncoderModuleError


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
        self._takes = self.backbone.main_input_name
        self.out = nn.Linear(self.backbone.config.hidden_size, embedding)

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
        inputs: dict[str, Any] = {"pixel_values": x}
        if self._takes == "input_values":
            inputs = {"input_values": x.squeeze(-1)}
        elif self._takes == "input_ids" and x.is_floating_point():
            inputs = {"inputs_embeds": x}
        elif self._takes == "input_ids":
            inputs = {"input_ids": x.flatten(1)}
        if real is not None:
            inputs["attention_mask"] = real.to(torch.int64)
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
    for attribute in ("main_input_name", "config"):
        if not hasattr(model, attribute):
            raise EncoderModuleError(f"encoder {kind}: a {type(model).__name__} is no encoder")
    if not isinstance(getattr(model.config, "hidden_size", None), int):
        raise EncoderModuleError(
            f"encoder {kind}: a {type(model).__name__} has no hidden_size: it is no encoder of "
            "one modality"
        )
    return model
