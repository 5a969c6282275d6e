"""A plain PyTorch loop: what someone would write who trains one encoder pair at a time."""

import time
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from tuner.models.config import TrainingConfig
from tuner.models.rows import TrainingData


def steps_per_second(data: TrainingData, config: TrainingConfig, *, seconds: float) -> float:
    """Train one model for about `seconds` on one thread and count its gradient steps."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoders = [
        _mlp((inputs[0], *[config.hidden] * config.depth, config.embedding))
        for inputs in data.shapes
    ]
    heads = [nn.Linear(config.embedding, data.outputs) for _ in encoders]
    width = config.projection_width
    projections = [_mlp((config.embedding, width, width)) for _ in encoders]
    modules = nn.ModuleList([*encoders, *heads, *projections])
    optimizer = torch.optim.AdamW(modules.parameters(), lr=config.learning_rate)
    inputs = [torch.from_numpy(data.train.a), torch.from_numpy(data.train.b)]
    y = torch.from_numpy(data.train.target)
    own = torch.arange(config.batch_size)
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for index in torch.randperm(len(y)).split(config.batch_size):
            if len(index) < config.batch_size:
                continue
            embeddings = [net(x[index]) for net, x in zip(encoders, inputs, strict=True)]
            task = sum(
                functional.cross_entropy(head(z), y[index])
                for head, z in zip(heads, embeddings, strict=True)
            )
            za, zb = (
                functional.normalize(project(z), dim=-1)
                for project, z in zip(projections, embeddings, strict=True)
            )
            similarity = za @ zb.T / config.temperature
            both = functional.cross_entropy(similarity, own) + functional.cross_entropy(
                similarity.T, own
            )
            optimizer.zero_grad()
            (task + both / 2).backward()
            optimizer.step()
            steps += 1
    return steps / (time.perf_counter() - started)


def _mlp(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
