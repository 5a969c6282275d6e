"""Two views of scanned digits in one Lightning module: λ pulls the two of a row together."""

import argparse

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader, TensorDataset


class Digits(LightningModule):
    def __init__(self, lam):
        super().__init__()
        self.lam = lam
        self.shapes = nn.Sequential(nn.Linear(76, 32), nn.ReLU(), nn.Linear(32, 16))
        self.components = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 10)

    def training_step(self, batch, number):
        shapes, components = self.shapes(batch[0]), self.components(batch[1])
        loss = cross_entropy(self.head(shapes), batch[2])
        if self.lam > 0:
            similarities = normalize(shapes, dim=1) @ normalize(components, dim=1).T
            loss = loss + self.lam * cross_entropy(similarities / 0.1, torch.arange(len(shapes)))
        return loss

    def validation_step(self, batch, number):
        correct = self.head(self.shapes(batch[0])).argmax(1) == batch[2]
        self.log("accuracy", correct.float().mean())

    def test_step(self, batch, number):
        correct = self.head(self.shapes(batch[0])).argmax(1) == batch[2]
        self.log("test_accuracy", correct.float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def read(path):
    with np.load(path) as file:
        arrays = [torch.tensor(file[name]) for name in ("fou", "kar", "y")]
        split = torch.tensor(file["few_split"])
    arrays[1] = arrays[1] / 8  # as large as the others are
    return [TensorDataset(*(array[split == part] for array in arrays)) for part in range(3)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--lam", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    seed_everything(args.seed)
    train, validation, test = read(args.data)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Digits(args.lam)
    trainer.fit(module, DataLoader(train, 50, shuffle=True), DataLoader(validation, 100))
    trainer.test(module, DataLoader(test, 100))


if __name__ == "__main__":
    main()
