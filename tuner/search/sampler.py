"""Which λs to try next: Optuna samplers over the warped space.

A proposal depends on the finished results alone: the sampler is made anew for every batch, seeded
by (study seed, batch), and shown the results in the order of λ. So neither the number of workers,
nor who finished first, nor a crash in between can change what is tried.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from tuner.models.outcome import TrainingOutcome
from tuner.search.batches import Batches
from tuner.search.phase import outcomes
from tuner.study.scoring.constraints import Constraint
from tuner.study.scoring.targets import SearchSpec, TargetScorer
from tuner.study.space import LambdaSpace
from tuner.study.spec import Sampler
from tuner.study.trial import FinishedTrial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = dict[str, float]
Focus = tuple[float, float] | None  # part of the warped unit interval; None for all of it

_APART = 1 / 32  # in u
_FOCUS = 2.0  # how much denser the first λs are where the best is expected


def first_strengths(count: int, spec: SearchSpec, focus: Focus = None) -> list[float]:
    """The λs that are tried before any result is known, λ = 0 first.

    Spread over the warped space, its end included, in an order in which every λ is as far as can
    be from those before it; `random` draws them all.

    Args:
        count: How many.
        spec: The study.
        focus: Part of the warped unit interval where they are twice as dense; None spreads
            them evenly, as `grid` always does.
    """
    if spec.sampler == "random":
        return [
            0.0,
            *propose_strengths("random", [], [], count - 1, spec.space, seed=(spec.seed, 0)),
        ]
    units = np.linspace(0, 1, count)
    if focus is not None and spec.sampler != "grid":
        edges = np.array([0.0, *focus, 1.0])
        weights = np.diff(edges) * (1, _FOCUS, 1)
        units = np.interp(units, np.append(0, weights.cumsum() / weights.sum()), edges)
    order = [0]
    while len(order) < count:
        distances = np.abs(units[:, None] - units[order]).min(axis=1)
        order.append(int(distances.round(9).argmax()))
    return [spec.space.to_lambda(u) for u in units[order].tolist()]


def strength_batches(
    spec: SearchSpec,
    validation: TargetScorer,
    focus: Callable[[], Focus],
    enough: Callable[[Sequence[FinishedTrial]], bool] = lambda _: False,
) -> Batches[float, FinishedTrial]:
    """Batches of λs: the first laid out, the others proposed from the trials that are finished.

    Args:
        spec: The study; of a `grid` all are laid out.
        validation: Scores validation rows: proposals go by the main target.
        focus: See `first_strengths`.
        enough: Whether trials leave nothing to search for.
    """

    def proposed(
        batch: int, results: Sequence[FinishedTrial], pending: Sequence[float], count: int
    ) -> list[float]:
        asked = propose_strengths(
            spec.sampler,
            [(o.strength, validation.utility(o)) for o in outcomes(results)],
            pending,
            count,
            spec.space,
            seed=(spec.seed, batch),
            violations=violations_of(spec.constraints, validation, outcomes(results)),
        )
        if spec.sampler == "random":
            return asked
        tried = [*(trial.request.strength for trial in results), *pending]
        return apart(asked, tried, spec.space)

    return Batches(
        total=spec.trials,
        size=spec.trials if spec.sampler == "grid" else spec.batch,
        first=lambda count: first_strengths(count, spec, focus()),
        propose=proposed,
        enough=enough,
    )


def propose_strengths(
    sampler: Sampler,
    finished: Sequence[tuple[float, float]],
    pending: Sequence[float],
    count: int,
    space: LambdaSpace,
    *,
    seed: tuple[int, ...],
    violations: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> list[float]:
    """Propose λs.

    Args:
        sampler: `gp`, `tpe` or `random`.
        finished: (λ, utility) of every finished trial; higher utility is better.
        pending: λs that are being tried, their utility not yet known.
        count: How many to propose.
        space: The search space.
        seed: What the sampler's randomness derives from.
        violations: By bound, of each finished trial by how much it violates it: 0 or less if it
            does not.
    """
    from optuna.distributions import FloatDistribution

    asked = propose(
        sampler,
        {"u": FloatDistribution(0.0, 1.0)},
        [({"u": space.to_unit(strength)}, utility) for strength, utility in finished],
        [{"u": space.to_unit(strength)} for strength in pending],
        count,
        seed=seed,
        violations=violations,
    )
    return [space.to_lambda(point["u"]) for point in asked]


def violations_of(
    constraints: Sequence[Constraint], validation: TargetScorer, trained: Sequence[TrainingOutcome]
) -> dict[str, list[float]]:
    """By how much each λ violates each bound, as `propose_strengths` takes it.

    Args:
        constraints: The bounds.
        validation: Scores validation rows.
        trained: What the search trained, λ = 0 among it.
    """
    found = {}
    for bound in constraints:
        sign = validation.sign(bound.target)
        utilities = {
            outcome.strength: sign * validation.scores(outcome.predictions, bound.target).mean()
            for outcome in trained
        }
        gains = [utilities[outcome.strength] - utilities[0.0] for outcome in trained]
        found[str(bound)] = [-bound.margin(float(gain), sign) for gain in gains]
    return found


def apart(asked: Sequence[float], tried: Sequence[float], space: LambdaSpace) -> list[float]:
    """Move what is asked for next to a λ that was tried into the wider gap beside it.

    Trained with the same seeds, a λ that is nearly another tells nothing that this did not. If both
    gaps are too narrow it goes into the widest of all; and stays if that is.
    """
    units = [float(space.to_unit(strength)) for strength in tried]
    for u in (float(space.to_unit(strength)) for strength in asked):
        ends = sorted({0.0, *units, 1.0})
        near = min(range(len(ends)), key=lambda at: abs(ends[at] - u))
        if abs(ends[near] - u) >= _APART:
            units.append(u)
            continue
        for gaps in (pairwise(ends[max(0, near - 1) : near + 2]), pairwise(ends)):
            low, high = max(gaps, key=lambda gap: gap[1] - gap[0])
            if high - low >= 2 * _APART:
                break
        units.append((low + high) / 2 if high - low >= 2 * _APART else u)
    return [float(space.to_lambda(u)) for u in units[len(tried) :]]


def propose(
    sampler: Sampler,
    space: Mapping[str, "BaseDistribution"],
    finished: Sequence[tuple[Params, float]],
    pending: Sequence[Params],
    count: int,
    *,
    seed: tuple[int, ...],
    violations: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> list[Params]:
    """Propose points of any space: see `propose_strengths`.

    On one thread: the model's matrices are small, and threads would but wait for each other.
    """
    import optuna
    from threadpoolctl import threadpool_limits

    if sampler == "gp":
        import torch  # noqa: F401  # of what is loaded, threads are limited
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if sampler == "random":  # it looks at nothing, and thousands of trials take a second to add
        finished, pending = [], []
    # A fresh in-memory study: nothing but `finished` can reach the sampler.
    study = optuna.create_study(direction="maximize", sampler=_sampler(sampler, _seed_of(*seed)))
    each = range(len(finished))
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=finished[n][0],
                distributions=dict(space),
                value=finished[n][1],
                constraints={bound: by_trial[n] for bound, by_trial in violations.items()},
            )
            for n in sorted(each, key=lambda n: _by_value(finished[n]))
        ]
    )
    with threadpool_limits(1):
        for params in pending:
            study.enqueue_trial(params)
            study.ask(dict(space))
        return [study.ask(dict(space)).params for _ in range(count)]


def _by_value(observed: tuple[Params, float]) -> tuple[tuple[float, ...], float]:
    params, utility = observed
    return tuple(params.values()), utility


def _sampler(name: Sampler, seed: int):  # type: ignore[no-untyped-def]  # Optuna loads late
    from optuna import samplers

    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=2)
    if name == "tpe":
        return samplers.TPESampler(seed=seed, n_startup_trials=2)
    return samplers.RandomSampler(seed=seed)


def _seed_of(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
