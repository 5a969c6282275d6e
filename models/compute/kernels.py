"""The arithmetic that a step consists of, by the library that is fastest at it.

torch's products on a CPU are those of MKL, which uses half the width of the vector units where the
processor is not Intel's, and its exponential takes twice as long as NumPy's. NumPy's products are
those of OpenBLAS, which uses all of the width: see `make bench`. Neither keeps a graph.
"""

import numpy as np
import torch
from torch import Tensor

from tuner.models.compute.device import numpy_computes


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a·b of each replicate.

    Args:
        a: (replicates, rows, inner), floats.
        b: (replicates, inner, columns), of the same type on the same device.

    Returns:
        (replicates, rows, columns), in memory of its own.
    """
    if not numpy_computes(a.device):
        return torch.bmm(a.detach(), b.detach())
    out = a.new_empty(a.shape[0], a.shape[1], b.shape[2])
    with np.errstate(all="ignore"):  # a training that diverges says so itself
        np.matmul(a.detach().numpy(), b.detach().numpy(), out=out.numpy())
    return out


def exp_(values: Tensor) -> Tensor:
    """Exponentiate in place."""
    if not numpy_computes(values.device):
        return values.exp_()
    array = values.numpy()
    with np.errstate(all="ignore"):
        np.exp(array, out=array)
    return values
