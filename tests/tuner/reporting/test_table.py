"""The curve as a table: what was seen, and what its model makes of that."""

import io

import pandas as pd
import pytest

from tuner.analysis.curves.modelled import modelled_curve
from tuner.reporting.table import curve_csv


def test_a_table_of_the_curve_has_it_beside_what_was_seen(classification):
    plain = classification.result
    model = modelled_curve(classification.study, classification.finished)
    told = plain.model_copy(update={"curve_model": model})
    table = pd.read_csv(io.StringIO(curve_csv(told)))
    seen = pd.read_csv(io.StringIO(curve_csv(plain)))
    assert list(table.columns) == [*seen.columns, "model_mean", "model_low", "model_high"]
    pd.testing.assert_frame_equal(table[seen.columns], seen)
    first = table[(table["lambda"] == 0) & (table["target"] == "a")].iloc[0]
    assert first["model_mean"] == pytest.approx(first["mean"], abs=1e-5)
    assert (table["model_low"] <= table["model_high"] + 1e-9).all()
