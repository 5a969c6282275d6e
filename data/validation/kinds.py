"""Says in words what an array holds that cannot be used."""

from tuner.data.typing import Array
from tuner.data.validation.findings import PLAIN_ARRAY

_KINDS = {
    "U": "text",
    "S": "text",
    "c": "complex numbers; store their real and imaginary parts (or modulus and phase) as features",
    "O": f"Python objects, which are never unpickled. {PLAIN_ARRAY.removesuffix('.')}",
    "M": "dates; store them as numbers, for example with .astype('datetime64[s]').astype(float)",
    "m": "durations; store them as numbers, for example divided by numpy.timedelta64(1, 's')",
    "V": "records; store each of their fields as an array of its own",
}


def unusable_kind(array: Array, allowed: str) -> str | None:
    """Say in words what an array holds if its dtype kind is not in `allowed`."""
    if array.dtype.kind in allowed:
        return None
    if array.dtype.kind == "V" and array.dtype.names is None:
        return (
            f"raw bytes, {array.dtype.itemsize} a value, as NumPy saves a type that it does not "
            "know (float8, for example); save it with .astype('float32'), or as .safetensors"
        )
    return _KINDS.get(array.dtype.kind, f"values of type {array.dtype}; save it as numbers")
