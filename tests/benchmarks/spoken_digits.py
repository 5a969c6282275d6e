"""Audio-visual digits, made here: a stand-in for AV-MNIST.

Images are the 1,797 handwritten digits that ship with scikit-learn (8 × 8 pixels; UCI, Alpaydin and
Kaynak). The sound of each is its digit spoken by espeak-ng: in one of twelve voices, at one of
three speeds and pitches, in white noise at one of three levels.
"""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from scipy.signal import resample_poly

from tuner.data import PairedDataset, from_arrays

RATE = 8000  # samples a second
SAMPLES = 5600  # the longest that is kept
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOICES = (*(f"en+m{n}" for n in range(1, 8)), *(f"en+f{n}" for n in range(1, 6)))
SPEEDS = (150, 175, 210)  # words a minute
PITCHES = (35, 50, 65)
NOISES = (10.0, 0.0, -6.0)  # signal to noise, dB


def available() -> bool:
    """Whether espeak-ng is installed."""
    return shutil.which("espeak-ng") is not None


def spoken_digits(
    *, rows: int | None = None, labelled: int | None = None, seed: int = 0
) -> PairedDataset:
    """Pair every image with a sound of its digit.

    Args:
        rows: How many pairs; None for all 1,797.
        labelled: Training pairs that keep their label; None for all.
        seed: Of voices, noises and the split.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits.target))[:rows]
    y = digits.target[order]
    spoken = [
        (int(digit), *(int(rng.integers(len(c))) for c in (VOICES, SPEEDS, PITCHES))) for digit in y
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(_clip, sorted(set(spoken))))
    noise = rng.normal(size=(len(y), SAMPLES))
    levels = 10 ** (-rng.choice(NOISES, len(y)) / 20)
    sounds = np.stack([_clip(each) for each in spoken]) + levels[:, None] * noise
    split = np.repeat([0, 1, 2], [len(y) - 2 * (len(y) // 4), len(y) // 4, len(y) // 4])
    if labelled is not None:
        y = y.copy()
        y[labelled : (split == 0).sum()] = -1
    return from_arrays(
        {
            "a": digits.images[order, None].astype(np.float32),
            "b": sounds[:, :, None].astype(np.float32),
            "y": y,
            "split": split.astype(np.int8),
        },
        name="spoken-digits",
        seed=seed,
    )


@cache
def _clip(spoken: tuple[int, int, int, int]) -> np.ndarray:
    """One digit as espeak-ng says it: (SAMPLES,), of unit power where it sounds."""
    digit, voice, speed, pitch = spoken
    command = ["espeak-ng", "--stdout", "-v", VOICES[voice], "-s", str(SPEEDS[speed])]
    command += ["-p", str(PITCHES[pitch]), WORDS[digit]]
    said = subprocess.run(command, check=True, capture_output=True).stdout
    rate = int.from_bytes(said[24:28], "little")  # of a WAV whose length is not known yet
    wave = resample_poly(np.frombuffer(said[44:], np.int16).astype(np.float64), RATE, rate)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1][:SAMPLES]
    wave /= np.sqrt(np.mean(wave**2))
    return np.pad(wave, (0, SAMPLES - len(wave)))
