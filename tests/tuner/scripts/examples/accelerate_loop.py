"""A loop of one's own, started by `accelerate launch`."""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from digits import alignment, rows
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

parser = argparse.ArgumentParser()
parser.add_argument("--lam", type=float, default=0.0)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
        self.text = nn.Sequential(nn.EmbeddingBag(256, 64), nn.Linear(64, 32))
        self.head = nn.Linear(32, 10)

    def forward(self, image, caption):
        embedded = self.image(image)
        return self.head(embedded), embedded, self.text(caption)


set_seed(args.seed)
train, validation, test = rows()
accelerator = Accelerator(cpu=True)
model = Towers()
loader, model, optimizer = accelerator.prepare(
    DataLoader(train, batch_size=128, shuffle=True),
    model,
    torch.optim.AdamW(model.parameters(), lr=1e-2),
)
for _epoch in range(10):
    for image, caption, digit in loader:
        logits, embedded, text = model(image, caption)
        loss = cross_entropy(logits, digit, ignore_index=-1, reduction="sum") / 8
        if args.lam > 0:
            loss = loss + args.lam * alignment(embedded, text)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()


def correct(part):
    told = []
    for image, caption, digit in accelerator.prepare(DataLoader(part, batch_size=200)):
        with torch.no_grad():
            right = model(image, caption)[0].argmax(dim=1) == digit
        told.append(accelerator.gather_for_metrics(right))
    return torch.cat(told)


accelerator.print(f"accuracy {correct(validation).float().mean():.4f}")
