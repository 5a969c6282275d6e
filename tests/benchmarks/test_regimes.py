"""The search for a setting: its margins on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks import regimes
from tuner.data.synthetic import WorldConfig
from tuner.models.config import TrainingConfig


def table(scores: dict[int, list[float]], *, worlds=(0, 1), name="x", alike: float = 0.1):
    """Both modalities of every world have these scores, by R, at the four λs."""
    return pd.DataFrame(
        {
            "setting": name,
            "R": r,
            "world": world,
            "lambda": strength,
            "modality": modality,
            "validation": score,
            "test": score + 0.01 * world,
            **dict.fromkeys(regimes.ALIKE, alike * strength),
        }
        for r, values in scores.items()
        for world in worlds
        for modality in "ab"
        for strength, score in zip(regimes.LAMBDAS, values, strict=True)
    )


PAPER = {0: [0.5, 0.4, 0.3, 0.2], 4: [0.5, 0.6, 0.55, 0.45], 8: [0.5, 0.52, 0.54, 0.56]}


def test_every_claim_holds_where_curves_are_those_of_the_paper():
    margins = regimes.margins(table(PAPER))
    expected = {
        regimes.HELPS: 0.06,
        regimes.RISES: 0.06,
        regimes.INTERIOR: 0.1,
        regimes.FALLS: 0.3,
        regimes.TILTS: 0.36,
        regimes.MOVES: 1.0,
        **dict.fromkeys(regimes.ALIKE.values(), 0.4),
    }
    assert margins.keys() == expected.keys()
    for claim, margin in margins.items():
        assert margin.tolist() == pytest.approx([expected[claim]] * 2)


def test_claims_fail_where_alignment_only_harms():
    falling = {r: [0.5, 0.4, 0.3, 0.2] for r in (0, 4, 8)}
    margins = {k: v.mean() for k, v in regimes.margins(table(falling, alike=-0.1)).items()}
    assert margins[regimes.HELPS] == pytest.approx(-0.1)
    assert margins[regimes.INTERIOR] == pytest.approx(-0.1)
    assert (margins[regimes.TILTS], margins[regimes.MOVES]) == (0, 0)
    assert all(margins[claim] == pytest.approx(-0.4) for claim in regimes.ALIKE.values())


@pytest.mark.slow
def test_the_nearest_setting_is_that_where_claims_hold_by_most_in_the_worlds_of_the_search():
    names = [setting.name for setting in regimes.SETTINGS]
    flat = {r: [0.5] * 4 for r in (0, 4, 8)}
    worlds = [table(PAPER if name == names[3] else flat, name=name) for name in names]
    fresh = table(PAPER, name=names[1], worlds=regimes.FRESH)
    assert regimes.nearest(pd.concat([*worlds, fresh])).name == names[3]


def test_a_claim_is_told_with_its_interval_over_fresh_worlds():
    lines = regimes.page(pd.concat([table(PAPER), table(PAPER, worlds=regimes.FRESH)])).splitlines()
    assert "| x | +0.060 | +0.060 | +0.100 |" in "\n".join(lines)
    told = next(line for line in lines if line.startswith(f"- **{regimes.RISES}"))
    assert "in 1 of 1 settings" in told
    assert told.endswith("On fresh worlds it holds, +0.060 [+0.060, +0.060], with *x*.")


def test_every_setting_is_one():
    assert len({setting.name for setting in regimes.SETTINGS}) == len(regimes.SETTINGS)
    for setting in regimes.SETTINGS:
        WorldConfig(**regimes.WORLD | setting.world)
        TrainingConfig.model_validate(regimes.TRAINING.model_dump() | setting.training)


@pytest.mark.integration
def test_a_world_is_measured_at_every_strength():
    small = {"hidden": 8, "embedding": 4, "epochs": 2, "patience": 2}
    setting = regimes.Setting(name="small", world={"rows": 400}, training=small)
    measured = pd.DataFrame(regimes.measured(setting, 4, 0))
    assert sorted(measured["lambda"].unique()) == list(regimes.LAMBDAS)
    assert np.isfinite(measured[["validation", "test", *regimes.ALIKE]]).all(axis=None)
