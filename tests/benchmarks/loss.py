"""Memory and time of the alignment loss with its gradients.

Usage: python -m tests.benchmarks.loss ROWS WIDTH

Prints a JSON object: seconds of a call, and MiB that the process took at most besides its inputs.
A process of its own for each size: what one took at most is never given back.
"""

import json
import resource
import sys
import time

import torch
from torch.nn import functional

from tuner.models.alignment import symmetric_info_nce
from tuner.models.compute.device import prepare_process

_LEAST = 0.5  # seconds that are measured


def main() -> None:
    rows, width = (int(word) for word in sys.argv[1:])
    prepare_process()
    generator = torch.Generator().manual_seed(0)
    a, b = (
        functional.normalize(torch.randn(1, rows, width, generator=generator), dim=-1)
        for _ in range(2)
    )
    before = _peak()
    took = []
    while sum(took) < _LEAST:
        started = time.perf_counter()
        sides = [side.detach().requires_grad_() for side in (a, b)]
        symmetric_info_nce(*sides, temperature=0.1).sum().backward()
        took.append(time.perf_counter() - started)
    json.dump({"seconds": min(took), "mib": _peak() - before}, sys.stdout)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
