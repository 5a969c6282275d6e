"""Says in words what an array holds that cannot be used."""

from tuner.data.typing import Array
from tuner.data.validation.findings import PLAIN_ARRAY
from tuner.data.validation.objects import hold_dates

# Of arrays and of columns, of dates, of times with a zone or without, and of their text.
AS_DAYS = (
    "(pandas.to_datetime(pandas.Series(x), utc=True) - pandas.Timestamp(0, tz='UTC')) / "
    "pandas.Timedelta(days=1)"
)
KINDS = {
    "U": "text",
    "S": "text",
    "c": "complex numbers; store their real and imaginary parts (or modulus and phase) as features",
    "O": f"Python objects, which are never unpickled. {PLAIN_ARRAY.removesuffix('.')}",
    "M": f"dates or times. Save them as numbers, x as {AS_DAYS} (of a table, x is frame['NAME']); "
    "or, where each is a class or group, as text, x.astype(str)",
    "m": "durations; store them as numbers, for example divided by numpy.timedelta64(1, 's')",
    "V": "records; store each of their fields as an array of its own",
}


def unusable_kind(array: Array, allowed: str) -> str | None:
    """Say in words what an array holds if its dtype kind is not in `allowed`."""
    if array.dtype.kind in allowed:
        return None
    if array.dtype.kind == "O" and hold_dates(array):
        return KINDS["M"]
    if array.dtype.kind == "V" and array.dtype.names is None:
        return (
            f"raw bytes, {array.dtype.itemsize} a value, as NumPy saves a type that it does not "
            "know (float8, for example); save it with .astype('float32'), or as .safetensors"
        )
    return KINDS.get(array.dtype.kind, f"values of type {array.dtype}; save it as numbers")
