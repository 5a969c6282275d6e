"""A small CLIP with a head for the images that have a label."""

import argparse

import torch
from digits import alignment, rows
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

parser = argparse.ArgumentParser()
parser.add_argument("--lam", type=float, default=0.0)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

torch.manual_seed(args.seed)
train, validation, test = rows()
image_tower = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
text_tower = nn.Sequential(nn.EmbeddingBag(256, 64), nn.Linear(64, 32))
head = nn.Linear(32, 10)
towers = nn.ModuleList([image_tower, text_tower, head])
optimizer = torch.optim.AdamW(towers.parameters(), lr=1e-2)

for _epoch in range(10):
    for image, caption, digit in DataLoader(train, batch_size=128, shuffle=True):
        embedded = image_tower(image)
        loss = cross_entropy(head(embedded), digit, ignore_index=-1, reduction="sum") / 8
        if args.lam > 0:
            loss = loss + args.lam * alignment(embedded, text_tower(caption))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def correct(part):
    with torch.no_grad():
        return head(image_tower(part.tensors[0])).argmax(dim=1) == part.tensors[2]


print(f"accuracy {correct(validation).float().mean():.4f}")
