from dataclasses import replace

from tests.benchmarks.many import _shown
from tests.tuner.storage.test_studies import trial
from tuner.tracking.optuna_study import OptunaCopy


def test_a_simulated_study_can_be_copied_for_optuna(tmp_path):
    """What stands for a study has all that a copy of its first trials looks at."""
    url, whole = f"sqlite:///{tmp_path}/optuna.db", trial()
    finished = [replace(whole, request=replace(whole.request, number=n)) for n in range(2)]
    copy = OptunaCopy(_shown("0123456789abcdef"), url)
    copy.open()
    copy.follow(finished)
