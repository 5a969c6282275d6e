"""A Lightning module of the same towers."""

import argparse
import logging
import warnings

import torch
from digits import alignment, rows
from pytorch_lightning import LightningModule, Trainer, seed_everything
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Towers(LightningModule):
    def __init__(self, lam):
        super().__init__()
        self.lam = lam
        self.image = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
        self.text = nn.Sequential(nn.EmbeddingBag(256, 64), nn.Linear(64, 32))
        self.head = nn.Linear(32, 10)

    def training_step(self, batch, number):
        image, caption, digit = batch
        embedded = self.image(image)
        loss = cross_entropy(self.head(embedded), digit, ignore_index=-1, reduction="sum") / 8
        if self.lam > 0:
            loss = loss + self.lam * alignment(embedded, self.text(caption))
        return loss

    def validation_step(self, batch, number):
        image, _caption, digit = batch
        correct = self.head(self.image(image)).argmax(dim=1) == digit
        self.log("accuracy", correct.float().mean())

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


parser = argparse.ArgumentParser()
parser.add_argument("--lam", type=float, default=0.0)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

seed_everything(args.seed, verbose=False)
train, validation, test = rows()
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
trainer = Trainer(max_epochs=10, accelerator="cpu", enable_model_summary=False, **quiet)
trainer.fit(
    module := Towers(args.lam),
    DataLoader(train, batch_size=128, shuffle=True),
    DataLoader(validation, batch_size=400),
)
print(f"accuracy {trainer.callback_metrics['accuracy']:.4f}")
trainer.test(module, DataLoader(test, batch_size=400), verbose=False)
