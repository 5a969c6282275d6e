"""How many studies, faults and draws `make soak` takes: with SOAK=0.1 a tenth of them."""

import os

_SHARE = float(os.environ.get("SOAK", "1"))


def soaked(count: int) -> int:
    """Return that share of a number, but for one at least."""
    return max(1, round(_SHARE * count))
