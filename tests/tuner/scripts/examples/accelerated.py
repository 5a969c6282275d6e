"""Two views of scanned digits in a loop of `accelerate`: λ pulls the two of a row together."""

import argparse

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader, TensorDataset


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.shapes = nn.Sequential(nn.Linear(76, 32), nn.ReLU(), nn.Linear(32, 16))
        self.components = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 10)

    def forward(self, shapes, components):
        shapes, components = self.shapes(shapes), self.components(components)
        return self.head(shapes), normalize(shapes, dim=1), normalize(components, dim=1)


def read(path):
    with np.load(path) as file:
        arrays = [torch.tensor(file[name]) for name in ("fou", "kar", "y")]
        split = torch.tensor(file["few_split"])
    arrays[1] = arrays[1] / 8  # as large as the others are
    return [TensorDataset(*(array[split == part] for array in arrays)) for part in range(3)]


def evaluate(accelerator, model, loader):
    """Which rows are right, in the order of the data set."""
    correct = []
    with torch.no_grad():
        for shapes, components, digits in loader:
            right = model(shapes, components)[0].argmax(1) == digits
            correct.append(accelerator.gather_for_metrics(right))
    return torch.cat(correct)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--lam", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    set_seed(args.seed)
    accelerator = Accelerator(cpu=True)
    train, validation, test = read(args.data)
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model, optimizer, batches, validation, test = accelerator.prepare(
        model,
        optimizer,
        DataLoader(train, 50, shuffle=True),
        DataLoader(validation, 100),
        DataLoader(test, 100),
    )
    for _ in range(3):
        for shapes, components, digits in batches:
            logits, a, b = model(shapes, components)
            loss = cross_entropy(logits, digits)
            if args.lam > 0:
                loss = loss + args.lam * cross_entropy(a @ b.T / 0.1, torch.arange(len(a)))
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
    correct = evaluate(accelerator, model, validation)
    accelerator.print("validation", correct.float().mean().item())


if __name__ == "__main__":
    main()
