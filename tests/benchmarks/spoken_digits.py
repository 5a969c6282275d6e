"""Audio-visual digits, made here: a stand-in for AV-MNIST.

Images are the 1,797 handwritten digits that ship with scikit-learn (8 × 8 pixels; UCI, Alpaydin and
Kaynak). The sound of each is its digit spoken by espeak-ng, whose library the package
espeakng-loader carries: in one of twelve voices, at one of three speeds and pitches, in white
noise at one of three levels.
"""

import ctypes
from functools import cache

import espeakng_loader
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

# Of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _UTF8, _RATE, _PITCH = 2, 1, 1, 3
_HEAR = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


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
    samples, rate = _speak(WORDS[digit], VOICES[voice], SPEEDS[speed], PITCHES[pitch])
    wave = resample_poly(samples.astype(np.float64), RATE, rate)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1][:SAMPLES]
    wave /= np.sqrt(np.mean(wave**2))
    return np.pad(wave, (0, SAMPLES - len(wave)))


@cache
def _library() -> tuple[ctypes.CDLL, int]:
    """espeak-ng, which has one state for the whole process, and its samples a second."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    return library, rate


def _speak(word: str, voice: str, speed: int, pitch: int) -> tuple[np.ndarray, int]:
    """A word as int16 samples, and how many of them are a second."""
    library, rate = _library()
    pieces = []

    @_HEAR
    def hear(wave, count, _):
        if wave and count:
            pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(hear)
    text = word.encode() + b"\0"
    library.espeak_SetParameter(_RATE, speed, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    failed = library.espeak_SetVoiceByName(voice.encode())
    failed |= library.espeak_Synth(text, len(text), 0, 1, 0, _UTF8, None, None)
    if failed:
        raise RuntimeError(f"espeak-ng cannot say {word!r} with the voice {voice}: code {failed}")
    return np.concatenate(pieces), rate
