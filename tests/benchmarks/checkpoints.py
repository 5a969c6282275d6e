"""Does a gain depend on which epoch's weights are kept? Planted worlds, tested on fresh rows.

Usage: python -m tests.benchmarks.checkpoints [WORLDS]

In each world 150 of 2,000 pairs have a label. λ = 0 and λ = 1.5 are trained with the default
settings and twelve seeds, and tested by the weights of the least validation loss, by those of the
best validation accuracy, and by those that are better for λ = 0 by its validation rows, which is
what a study does. The gain of λ = 1.5 over λ = 0 is that of both encoders, over worlds.
"""

import sys

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tuner.analysis.epochs.checkpoints import baseline_scores, best_rules
from tuner.analysis.gains.gain import measured_gain
from tuner.data.synthetic import WorldConfig, make_world
from tuner.models.compute.device import prepare_process
from tuner.models.training.loop import train
from tuner.study.spec import StudySpec
from tuner.study.study import Study

STRENGTH, SEEDS = 1.5, range(12)
WORLDS = {
    "all features shared (R = 8)": WorldConfig(
        redundant=8, rows=2000, labelled=150, temperature=0.3
    ),
    "half of them (R = 4)": WorldConfig(redundant=4, rows=2000, labelled=150, temperature=0.3),
    "the label is chance": WorldConfig(
        redundant=8, rows=2000, labelled=150, temperature=0.3, label_noise=1.0
    ),
}
RULES = ("loss", "accuracy", "best for λ = 0")


def tested(config: WorldConfig, seed: int) -> tuple[dict[str, float], dict[str, bool], float]:
    """By each rule the joint gain and whether its interval lies above 0; how often accuracy won."""
    study = Study.of(StudySpec(seed=seed), make_world(config, seed=seed).dataset)
    baseline, treated = (
        train(study.data, study.training, strength=s, seeds=SEEDS, test=study.test_rows)
        for s in (0.0, STRENGTH)
    )
    best = best_rules(baseline_scores(study.validation, baseline), sign=1)
    chosen = {rule: dict.fromkeys("ab", rule) for rule in RULES[:2]} | {RULES[2]: best}
    gains = {}
    for rule, kept in chosen.items():
        ours, theirs = (o.kept_by(kept).test_predictions for o in (treated, baseline))
        gains[rule] = measured_gain(study.test, ours, theirs, "joint")
    won = float(np.mean([rule == "accuracy" for rule in best.values()]))
    return (
        {rule: gain.value for rule, gain in gains.items()},
        {rule: gain.low > 0 for rule, gain in gains.items()},
        won,
    )


def main() -> None:
    prepare_process()
    worlds = int(sys.argv[1]) if sys.argv[1:] else 20
    table = Table(title=f"Gain of λ = {STRENGTH} in accuracy, {worlds} worlds a line")
    for heading in ("world", *RULES, "intervals above 0", "accuracy is better for λ = 0"):
        table.add_column(heading)
    console = Console(stderr=True)
    for name, config in WORLDS.items():
        found = [tested(config, seed) for seed in track(range(worlds), name, console=console)]
        gains = {rule: np.array([gain[rule] for gain, _, _ in found]) for rule in RULES}
        above = [f"{np.mean([low[rule] for _, low, _ in found]):.0%}" for rule in RULES]
        table.add_row(
            name,
            *(
                f"{values.mean():+.4f} ± {2 * values.std(ddof=1) / np.sqrt(worlds):.4f}"
                for values in gains.values()
            ),
            ", ".join(above),
            f"{np.mean([won for _, _, won in found]):.0%}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
