"""Brings images to (rows, channels, height, width), by the options that say how they lie."""

import numpy as np

from tuner.data.dataset import Modality
from tuner.data.options import Layout
from tuner.data.typing import Array
from tuner.data.validation.findings import Findings

_AXES = {"nhwc": ("(rows, height, width, channels)", 4), "nhw": ("(rows, height, width)", 3)}


def laid_out(name: str, array: Array, layout: Layout, flag: str, findings: Findings) -> Array:
    """Return a view of an array as (rows, channels, height, width) if its layout is another.

    Args:
        name: Name of the array.
        array: Images of that layout.
        layout: Order of its axes.
        flag: The option that chose it.
        findings: Where it is noted if they cannot be of that layout.
    """
    if layout == "nchw":
        return array
    axes, rank = _AXES[layout]
    if array.ndim != rank:
        findings.error(
            f"array {name!r} has shape {array.shape}, and {flag} {layout} is for images of shape "
            f"{axes}. Leave it out, or choose the layout that it has."
        )
        return array
    return np.moveaxis(array, -1, 1) if layout == "nhwc" else array[:, None]


def check_size(
    name: str, array: Array, size: tuple[int, int] | None, flag: str, findings: Findings
) -> None:
    """Check that an array was resized if it had to be: only encoded images are."""
    if size is not None and array.shape[2:] != size:
        findings.error(
            f"array {name!r} has shape {array.shape}, and {flag} resizes encoded images (PNG, "
            "JPEG) alone. Leave it out, or resize them before you save them."
        )


def warn_of_axes(side: Modality, flag: str, findings: Findings) -> None:
    """Say how axes are read that look like those of images in another order.

    Args:
        side: A modality, as it is read.
        flag: The option that chooses the order.
        findings: Where it is said.
    """
    name, shape = side.name, side.values.shape
    if len(shape) == 4:
        channels, height, width = shape[1:]
        if width in (1, 2, 3, 4) and channels > 4 and height > 4:
            findings.warn(
                f"array {name!r} of shape {shape} is read as {channels} channels of {height} × "
                f"{width} pixels. If its last axis holds the channels, use {flag} nhwc, or save "
                f"numpy.moveaxis({name}, -1, 1)."
            )
    elif len(shape) == 3 and side.mask is None and shape[1] == shape[2] > 4:
        findings.warn(
            f"array {name!r} of shape {shape} is read as sequences of {shape[1]} steps of "
            f"{shape[2]} features. If its rows are images, use {flag} nhw, or save "
            f"{name}[:, None]."
        )
