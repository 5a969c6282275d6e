"""The reproduction, in its short form: it trains, writes and speaks."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks import spoken_digits
from tests.benchmarks.reproduce import (
    Finding,
    Size,
    came_out,
    gains_table,
    grown,
    moved,
    page,
    similarities_table,
)
from tuner.analysis.gains.gain import Gain

UP, FLAT, DOWN = (Gain(value=v, low=v - 0.1, high=v + 0.1) for v in (0.2, 0.0, -0.2))


@pytest.mark.parametrize(
    ("over_zero", "over_largest", "largest", "words"),
    [
        (UP, UP, FLAT, "interior optimum, better than both ends"),
        (UP, FLAT, UP, "rises"),
        (FLAT, UP, DOWN, "falls"),
        (DOWN, FLAT, DOWN, "falls"),
        (FLAT, FLAT, FLAT, "no detectable effect"),
    ],
)
def test_a_curve_is_named_by_its_intervals(over_zero, over_largest, largest, words):
    finding = Finding(
        experiment="x",
        world="R = 4",
        curve=pd.DataFrame(),
        candidates={"a": 0.5},
        over_zero={"a": over_zero},
        over_largest={"a": over_largest},
        largest={"a": largest},
        alike={},
    )
    assert finding.words("a") == words


def test_the_page_says_where_a_regime_came_out_and_where_not():
    lines = came_out(
        [
            ("few labels", "R = 8", "a", "rises"),
            ("few labels", "R = 8", "b", "falls"),
            ("few labels", "R = 4", "a", "rises"),
            ("few labels", "R = 0", "a", "falls"),
        ]
    )
    assert lines[0].endswith("came out in few labels, A. Did not in few labels, B.")
    assert lines[1].endswith("came out in no setting. Did not in few labels, A.")
    assert lines[2].endswith("came out in few labels, A.")


def finding(redundant: int, strength: float, alike: Gain = UP) -> Finding:
    return Finding(
        experiment="few labels",
        world=f"R = {redundant}",
        curve=pd.DataFrame(),
        candidates=dict.fromkeys("ab", strength),
        over_zero=dict.fromkeys("ab", UP),
        over_largest=dict.fromkeys("ab", FLAT),
        largest=dict.fromkeys("ab", DOWN),
        alike=dict.fromkeys(("cka", "svcca", "mutual_knn"), alike),
        beyond=dict.fromkeys(("cka", "svcca", "mutual_knn"), DOWN),
    )


def test_the_optimum_moves_where_the_chosen_strength_rises_with_redundancy():
    """Of the 120 orders of five one rises: p = .0083."""
    rising = gains_table([finding(r, 0.1 + r) for r in (0, 2, 4, 6, 8)])
    assert "it rises (τ = 1.00, p = 0.0083)" in moved(rising)[0]
    level = gains_table([finding(r, s) for r, s in zip((0, 2, 4), (1.0, 2.0, 0.5), strict=True)])
    assert "not shown (τ = -0.33" in moved(level)[1]
    assert moved(level)[0].endswith("A gain over λ = 0 is shown at R = 0, R = 2, R = 4.")


def test_similarities_are_told_plain_and_beyond_chance():
    table = similarities_table([finding(0, 1.0), finding(8, 1.0, alike=FLAT)])
    assert grown(table)[0] == (
        "- cka, of 2 worlds: plain, it rises in 1, falls in 0; beyond chance it rises in 0, "
        "falls in 2."
    )


@pytest.mark.slow
def test_the_page_derives_from_its_tables(tmp_path):
    findings = [finding(r, 0.1 + r) for r in (0, 4, 8)]
    for name, table in (("gains", gains_table), ("similarities", similarities_table)):
        table(findings).to_csv(tmp_path / f"{name}.csv", index=False)
    told = page(*(pd.read_csv(tmp_path / f"{n}.csv") for n in ("gains", "similarities")), Size())
    assert "| R = 4 | B | 4.1 | +0.200 [+0.100, +0.300] | +0.000 [" in told
    assert "- cka from λ = 0 to λ = 4 rises in R = 0, R = 4, R = 8; falls in none. Beyond" in told


@pytest.mark.integration
@pytest.mark.soak
def test_the_short_form_writes_tables_figures_and_a_page(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.reproduce", "--short", str(tmp_path)],
        check=True,
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    page = (tmp_path / "reproduction.md").read_text()
    experiments = [
        "synthetic-60-labels-projection-mlp",
        "synthetic-all-labels-projection-none",
        "mfeat",
        "audio-visual-digits",
    ]
    for name in experiments:
        assert f"]({name}.png)" in page
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        table = pd.read_csv(tmp_path / f"{name}.csv")
        assert set(table["modality"]) == {"a", "b"}
        assert table["lambda"].min() == 0
        assert table["lambda"].max() == 4
        assert table[["score", "cka", "svcca", "mutual_knn"]].notna().all(axis=None)
        assert table[["cka_calibrated", "svcca_p"]].notna().all(axis=None)
    assert page.count("| R = 8 | B |") == 2
    assert "- cka from λ = 0 to λ = 4 rises in" in page


def test_spoken_digits_are_what_they_say():
    first, again = (spoken_digits.spoken_digits(rows=200, labelled=40) for _ in range(2))
    assert first.fingerprint == again.fingerprint
    assert first.a.values.shape == (200, 1, 8, 8)
    assert first.b.values.shape == (200, spoken_digits.SAMPLES, 1)
    assert first.labelled[first.split == 0].sum() == 40
    assert first.labelled[first.split != 0].all()
    told = [spoken_digits._clip((digit, 0, 1, 1)) for digit in range(10)]
    lengths = [np.flatnonzero(clip)[-1] / spoken_digits.RATE for clip in told]
    assert all(0.15 < seconds <= 0.7 for seconds in lengths)
    for clip in told:
        sounding = clip[: np.flatnonzero(clip)[-1] + 1]
        assert np.mean(sounding**2) == pytest.approx(1, rel=1e-6)
    alike = np.corrcoef([np.abs(np.fft.rfft(clip)) for clip in told])
    assert alike[~np.eye(10, dtype=bool)].max() < 0.95
