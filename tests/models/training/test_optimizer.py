"""AdamW over a stack, against torch's optimizer of each replicate."""

import torch
from torch import nn

from tuner.models.training.optimizer import StackedAdamW


def parameters(values):
    return [nn.Parameter(value.clone()) for value in values]


def test_every_replicate_moves_as_it_would_alone_whoever_leaves():
    generator = torch.Generator().manual_seed(0)

    def draw():
        return [
            torch.randn(3, *s, generator=generator, dtype=torch.float64) for s in [(4, 2), (5,)]
        ]

    start, idle = draw(), torch.ones(3, 2)
    stacked = [*parameters(start), nn.Parameter(idle.clone())]
    ours = StackedAdamW(stacked, learning_rate=0.1, weight_decay=0.3)
    alone = [parameters([value[k] for value in start]) for k in range(3)]
    theirs = [torch.optim.AdamW(each, lr=0.1, weight_decay=0.3) for each in alone]
    staying = [0, 1, 2]
    for step in range(12):
        if step == 5:  # the one in the middle leaves
            ours.select(torch.tensor([True, False, True]))
            staying = [0, 2]
        if step == 8:  # and a crash comes between
            kept = ours.state_dict()
            ours = StackedAdamW(stacked, learning_rate=0.1, weight_decay=0.3)
            ours.load_state_dict(kept)
        for place, grad in enumerate(draw()):
            stacked[place].grad = grad[staying]
            for k in staying:
                alone[k][place].grad = grad[k]
        ours.step()
        assert all(one.grad is None for one in stacked)
        for k in staying:
            theirs[k].step()
        for place in range(2):
            expected = torch.stack([alone[k][place] for k in staying])
            torch.testing.assert_close(stacked[place].data, expected.data, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(stacked[2].data, idle[staying])  # no gradient: no decay either
