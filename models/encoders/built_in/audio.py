"""The front end of audio encoders: log-mel spectrograms, as plain products."""

import math

import torch
from torch import Tensor, nn

from tuner.models.compute.device import without_autocast
from tuner.models.config import TrainingConfig
from tuner.models.encoders.built_in.image import ConvolutionalEncoder
from tuner.models.encoders.built_in.sequence import SequenceEncoder

MELS = 40
_FRAME, _HOP = 0.025, 0.010  # seconds
_FLOOR = 1e-6  # of power, so that silence has a logarithm


def frame_sizes(sample_rate: int) -> tuple[int, int]:
    """Samples of a frame, and from one frame to the next."""
    return round(_FRAME * sample_rate), round(_HOP * sample_rate)


class LogMel(nn.Module):
    """Waveforms to log-mel spectrograms with Hann windows of 25 ms every 10 ms.

    The discrete Fourier transform is a product with fixed sines and cosines: `torch.export` keeps
    it, and no complex numbers are needed. Mel scale and triangles after the Hidden Markov Model
    Toolkit: mel = 2595 log₁₀(1 + f / 700).
    """

    transform: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self._size, self._hop = frame_sizes(sample_rate)
        window = torch.hann_window(self._size, dtype=torch.float64)
        angle = (
            2
            * math.pi
            / self._size
            * torch.outer(
                torch.arange(self._size, dtype=torch.float64),
                torch.arange(self._size // 2 + 1, dtype=torch.float64),
            )
        )
        waves = torch.cat([angle.cos(), angle.sin()], 1) * window[:, None]
        dtype = torch.get_default_dtype()
        self.register_buffer("transform", waves.to(dtype), persistent=False)
        filters = mel_filters(sample_rate, self._size)
        self.register_buffer("filters", filters.to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, samples) to (rows, frames, mels)."""
        frames = x.unfold(-1, self._size, self._hop)
        with without_autocast(x):  # quiet mels drown in what bfloat16 drops of loud ones
            real, imaginary = (frames @ self.transform).chunk(2, -1)
            power = real.square() + imaginary.square()
            return (power @ self.filters).clamp(min=_FLOOR).log()

    def real_frames(self, real: Tensor) -> Tensor:
        """Which frames hold no padding, (rows, frames); the first always counts."""
        whole = real.unfold(-1, self._size, self._hop).all(-1)
        first = torch.arange(whole.shape[-1], device=whole.device) == 0
        return whole | first


class AudioEncoder(nn.Module):
    """A log-mel front end ahead of a Transformer over frames or a CNN over the spectrogram."""

    def __init__(self, inner: str, config: TrainingConfig) -> None:
        super().__init__()
        self.front = LogMel(config.sample_rate)
        self.norm = nn.LayerNorm(MELS)
        self._sequence = inner == "transformer"
        self.inner: nn.Module = (
            SequenceEncoder(MELS, config)
            if self._sequence
            else ConvolutionalEncoder(1, config, MELS)
        )

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Embed waveforms (rows, samples, 1); `real` is (rows, samples)."""
        frames = self.norm(self.front(x.squeeze(-1)))
        counted = None if real is None else self.front.real_frames(real)
        if counted is not None:
            frames = frames * counted.to(frames.dtype).unsqueeze(-1)
        embedding: Tensor = (
            self.inner(frames, counted) if self._sequence else self.inner(frames.unsqueeze(1))
        )
        return embedding


def mel_filters(sample_rate: int, size: int) -> Tensor:
    """Triangles of equal width in mel, (frequencies, mels), float64."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, MELS + 2, dtype=torch.float64) / 2595) - 1)
    frequency = torch.arange(size // 2 + 1, dtype=torch.float64)[:, None] * sample_rate / size
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0)
