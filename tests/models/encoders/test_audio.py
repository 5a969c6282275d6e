"""The log-mel front end against scipy's spectrogram and triangles drawn one by one."""

import numpy as np
import pytest
import torch
from scipy import signal

from tuner.models.config import TrainingConfig
from tuner.models.encoders.built_in.audio import (
    MELS,
    AudioEncoder,
    LogMel,
    frame_sizes,
    mel_filters,
)

RATE = 8000
TINY = TrainingConfig(hidden=16, embedding=6, heads=2, depth=2, sample_rate=RATE)


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def triangles(rate: int, size: int) -> np.ndarray:
    def mel(f):
        return 2595 * np.log10(1 + f / 700)

    edges = np.linspace(0, mel(rate / 2), MELS + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    found = np.zeros((size // 2 + 1, MELS))
    for k in range(size // 2 + 1):
        f = k * rate / size
        for m in range(MELS):
            low, middle, high = edges[m : m + 3]
            if low < f <= middle:
                found[k, m] = (f - low) / (middle - low)
            elif middle < f < high:
                found[k, m] = (high - f) / (high - middle)
    return found


def test_filters_are_triangles_of_equal_width_in_mel():
    size, _ = frame_sizes(RATE)
    np.testing.assert_allclose(mel_filters(RATE, size), triangles(RATE, size), atol=1e-12)


def test_spectrograms_are_those_of_scipy():
    x = np.random.default_rng(0).normal(size=(3, 1000))
    size, hop = frame_sizes(RATE)
    window = torch.hann_window(size).numpy()
    transform = signal.ShortTimeFFT(window, hop, RATE, fft_mode="onesided", scale_to=None)
    frames = np.stack([x[:, i : i + size] for i in range(0, 1000 - size + 1, hop)], 1)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    middle = transform.stft(x)[:, :, 2:-2]  # scipy also has frames that reach beyond the ends
    assert np.abs(np.abs(middle) ** 2).shape[1] == power.shape[2]
    expected = np.log(np.maximum(power @ triangles(RATE, size), 1e-6))
    np.testing.assert_allclose(LogMel(RATE)(torch.from_numpy(x)), expected, rtol=1e-6, atol=1e-8)


def test_a_tone_is_loudest_at_its_pitch():
    time = torch.arange(2000) / RATE
    size, _ = frame_sizes(RATE)
    peaks = []
    for pitch in (300, 1000, 3000):
        loudest = LogMel(RATE)(torch.sin(2 * torch.pi * pitch * time)[None]).mean((0, 1)).argmax()
        filters = mel_filters(RATE, size)
        peaks.append(abs(float(filters[:, loudest].argmax()) * RATE / size - pitch))
    assert max(peaks) <= 160


@pytest.mark.parametrize("inner", ["transformer", "cnn"])
def test_padding_has_no_influence(inner):
    encoder = AudioEncoder(inner, TINY)
    x = torch.randn(3, 1200, 1)
    real = torch.arange(1200) < torch.tensor([1200, 640, 210])[:, None]
    noisy = torch.where(real[:, :, None], x, 100 * torch.randn(3, 1200, 1))
    torch.testing.assert_close(encoder(noisy, real), encoder(x * real[:, :, None], real))
    assert not torch.allclose(encoder(x, real), encoder(x), atol=1e-4)


def test_spectrograms_are_those_of_float32_whatever_training_multiplies_in():
    """A loud low tone and a quiet high one: to bfloat16 the quiet one would be noise."""
    radians = 2 * torch.pi * torch.arange(1600) / RATE
    wave = ((300 * radians).sin() + 1e-3 * (3000 * radians).sin()).float()[None]
    front = LogMel(RATE).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = front(wave)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, front(wave))
