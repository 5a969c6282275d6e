"""Are intervals right where rows come in groups? Simulated studies whose truth is planted.

Usage: python -m tests.benchmarks.groups [STUDIES]

Gains of predictions by 12 seeds, true gain 0 and .05, and profiles of labels that groups have by
chance: with rows taken for independent, and by group. The truth is that of the simulation, in
`tests/support/grouped.py`, which knows nothing of how intervals are made.
"""

import sys
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.support.grouped import gains, groups_by_chance
from tuner.data.information.profile import information_profile

GAIN = 0.05
CASES = {
    "no groups (750 of 1 row)": [1] * 750,
    "30 of 25": [25] * 30,
    "10 of 75": [75] * 10,
    "5 of 150": [150] * 5,
    "2 of 375": [375] * 2,
    "30 of 2 to 150": np.geomspace(2, 150, 30).astype(int).tolist(),
    "1 of 375, 15 of 25": [375] + [25] * 15,
}
SPREADS = (0.0, 0.06, 0.12)
PROFILES = ((20, 40), (40, 25), (100, 10))


def main() -> None:
    studies = int(sys.argv[1]) if sys.argv[1:] else 2000
    console = Console(width=120)
    console.print(intervals(studies))
    console.print(profiles(max(studies // 100, 2)))


def intervals(studies: int) -> Table:
    """How often intervals of a gain are wrong, and how wide they are."""
    table = Table(title=f"95 % intervals of a gain, {studies:,} studies a line: rows → groups")
    for heading in ("groups", "sd over groups", "above 0 at 0", "covers 0", "covers .05", "width"):
        table.add_column(heading)
    cells = [(name, spread) for name in CASES for spread in SPREADS]
    for name, spread in track(cells, console=Console(stderr=True)):
        group = np.repeat(np.arange(len(CASES[name])), CASES[name])
        nothing = gains(group, spread=spread, studies=studies, seed=1)
        true = gains(group, spread=spread, studies=studies, seed=2, gain=GAIN)
        measured = {
            by: (
                f"{np.mean([g.low > 0 for g in nothing[by]]):.1%}",
                f"{np.mean([g.low <= 0 <= g.high for g in nothing[by]]):.1%}",
                f"{np.mean([g.low <= GAIN <= g.high for g in true[by]]):.1%}",
                f"{np.mean([g.high - g.low for g in nothing[by]]):.3f}",
            )
            for by in ("rows", "groups")
        }
        both = zip(measured["rows"], measured["groups"], strict=True)
        table.add_row(name, f"{spread:.2f}", *(" → ".join(pair) for pair in both))
    return table


def profiles(worlds: int) -> Table:
    """How much of a label that groups have by chance is said to be shared; the truth is 0."""
    table = Table(title=f"R of a label that groups have by chance, bits, {worlds} worlds a line")
    for heading in ("groups", "R, rows → groups", "R surely above 0, rows → groups"):
        table.add_column(heading)
    for groups, rows in track(PROFILES, console=Console(stderr=True)):
        found = [[], []]
        for seed in range(worlds):
            world = groups_by_chance(groups, rows, seed)
            for by, dataset in enumerate((replace(world, group=None), world)):
                found[by].append(information_profile(dataset, seed=seed).R)
        values = (f"{np.mean([r.value for r in each]):.3f}" for each in found)
        sure = (f"{np.mean([r.low > 0 for r in each]):.0%}" for each in found)
        table.add_row(f"{groups} of {rows}", " → ".join(values), " → ".join(sure))
    return table


if __name__ == "__main__":
    main()
