"""Images of handwritten digits, each with a caption; few of them have a label."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import TensorDataset

LABELLED = 40  # of the images to train on
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PHRASES = ("a photo of {}", "the digit {}", "{}, written by hand")


def rows() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Training, validation and test rows: image (64,), bytes of its caption (24,), digit or -1."""
    digits, rng = load_digits(), np.random.default_rng(0)
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    told = [str(rng.choice(_PHRASES)).format(_WORDS[digit]) for digit in digits.target]
    captions = torch.tensor([list(caption.encode().ljust(24)) for caption in told])
    target = torch.tensor(digits.target)
    parts = torch.tensor(rng.permutation(len(target))).split([797, 400, 600])
    labels = target.clone()
    labels[parts[0][LABELLED:]] = -1
    train, validation, test = (
        TensorDataset(images[part], captions[part], labels[part]) for part in parts
    )
    return train, validation, test


def alignment(image: Tensor, text: Tensor, temperature: float = 0.1) -> Tensor:
    """Symmetric InfoNCE of paired embeddings (rows, dimensions)."""
    image, text = (torch.nn.functional.normalize(each, dim=-1) for each in (image, text))
    logits = image @ text.T / temperature
    own = torch.arange(len(logits))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
