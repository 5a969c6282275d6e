"""The report of training code: what was saved, and code that fetches it."""

import numpy as np
import pytest

from tests.support.scripted import answer, reporting
from tuner.reporting.scripts import write_script_report
from tuner.study.answer import RegisteredModel
from tuner.study.scripts.spec import ScriptSpec

pytestmark = pytest.mark.slow  # figures are drawn


def test_what_was_saved_is_shown_with_how_to_have_it(tmp_path):
    result, _ = answer(ScriptSpec(), reporting(lambda strength: 0.6 + 0.01 * np.sqrt(strength)))
    assert "The model" not in write_script_report(result, tmp_path).read_text()
    saved = result.model_copy(update={"saved": "/x/<b>"})
    page = write_script_report(saved, tmp_path).read_text()
    assert "/x/&lt;b&gt;" in page
    assert "download_artifacts" not in page
    model = RegisteredModel(name="clip", version="7", alias=None)
    page = write_script_report(saved.model_copy(update={"model": model}), tmp_path).read_text()
    assert "mlflow.artifacts.download_artifacts(&#39;models:/clip/7&#39;)" in page
