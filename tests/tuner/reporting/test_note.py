"""The description of a run in MLflow's pages: Markdown that no name can break."""

import pytest

from tests.support.hostile import hostile
from tuner.reporting.note import failure_note, load_lines, result_note, running_note


def test_the_note_keeps_names_out_of_markup(classification):
    note = result_note(hostile(classification).result)
    assert "<script>" not in note
    assert "](#/models/x-a/versions/3), alias `champion`" in note


def test_every_row_of_its_table_has_as_many_cells(classification):
    lines = result_note(classification.result).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 5  # heading, rule, A, B and both
    assert {line.count("|") for line in table} == {7}


def test_without_models_none_are_listed(classification):
    assert "Best encoders" not in result_note(classification.result)


@pytest.mark.parametrize("write", [running_note, lambda name: failure_note("x", name)])
def test_what_users_write_is_text(write):
    assert "a &lt;b&gt; \\| c" in write("a <b> | c")


def test_a_uri_with_a_password_stays_out_of_the_code():
    assert load_lines("m", "3", "sqlite:///x.db").splitlines()[:3] == [
        "import mlflow",
        "mlflow.set_tracking_uri('sqlite:///x.db')",
        "encoder = mlflow.pyfunc.load_model('models:/m/3')",
    ]
    for uri in (None, "postgresql://me:***@host/x"):
        assert "set_tracking_uri" not in load_lines("m", "3", uri)
