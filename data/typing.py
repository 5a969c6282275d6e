"""What arrays hold. Their shapes stand where they are used."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]
Ints = NDArray[np.int64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]
Splits = NDArray[np.int8]  # values of `tuner.data.Split`
Arrays = dict[str, Array]
