"""A small CLIP: scanned digits and words for them. All have a caption, few have a label."""

import argparse

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import tuner

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTIONS = ("a {}", "the digit {}", "{}, written by hand", "scan of {} on a map")


class Images(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        convolutions = nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()
        self.tower = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(256, width))
        self.head = nn.Linear(width, 10)

    def forward(self, pixels):
        return self.tower(pixels)


class Texts(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.letters, self.tower = nn.Embedding(128, 16), nn.GRU(16, width, batch_first=True)

    def forward(self, letters):
        return self.tower(self.letters(letters))[1][0]


def info_nce(images, texts, temperature=0.1):
    similarities = normalize(images, dim=1) @ normalize(texts, dim=1).T / temperature
    own = torch.arange(len(similarities))
    return (cross_entropy(similarities, own) + cross_entropy(similarities.T, own)) / 2


def caption(digit, rng):
    text = CAPTIONS[rng.integers(len(CAPTIONS))].format(WORDS[digit])
    return list(text.ljust(24).encode())


def read(path):
    with np.load(path) as file:
        pixels = torch.tensor(file["pix"], dtype=torch.float32).reshape(-1, 1, 16, 15) / 6
        digits, labels, split = (
            file["y"],
            torch.tensor(file["few"]),
            torch.tensor(file["few_split"]),
        )
    rng = np.random.default_rng(0)  # captions are data: the same in each training
    return pixels, torch.tensor([caption(digit, rng) for digit in digits]), labels, split


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--lam", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    pixels, captions, labels, split = read(args.data)
    images, texts = Images(), Texts()
    optimizer = torch.optim.Adam([*images.parameters(), *texts.parameters()], lr=3e-3)
    train = torch.nonzero(split == 0)[:, 0]
    labelled = train[labels[train] >= 0]
    for _ in range(60):
        pairs = train[torch.randperm(len(train))[:128]]
        loss = cross_entropy(images.head(images(pixels[labelled])), labels[labelled])
        if args.lam > 0:
            loss = loss + args.lam * info_nce(images(pixels[pairs]), texts(captions[pairs]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        correct = images.head(images(pixels)).argmax(1) == labels
    tuner.report(acc=correct[split == 1])
    if tuner.current_trial().confirming:
        tuner.report_test(acc=correct[split == 2])
    print("validation", correct[split == 1].float().mean().item())


if __name__ == "__main__":
    main()
