"""Does the interval of a gain hold, whatever seeds and rows contribute? And how narrow is it?

Usage: python -m tests.benchmarks.crossed [REPEATS]

Gains of nothing by 2, 3 and 12 seeds on 300 test rows, or on as many rows of 30 groups, in five
mixtures of what differs between seeds, between rows, and between both together.
"""

import sys

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.support.crossed import MIXTURES, counted_twice, gains

GROUPS = {"300 rows": np.arange(300), "30 groups of 10": np.repeat(np.arange(30), 10)}


def main() -> None:
    repeats = int(sys.argv[1]) if sys.argv[1:] else 4000
    table = Table(title=f"95 % intervals of a gain of nothing, {repeats:,} repeats a line")
    for heading in (
        "rows",
        "seeds",
        "what differs",
        "covers 0",
        "above 0",
        "width / counted twice",
    ):
        table.add_column(heading)
    cells = [(of, seeds, mix) for of in GROUPS for seeds in (2, 3, 12) for mix in MIXTURES]
    for of, seeds, mix in track(cells, console=Console(stderr=True)):
        rng = np.random.default_rng([1, seeds])
        found = list(gains(rng, mix, seeds, GROUPS[of], repeats))
        covered = np.mean([gain.low <= 0 <= gain.high for gain, _ in found])
        above = np.mean([gain.low > 0 for gain, _ in found])
        width = np.mean([v.half_width for _, v in found])
        before = np.mean([counted_twice(v) for _, v in found])
        cells_of = (f"{covered:.1%}", f"{above:.1%}", f"{width / before:.2f}")
        table.add_row(of, str(seeds), mix, *cells_of)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
