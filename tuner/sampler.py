"""Which λs to try next: Optuna samplers over the warped space.

A proposal depends on the finished results alone: the sampler is made anew for every batch, seeded
by (study seed, batch), and shown the results in the order of λ. So neither the number of workers,
nor who finished first, nor a crash in between can change what is tried.
"""

from collections.abc import Sequence

import numpy as np

from tuner.space import LambdaSpace
from tuner.spec import Sampler


def first_batch(size: int, space: LambdaSpace) -> list[float]:
    """λ = 0 and λs evenly spread over the warped space, its end included."""
    return [space.to_lambda(u) for u in np.linspace(0, 1, size).tolist()]


def propose(
    sampler: Sampler,
    finished: Sequence[tuple[float, float]],
    count: int,
    space: LambdaSpace,
    *,
    seed: int,
    batch: int,
) -> list[float]:
    """Propose the λs of the next batch.

    Args:
        sampler: `gp`, `tpe` or `random`.
        finished: (λ, utility) of every finished trial; higher utility is better.
        count: How many to propose.
        space: The search space.
        seed: The study's seed.
        batch: Number of this batch.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    unit = optuna.distributions.FloatDistribution(0.0, 1.0)
    # A fresh in-memory study: nothing but `finished` can reach the sampler.
    study = optuna.create_study(
        direction="maximize", sampler=_sampler(sampler, _seed_of(seed, batch))
    )
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={"u": space.to_unit(strength)}, distributions={"u": unit}, value=utility
            )
            for strength, utility in sorted(finished)
        ]
    )
    asked = [study.ask({"u": unit}).params["u"] for _ in range(count)]
    return [space.to_lambda(u) for u in asked]


def _sampler(name: Sampler, seed: int):  # type: ignore[no-untyped-def]  # Optuna loads late
    from optuna import samplers

    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=2)
    if name == "tpe":
        return samplers.TPESampler(seed=seed, n_startup_trials=2)
    return samplers.RandomSampler(seed=seed)


def _seed_of(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
